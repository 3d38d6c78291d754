"""Fill a folder of residue states for training, as a Ray job.

    ray job submit --working-dir . -- python jobs/embed.py CORPUS... --model RUN --output DIR --device cuda --workers 8

A submitted job runs in a copy of the checkout that Ray deletes later, so sources, run file and output should be
absolute paths on storage that every node sees.
"""

import argparse

import _bootstrap
from protein2text.large_imports import large_imports

with large_imports():
    from protein2text.train.embed import Pool, embed, embed_job


def main() -> None:
    """Encode what the folder lacks and print the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", metavar="CORPUS|FASTA", help="corpus folders, or files as ingest takes")
    parser.add_argument("--model", required=True, help="run file, preset or model folder that names the encoder")
    parser.add_argument("--output", required=True, help="folder of residue states, data.features of a run")
    parser.add_argument("--max-gib", type=float, default=64.0, help="disk that the folder may take")
    parser.add_argument("--workers", type=int, default=1, help="encoders at work at once")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    arguments = parser.parse_args()
    job = embed_job(arguments.model, arguments.output, arguments.max_gib, arguments.device)
    pool = Pool(arguments.workers, 1, 1 if arguments.device == "cuda" else 0)
    with _bootstrap.cluster():
        _bootstrap.print_result(embed(arguments.sources, job, pool))


if __name__ == "__main__":
    main()
