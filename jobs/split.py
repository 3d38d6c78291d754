"""Divide the proteins of all corpora of a run into train, validation and test, as a Ray job.

    ray job submit --working-dir . -- python jobs/split.py CORPUS... --output DIR

A submitted job runs in a copy of the checkout that Ray deletes later, so corpora and output should be absolute paths
on storage that every node sees.
"""

import argparse
from pathlib import Path

import _bootstrap
from protein2text.data.split import split


def main() -> None:
    """Split the corpora and print the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="+", metavar="CORPUS", help="folders written by ingest")
    parser.add_argument("--output", required=True, help="split folder to write")
    parser.add_argument("--kind", default="by_cluster", choices=("by_cluster", "by_member", "temporal"))
    parser.add_argument("--assignment", help="table of accession, split, group; for by_member")
    parser.add_argument("--after", metavar="DAY", help="entries created later are test; for temporal")
    parser.add_argument("--dates", help="table of accession and date, beside what provenance says; for temporal")
    parser.add_argument("--on-hit", default="move", choices=("move", "drop"), help="of test proteins like training")
    parser.add_argument("--test-share", type=float, help="share of proteins held out for testing (0.2); for by_cluster")
    parser.add_argument("--seed", type=int, help="which clusters are held out (0); for by_cluster")
    parser.add_argument("--min-identity", type=float, default=0.3, help="relatives from this identity on")
    parser.add_argument("--coverage", type=float, default=0.8, help="share of one of two that must be aligned")
    arguments = vars(parser.parse_args())
    corpus = [str(Path(folder).resolve()) for folder in arguments.pop("corpus")]
    output = str(Path(arguments.pop("output")).resolve())
    for name in ("assignment", "dates"):
        if arguments[name]:
            arguments[name] = str(Path(arguments[name]).resolve())
    _bootstrap.print_result(_bootstrap.on_a_worker(split, corpus, output, **arguments))


if __name__ == "__main__":
    main()
