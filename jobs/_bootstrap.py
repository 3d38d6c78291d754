"""Lets a job run where the package is not installed: under ``ray job submit --working-dir .`` or from a checkout.

Importing it puts the source folders on the path. ``cluster`` lets Ray's workers find them too.
"""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

    from _typeshed import DataclassInstance

ROOT = Path(__file__).resolve().parents[1]
PLACES = ("platform", "kernels", "serve")
_SUBMITTED = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray in the process of a submitted job."""

sys.path[:0] = [str(ROOT / place) for place in PLACES]


def _tell_in_one_line(kind: type[BaseException], error: BaseException, trace: "TracebackType | None") -> None:
    """As the command does: what a user can mend is said without the stack that led to it."""
    from protein2text.errors import ProteinToTextError

    if isinstance(error, ProteinToTextError):
        sys.stderr.write(f"{Path(sys.argv[0]).name}: {error}\n")
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _tell_in_one_line


@contextmanager
def cluster() -> Iterator[None]:
    """Connect to the cluster of RAY_ADDRESS; without one the job starts a local Ray itself, once it needs it. Log to
    stderr."""
    from protein2text.ending_ray import ray_ended
    from protein2text.resources import connect, starts_local_ray

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if starts_local_ray():
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[: len(PLACES)])
        yield
        return
    # Ray starts every worker inside the uploaded working directory, so relative paths hold on every node.
    runtime_env: dict[str, Any] = {"env_vars": {"PYTHONPATH": os.pathsep.join(PLACES)}}
    if _SUBMITTED not in os.environ:
        runtime_env["working_dir"] = str(ROOT)
    with ray_ended():
        connect(os.environ["RAY_ADDRESS"], runtime_env=runtime_env, log_to_driver=True)
        yield


def on_a_worker(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """What a function returns as a task: a cluster's head has no CPUs to search sequences with."""
    import ray

    from protein2text.resources import ReadersOnly, ray_session

    with cluster(), ray_session(ReadersOnly()):
        return ray.get(ray.remote(function).remote(*arguments, **options))


def print_result(result: "DataclassInstance") -> None:
    """Write a job's result to stdout as JSON."""
    print(json.dumps(asdict(result), default=str))  # noqa: T201  a job's output is its result
