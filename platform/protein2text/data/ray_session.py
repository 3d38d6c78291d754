"""Ray for data jobs: the one that runs, else a local one; its datasets keep their order."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray
import ray.data

MIN_CPUS = 3
"""Logical CPUs of a Ray started here: on two, reading goes on only while one of them works on what was read."""


@contextmanager
def ray_data_in_order(block_bytes: int | None = None) -> Iterator[None]:
    """A running Ray (joined, or started and stopped here) whose datasets keep their order.

    Args:
        block_bytes: rows are handed from step to step in blocks of about so much; Ray's own size when None.
    """
    started_here = not ray.is_initialized()
    if started_here:
        there = os.environ.get("RAY_ADDRESS")
        ray.init(
            address=there or "local",
            num_cpus=None if there else max(MIN_CPUS, os.cpu_count() or 1),
            include_dashboard=None if there else False,
            log_to_driver=False,
        )
    context = ray.data.DataContext.get_current()
    options = context.execution_options
    before = options.preserve_order, context.enable_progress_bars, context.target_max_block_size
    options.preserve_order, context.enable_progress_bars = True, False
    context.target_max_block_size = block_bytes or context.target_max_block_size
    try:
        yield
    finally:
        options.preserve_order, context.enable_progress_bars, context.target_max_block_size = before
        if started_here:
            ray.shutdown()
