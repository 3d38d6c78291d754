"""Judge a model, or an index of neighbours, on a run's test split, beside its controls and baselines, as a Ray job.

    ray job submit --working-dir . -- python jobs/evaluate.py RUN --model MODEL --output DIR

A submitted job runs in a copy of the checkout that Ray deletes later, so the paths should be absolute.
"""

import argparse

import _bootstrap
from protein2text.large_imports import large_imports

with large_imports():
    from protein2text.config import load_run
    from protein2text.evaluate.run import evaluate


def main() -> None:
    """Evaluate and print where the report lies and what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run's YAML file or a preset's name")
    parser.add_argument("--model", help="model folder, models:/NAME@ALIAS or neighbours:DIR; by default the run's own")
    parser.add_argument("--output", help="folder of the report; by default the run's own")
    arguments = parser.parse_args()
    config = load_run(arguments.run)
    model = arguments.model or str(config.folder / "instruction" / "model")
    with _bootstrap.cluster():
        _bootstrap.print_result(evaluate(model, config, arguments.output))


if __name__ == "__main__":
    main()
