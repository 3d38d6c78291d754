"""Read proteins with their texts or questions into a corpus, as a Ray job.

    ray job submit --working-dir . -- python jobs/ingest.py SOURCE... --output DIR

A submitted job runs in a copy of the checkout that Ray deletes later, so sources and output should be absolute paths
on storage that every node sees.
"""

import argparse

import _bootstrap
from protein2text.data.ingest import ingest
from protein2text.data.uniprot_rest import SEARCH_URL


def main() -> None:
    """Ingest the sources and print the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    help_text = "files or folders of files, here or at s3://, gs:// or https://"
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help=help_text)
    parser.add_argument("--output", required=True, help="corpus folder to write")
    parser.add_argument("--uniprot", metavar="QUERY", help="download and read what a UniProtKB query finds")
    parser.add_argument("--uniprot-url", default=SEARCH_URL, help="another address of UniProtKB's search")
    parser.add_argument("--max-residues", type=int, default=4096, help="longer proteins are quarantined, never cut")
    arguments = parser.parse_args()
    with _bootstrap.cluster():
        _bootstrap.print_result(
            ingest(
                arguments.sources,
                arguments.output,
                max_residues=arguments.max_residues,
                uniprot=arguments.uniprot,
                uniprot_url=arguments.uniprot_url,
            )
        )


if __name__ == "__main__":
    main()
