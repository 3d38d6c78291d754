"""Make an index of characterised proteins, or update one, as a Ray job.

    ray job submit --working-dir . -- python jobs/index.py build SOURCE... --output DIR
    ray job submit --working-dir . -- python jobs/index.py update DIR SOURCE...

A submitted job runs in a copy of the checkout that Ray deletes later, so sources and index should be absolute paths on
storage that every node sees.
"""

import argparse

import _bootstrap
from protein2text.neighbours.build import build as build_index
from protein2text.neighbours.update import update as update_index


def main() -> None:
    """Build or update the index and print the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    build, update = actions.add_parser("build"), actions.add_parser("update")
    update.add_argument("path", metavar="DIR", help="folder of a finished index")
    for action in (build, update):
        action.add_argument("sources", nargs="+", metavar="SOURCE", help="files or folders of files")
        action.add_argument("--release", help="of the sources that state none, such as 2026_01")
        action.add_argument("--licence", help="of the entries that state none")
        action.add_argument("--allow-mixed-releases", action="store_true", help="accept several; each entry says its")
    build.add_argument("--output", required=True, help="folder of the index")
    build.add_argument("--calibration-entries", type=int, default=5_000, help="left out in turn to measure agreement")
    build.add_argument("--seed", type=int, default=0, help="which entries those are")
    arguments = vars(parser.parse_args())
    action = arguments.pop("action")
    _bootstrap.print_result(_bootstrap.on_a_worker(build_index if action == "build" else update_index, **arguments))


if __name__ == "__main__":
    main()
