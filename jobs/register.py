"""Make a trained model a version in the registry, with its evaluation report, as a Ray job.

    ray job submit --working-dir . -- python jobs/register.py RUN --alias challenger

A submitted job runs in a copy of the checkout that Ray deletes later, so the run's paths should be absolute.
"""

import argparse
import json

import _bootstrap  # noqa: F401  it puts the source folders on the path
from protein2text.config import load_run
from protein2text.registry import register


def main() -> None:
    """Register and print the version."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run's YAML file or a preset's name")
    parser.add_argument("--model", help="model folder; by default the run's own")
    parser.add_argument("--alias", default="champion", help="alias given to the new version")
    arguments = parser.parse_args()
    config = load_run(arguments.run)
    report = config.folder / "evaluation" / "report.json"
    version = register(
        arguments.model or config.folder / "instruction" / "model",
        name=config.tracking.model_name,
        alias=arguments.alias,
        tracking_uri=config.tracking.uri,
        report_json=report if report.is_file() else None,
        experiment=config.tracking.experiment,
    )
    print(json.dumps({"name": config.tracking.model_name, "version": version, "alias": arguments.alias}))  # noqa: T201  a job's output is its result


if __name__ == "__main__":
    main()
