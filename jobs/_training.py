"""What the jobs of both stages do: train one, and print its result."""

import argparse

import _bootstrap
from protein2text.large_imports import large_imports

with large_imports():
    from protein2text.config import load_run
    from protein2text.train.before_start import refuse_early
    from protein2text.train.run import train_stage
    from protein2text.train.stage_config import Stage


def main(stage: Stage, description: str | None) -> None:
    """Train the stage of the run that the command line names.

    Args:
        description: of the job, for its help.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run's YAML file or a preset's name")
    parser.add_argument("--allow-leak", action="store_true", help="train in spite of a leak into a test set")
    arguments = parser.parse_args()
    config = load_run(arguments.run, {"data": {"allow_leak": True}} if arguments.allow_leak else None)
    refuse_early(config, (stage,))
    with _bootstrap.cluster():
        _bootstrap.print_result(train_stage(config, stage))
