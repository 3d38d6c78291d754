"""Make a trained model a version in the registry, with its evaluation report, as a Ray job.

    ray job submit --working-dir . -- python jobs/register.py RUN --alias challenger

A submitted job runs in a copy of the checkout that Ray deletes later, so the run's paths should be absolute.
"""

import argparse
import json

import _bootstrap  # noqa: F401  it puts the source folders on the path
from protein2text.large_imports import large_imports

with large_imports():
    from protein2text.config import STAGES, load_run
    from protein2text.registry import DEFAULT_ALIASES, register
    from protein2text.train.tracking import run_id_of_model


def main() -> None:
    """Register and print the version."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run's YAML file or a preset's name")
    parser.add_argument("--model", help="model folder; by default the run's own")
    parser.add_argument("--stage", choices=STAGES, default="instruction", help="whose model, where it is the run's own")
    parser.add_argument("--alias", help="alias given to the new version; by default champion, or aligned")
    arguments = parser.parse_args()
    config = load_run(arguments.run)
    stage = arguments.stage
    report = config.folder / "evaluation" / "report.json"
    alias = arguments.alias or DEFAULT_ALIASES[stage]
    version = register(
        arguments.model or config.folder / stage / "model",
        name=config.tracking.model_name,
        alias=alias,
        tracking_uri=config.tracking.uri,
        run_id=None if arguments.model else run_id_of_model(config.folder / stage),
        report_json=report if report.is_file() and stage == "instruction" else None,
        experiment=config.tracking.experiment,
    )
    print(json.dumps({"name": config.tracking.model_name, "version": version, "alias": alias}))  # noqa: T201  a job's output is its result


if __name__ == "__main__":
    main()
