"""The Ray that a job runs on, and whether it is large enough: Ray itself would wait for ever, in silence."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import ray
import ray.data

from protein2text.ending_ray import no_process_left, ray_ended
from protein2text.errors import ConfigError, ResourcesUnavailable, ServiceError
from protein2text.termination import leave_on_termination

logger = logging.getLogger(__name__)

SPARE_CPUS = 1
"""One CPU beside the workers' for Ray Data, whose tasks would else wait for it for ever."""

MAX_CPUS_PER_PROCESSOR = 4
"""Logical CPUs that a local Ray is given at most: workers may share processors, to a degree."""

RAY_DATA_ACTORS = 3
"""Processes that Ray Data keeps for itself: statistics, autoscaling and places of actors."""

PROXY_TRY, PROXY_TRY_S = "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", 20
"""Ray Serve kills a proxy that is not ready after three of these, and with it the start that waits for it. Its own 5
are too few on a busy machine; at 60 s in all it gives up by itself."""

CONNECT_S = 10
"""How long a cluster's machine may take to answer."""

_REMEDY = "Lower scaling.num_workers, cpus_per_worker or gpus_per_worker, or give Ray more, such as with `ray start`."


class Workers(Protocol):
    """Processes that a job needs at once."""

    @property
    def num_workers(self) -> int | tuple[int, int]:
        """How many there are, or the fewest and the most."""

    @property
    def cpus_per_worker(self) -> float:
        """Logical CPUs that each holds."""

    @property
    def gpus_per_worker(self) -> float:
        """GPUs that each holds."""


@dataclass(frozen=True)
class ReadersOnly:
    """Tasks of Ray Data without a pool. One of them at a time gets all done; with one more beside it, reading goes on
    while the read is worked on, so a local Ray has three CPUs."""

    num_workers: int | tuple[int, int] = (0, 1)
    cpus_per_worker: float = 1
    gpus_per_worker: float = 0


def fewest(workers: Workers) -> int:
    """How many of the workers there must be."""
    return workers.num_workers if isinstance(workers.num_workers, int) else workers.num_workers[0]


def most(workers: Workers) -> int:
    """How many of the workers there can be."""
    return workers.num_workers if isinstance(workers.num_workers, int) else workers.num_workers[1]


def demand(workers: Workers) -> dict[str, float]:
    """What a job needs of each resource at once, the spare CPU included, with the fewest workers."""
    wanted = {
        "CPU": fewest(workers) * workers.cpus_per_worker + SPARE_CPUS,
        "GPU": fewest(workers) * workers.gpus_per_worker,
    }
    return {name: amount for name, amount in wanted.items() if amount}


def require(
    workers: Workers,
    supply: dict[str, float],
    *,
    called: str = "workers",
    spare_for: str = "for Ray Data",
    remedy: str = _REMEDY,
) -> None:
    """Refuse what can never be placed.

    Args:
        workers: that the job needs.
        supply: amount of each resource that there is, or can be.
        called: what the user knows the workers as,
        spare_for: and what the spare CPU is for.
        remedy: what the user can do.

    Raises:
        ResourcesUnavailable: with the arithmetic.
    """
    wanted = demand(workers)
    if all(supply.get(name, 0) >= amount for name, amount in wanted.items()):
        return
    arithmetic = f"{SPARE_CPUS} {spare_for}"
    if fewest(workers):
        arithmetic = f"{fewest(workers)} {called} x {workers.cpus_per_worker:g} CPU + {arithmetic}"
    if workers.gpus_per_worker:
        arithmetic += f", {fewest(workers)} x {workers.gpus_per_worker:g} GPU"
    present = _text({name: supply.get(name, 0) for name in wanted})
    raise ResourcesUnavailable(f"{_text(wanted)} ({arithmetic})", present, remedy)


def cluster_supply() -> dict[str, float]:
    """What the connected cluster has, or can grow to where it autoscales."""
    supply: dict[str, float] = dict(ray.cluster_resources())
    grown = ray._private.state.state.get_max_resources_from_cluster_config() or {}
    return {name: max(supply.get(name, 0), grown.get(name, 0)) for name in {*supply, *grown}}


def start_local_ray(num_cpus: int) -> None:
    """Start Ray on this machine, without its dashboard, so that a job's steps share their workers.

    Ray ends a worker that idles for a second while there are more processes than CPUs, and counts its own actors, which
    use none. The next step of the job would start workers anew, each for a second of a core and more.
    """
    os.environ.setdefault(PROXY_TRY, str(PROXY_TRY_S))  # Ray's processes inherit it
    config = {"num_workers_soft_limit": num_cpus + RAY_DATA_ACTORS}
    ray.init(address="local", num_cpus=num_cpus, include_dashboard=False, log_to_driver=False, _system_config=config)
    leave_on_termination()


def local_cpus(workers: Workers) -> int:
    """Logical CPUs that a local Ray is given: two more than the workers hold, within what its processors can share."""
    processors = len(os.sched_getaffinity(0))
    wanted = int(most(workers) * workers.cpus_per_worker) + 2
    return max(processors, min(wanted, MAX_CPUS_PER_PROCESSOR * processors))


def starts_local_ray() -> bool:
    """Whether a ``ray_session`` has to start a Ray of its own, which takes seconds."""
    return not ray.is_initialized() and (os.environ.get("RAY_ADDRESS") or "local") == "local"


def has_dashboard() -> bool:
    """Whether the connected Ray shows a dashboard; a local one of our own never does."""
    return bool(ray._private.worker.get_dashboard_url())


def is_own_ray() -> bool:
    """Whether this process started the connected Ray: it is this one machine, which nobody drains."""
    node: Any = ray._private.worker._global_node
    return node is not None and bool(node.is_head())


@contextmanager
def ray_session(workers: Workers) -> Iterator[None]:
    """The Ray that is connected; else the cluster of RAY_ADDRESS; else a local one that ends with the block."""
    ray.data.DataContext.get_current().enable_progress_bars = False
    if ray.is_initialized():
        yield
        return
    if not starts_local_ray():
        with ray_ended():
            connect(os.environ["RAY_ADDRESS"])
            yield
        return
    num_cpus = local_cpus(workers)
    logger.info("starting a local Ray with %d logical CPUs", num_cpus)
    with no_process_left(), ray_ended():
        start_local_ray(num_cpus)
        yield


def connect(address: str, **options: Any) -> None:
    """Connect to the cluster of RAY_ADDRESS; to one that is not there, Ray itself tries for minutes.

    Args:
        address: what RAY_ADDRESS says.
        options: of ``ray.init``.

    Raises:
        ConfigError: it is no address.
        ServiceError: nobody answers there.
    """
    remedy = "Start the cluster, or unset RAY_ADDRESS for a local Ray"
    if address != "auto":
        host, _, port = address.removeprefix("ray://").rpartition(":")
        if not host or not port.isdecimal():
            known = "HOST:PORT, ray://HOST:PORT, auto and local are"
            raise ConfigError("RAY_ADDRESS", "environment", f"{address!r} is no address of a Ray cluster; {known}")
        try:
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
        except (OSError, OverflowError) as error:
            raise ServiceError(f"RAY_ADDRESS={address}", f"nobody answers there: {error}", f"{remedy}.") from error
    try:
        ray.init(**{"log_to_driver": False, **options})
    except (ConnectionError, RuntimeError) as error:
        raise ServiceError(f"RAY_ADDRESS={address}", f"Ray cannot connect: {error}", f"{remedy}.") from error
    leave_on_termination()


@contextmanager
def ray_data_in_order(block_bytes: int | None = None, workers: Workers | None = None) -> Iterator[None]:
    """A ``ray_session`` for data jobs, whose datasets keep their order.

    Args:
        block_bytes: rows are handed from step to step in blocks of about so much; Ray's own size when None.
        workers: whose CPUs a local Ray has, and two; ``ReadersOnly`` when None.

    Raises:
        ResourcesUnavailable: the cluster can never run one task, with the arithmetic.
    """
    workers = workers or ReadersOnly()
    context = ray.data.DataContext.get_current()
    options = context.execution_options
    before = options.preserve_order, context.enable_progress_bars, context.target_max_block_size
    options.preserve_order = True
    context.target_max_block_size = block_bytes or context.target_max_block_size
    try:
        with ray_session(workers):
            require(workers, cluster_supply(), called="readers", remedy="Give Ray more, such as with `ray start`.")
            yield
    finally:
        options.preserve_order, context.enable_progress_bars, context.target_max_block_size = before


def _text(amounts: dict[str, float]) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in amounts.items())
