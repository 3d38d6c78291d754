"""Compare a job with the cluster before it starts: Ray would wait for ever, in silence."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray
import ray.data

from protein2text.errors import ResourcesUnavailable
from protein2text.train.stage_config import ScalingConfig

logger = logging.getLogger(__name__)

SPARE_CPUS = 1
"""One CPU beside the workers' for Ray Data, which prepares the batches and rebuilds them if a node is lost."""

MAX_CPUS_PER_PROCESSOR = 4
"""Logical CPUs that a local Ray is given at most: workers may share processors, to a degree."""


def demand(scaling: ScalingConfig) -> dict[str, float]:
    """What training needs of each resource at once, the spare CPU included."""
    wanted = {
        "CPU": scaling.num_workers * scaling.cpus_per_worker + SPARE_CPUS,
        "GPU": scaling.num_workers * scaling.gpus_per_worker,
    }
    return {name: amount for name, amount in wanted.items() if amount}


def require(scaling: ScalingConfig, supply: dict[str, float]) -> None:
    """Refuse what can never be placed.

    Raises:
        ResourcesUnavailable: with the arithmetic.
    """
    workers = f"{scaling.num_workers} workers x {scaling.cpus_per_worker:g} CPU + {SPARE_CPUS} for Ray Data"
    if scaling.gpus_per_worker:
        workers += f", {scaling.num_workers} x {scaling.gpus_per_worker:g} GPU"
    remedy = (
        "Lower scaling.num_workers, cpus_per_worker or gpus_per_worker, or give Ray more, such as with `ray start`."
    )
    refuse_if_short(demand(scaling), supply, workers, remedy)


def refuse_if_short(wanted: dict[str, float], supply: dict[str, float], arithmetic: str, remedy: str) -> None:
    """Compare amounts of each resource.

    Raises:
        ResourcesUnavailable: the supply falls short of what is wanted, with the arithmetic.
    """
    if any(supply.get(name, 0) < amount for name, amount in wanted.items()):
        present = _text({name: supply.get(name, 0) for name in wanted})
        raise ResourcesUnavailable(f"{_text(wanted)} ({arithmetic})", present, remedy)


def cluster_supply() -> dict[str, float]:
    """What the connected cluster has, or can grow to where it autoscales."""
    supply: dict[str, float] = dict(ray.cluster_resources())
    grown = ray._private.state.state.get_max_resources_from_cluster_config() or {}
    return {name: max(supply.get(name, 0), grown.get(name, 0)) for name in {*supply, *grown}}


@contextmanager
def ray_session(scaling: ScalingConfig) -> Iterator[None]:
    """The Ray that is connected; else the cluster of RAY_ADDRESS; else a local one that ends with the block."""
    ray.data.DataContext.get_current().enable_progress_bars = False
    if ray.is_initialized():
        yield
        return
    if os.environ.get("RAY_ADDRESS", "local") == "local":
        processors = len(os.sched_getaffinity(0))
        wanted = int(scaling.num_workers * scaling.cpus_per_worker) + 2
        num_cpus = max(processors, min(wanted, MAX_CPUS_PER_PROCESSOR * processors))
        logger.info("starting a local Ray with %d logical CPUs", num_cpus)
        ray.init(address="local", num_cpus=num_cpus, include_dashboard=False, log_to_driver=False)
    else:
        ray.init()
    try:
        yield
    finally:
        ray.shutdown()


def _text(amounts: dict[str, float]) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in amounts.items())
