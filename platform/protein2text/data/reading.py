"""Source files to outcomes, in their order: by processes of this machine, or on a Ray where there is one at hand.

To start and end a local Ray takes as many core-seconds as to parse a gigabyte.
"""

import json
import os
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pyarrow as pa

from protein2text.data.parsing import cut_sources
from protein2text.data.parsing_processes import Parse, parsed
from protein2text.data.readers.entries import PIECE_BYTES
from protein2text.ray_at_hand import ray_at_hand

ALONE_BYTES = 8 * PIECE_BYTES
"""Sources that hold no more are read by this process alone: others would take as long to start."""
MAX_PROCESSES = 8
"""Processes that parse, at most: no more than this one can cut for, and write what they make."""
GZIP_RATIO = 8
"""About how many bytes UniProt's gzip files unpack to, for each of theirs."""
CUTTER_CPUS = 0.5
"""Cutting is quick and waits for parsing; with the CPUs of parsing, Ray would fuse both into one task per file."""
CUTTER_BYTES, MAX_CUTTERS = 64 * 2**20, 64
"""Files are dealt to so many tasks that each cuts about so much; a thousand small files need no thousand tasks."""
BLOCK_BYTES = 7 * PIECE_BYTES // 2
"""Ray joins pieces until they hold so much, which four do: a task of parsing. It deals tasks ten times a second, and a
piece is parsed sooner; with one a task, workers wait half of the time."""

Task = dict[str, Any]
"""A file to cut, as `cut_sources` takes it."""


@contextmanager
def outcomes(files: list[str], inputs: list[dict[str, Any]], parse: Parse) -> Iterator[Iterator[pa.Table]]:
    """What a step of parsing makes of the pieces (``parsing.PIECE_SCHEMA``) of files, in order.

    Args:
        files: paths or URLs.
        inputs: what `ingest.described` says of them.
        parse: takes a table of pieces, in this or another process.
    """
    tasks = [_task(path, item) for path, item in zip(files, inputs, strict=True)]
    if not ray_at_hand():
        with closing(_on_this_machine(tasks, _num_bytes(tasks, inputs), parse)) as tables:
            yield tables
        return
    from protein2text.resources import ray_data_in_order

    with ray_data_in_order(BLOCK_BYTES), closing(_on_ray(tasks, _num_bytes(tasks, inputs), parse)) as tables:
        yield tables


def _task(path: str, item: dict[str, Any]) -> Task:
    of_file = {key: item[key] for key in ("release", "licence") if key in item}
    return {"path": path, "format": item["format"], "source": item["name"], "origin": json.dumps(of_file)}


def _num_bytes(tasks: list[Task], inputs: list[dict[str, Any]]) -> int:
    """Of the sources, unpacked: about."""
    packed = [task["path"].endswith(".gz") for task in tasks]
    return sum(item["bytes"] * (GZIP_RATIO if gz else 1) for gz, item in zip(packed, inputs, strict=True))


def _on_this_machine(tasks: list[Task], num_bytes: int, parse: Parse) -> Generator[pa.Table, None, None]:
    pieces = (piece for task in tasks for piece in cut_sources(pa.Table.from_pylist([task])))
    num_processes = min(len(os.sched_getaffinity(0)), MAX_PROCESSES)
    if num_processes == 1 or num_bytes <= ALONE_BYTES:
        yield from map(parse, pieces)
    else:
        yield from parsed(pieces, parse, num_processes)


def _on_ray(tasks: list[Task], num_bytes: int, parse: Parse) -> Generator[pa.Table, None, None]:
    import ray.data

    num_cutters = min(len(tasks), MAX_CUTTERS, 1 + num_bytes // CUTTER_BYTES)
    blocks = (
        ray.data.from_items(tasks, override_num_blocks=num_cutters)
        .map_batches(cut_sources, batch_size=1, batch_format="pyarrow", num_cpus=CUTTER_CPUS)
        .map_batches(parse, batch_size=None, batch_format="pyarrow")
    )
    yield from blocks.iter_batches(batch_format="pyarrow", batch_size=None)
