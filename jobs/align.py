"""Train the bridge on descriptions, the alignment stage, as a Ray job.

    ray job submit --working-dir . -- python jobs/align.py RUN

A submitted job runs in a copy of the checkout that Ray deletes later, so the run's paths should be absolute.
"""

import argparse

import _bootstrap
from protein2text.large_imports import large_imports

with large_imports():
    from protein2text.config import load_run
    from protein2text.resources import most
    from protein2text.train.before_start import refuse_early
    from protein2text.train.run import train_stage


def main() -> None:
    """Train the stage and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run's YAML file or a preset's name")
    parser.add_argument("--allow-leak", action="store_true", help="train in spite of a leak into a test set")
    arguments = parser.parse_args()
    config = load_run(arguments.run, {"data": {"allow_leak": True}} if arguments.allow_leak else None)
    refuse_early(config, ("alignment",))
    scaling = config.scaling
    with _bootstrap.cluster(most(scaling) * scaling.cpus_per_worker):
        _bootstrap.print_result(train_stage(config, "alignment"))


if __name__ == "__main__":
    main()
