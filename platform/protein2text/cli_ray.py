"""One Ray for a command: the cluster that RAY_ADDRESS names, or a quiet local one that ends with the command."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray
import ray.data

SPARE_CPUS = 2
"""Logical CPUs beside those of the workers; with fewer, training starves Ray Data and both wait for each other."""


@contextmanager
def ray_cluster(num_worker_cpus: float = 1, *, verbose: bool = False) -> Iterator[None]:
    """Connect for the length of a block; inside a Ray that is already there, do nothing.

    Args:
        num_worker_cpus: CPUs the block's workers reserve at once; a local Ray is started with room beside them, more
            logical CPUs than the machine has cores if need be.
        verbose: show the workers' logs on stderr; otherwise they are only in Ray's session folder.
    """
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS", "local")
    cores = len(os.sched_getaffinity(0))
    ray.init(
        address=address,
        num_cpus=max(cores, int(num_worker_cpus) + SPARE_CPUS) if address == "local" else None,
        include_dashboard=False if address == "local" else None,
        log_to_driver=verbose,
        logging_level=logging.INFO if verbose else logging.ERROR,
    )
    ray.data.DataContext.get_current().enable_progress_bars = verbose
    try:
        yield
    finally:
        ray.shutdown()
