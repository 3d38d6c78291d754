"""Lets a job run where the package is not installed: under ``ray job submit --working-dir .`` or from a checkout.

Importing it puts the source folders on the path. ``cluster`` connects to Ray so that its workers find them too.
"""

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

ROOT = Path(__file__).resolve().parents[1]
PLACES = ("platform", "kernels", "serve")
_SUBMITTED = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray in the process of a submitted job."""

sys.path[:0] = [str(ROOT / place) for place in PLACES]


@contextmanager
def cluster(num_worker_cpus: float = 1) -> Iterator[None]:
    """Connect to the cluster of RAY_ADDRESS, else to a local Ray that ends with the block; log to stderr.

    Args:
        num_worker_cpus: CPUs that the job's workers hold at once; a local Ray is given two more.
    """
    import ray
    import ray.data

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if os.environ.get("RAY_ADDRESS", "local") == "local":
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[: len(PLACES)])
        num_cpus = max(len(os.sched_getaffinity(0)), int(num_worker_cpus) + 2)
        ray.init(address="local", num_cpus=num_cpus, include_dashboard=False, log_to_driver=False)
    else:
        # Ray starts every worker inside the uploaded working directory, so relative paths hold on every node.
        runtime_env: dict[str, Any] = {"env_vars": {"PYTHONPATH": os.pathsep.join(PLACES)}}
        if _SUBMITTED not in os.environ:
            runtime_env["working_dir"] = str(ROOT)
        ray.init(runtime_env=runtime_env)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield
    finally:
        ray.shutdown()


def print_result(result: "DataclassInstance") -> None:
    """Write a job's result to stdout as JSON."""
    print(json.dumps(asdict(result), default=str))  # noqa: T201  a job's output is its result
