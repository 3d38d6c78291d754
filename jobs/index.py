"""Make an index of characterised proteins, or update one, as a Ray job.

    ray job submit --working-dir . -- python jobs/index.py build SOURCE... --output DIR
    ray job submit --working-dir . -- python jobs/index.py update DIR SOURCE...

A submitted job runs in a copy of the checkout that Ray deletes later, so sources and index should be absolute paths on
storage that every node sees.
"""

import argparse
from typing import Any

import ray

import _bootstrap


@ray.remote
def _on_a_worker(action: str, arguments: dict[str, Any]) -> Any:
    """A task, because a cluster's head has no CPUs to search sequences with."""
    from protein2text.neighbours.build import build
    from protein2text.neighbours.update import update

    return build(**arguments) if action == "build" else update(**arguments)


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
    with _bootstrap.cluster():
        _bootstrap.print_result(ray.get(_on_a_worker.remote(action, arguments)))


if __name__ == "__main__":
    main()
