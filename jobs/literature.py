"""Find articles of PubMed Central whose abstracts name proteins, as a Ray job.

    ray job submit --working-dir . -- python jobs/literature.py --proteins FILE --email you@example.org --output DIR

A submitted job runs in a copy of the checkout that Ray deletes later, so proteins, articles and output should be
absolute paths on storage that every node sees. The driver searches; workers fetch, read and match.
"""

import argparse

import _bootstrap
from protein2text.data.licence_codes import REUSABLE
from protein2text.data.literature.bucket import BUCKET_URL
from protein2text.data.literature.entrez import ENTREZ_URL
from protein2text.data.literature.retrieve import Services, literature


def main() -> None:
    """Retrieve and print the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proteins", action="append", required=True, metavar="FILE", help="source, or corpus folder")
    parser.add_argument("--output", required=True, help="literature folder to write")
    parser.add_argument("--articles", action="append", metavar="PATH", help="read JATS files instead of searching")
    parser.add_argument("--email", default="", help="yours; NCBI wants to know who asks")
    parser.add_argument("--licence", action="append", metavar="CODE", help="accept this licence; may be repeated")
    parser.add_argument("--max-residues", type=int, default=4096, help="longer proteins are left out and counted")
    parser.add_argument("--entrez-url", default=ENTREZ_URL, help="another address of NCBI's E-utilities")
    parser.add_argument("--bucket-url", default=BUCKET_URL, help="another address of PMC's cloud bucket")
    arguments = parser.parse_args()
    with _bootstrap.cluster():
        _bootstrap.print_result(
            literature(
                arguments.proteins,
                arguments.output,
                articles=arguments.articles,
                services=Services(arguments.email, arguments.entrez_url, arguments.bucket_url),
                licences=tuple(arguments.licence or REUSABLE),
                max_residues=arguments.max_residues,
            )
        )


if __name__ == "__main__":
    main()
