"""Source files to outcomes, in their order: this process begins while Ray starts, and Ray does what is left.

A local Ray needs some seconds until its workers parse the first piece; by then this process has read what few cores
gain nothing by sharing. Sources that hold no more are read without Ray.
"""

import json
import sys
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from queue import SimpleQueue
from threading import Event
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from protein2text.data.parsing import cut_sources
from protein2text.data.readers.entries import PIECE_BYTES
from protein2text.memory import keep_freed_memory

HEAD_PIECES = 64
"""Pieces that this process parses at the head of the sources: about as many seconds as a local Ray takes to start."""
TURN_S = 0.0005
"""How long a thread may keep the interpreter meanwhile: at Python's own 5 ms, Ray's start waits at every step."""
GZIP_RATIO = 8
"""About how many bytes UniProt's gzip files unpack to, for each of theirs."""
CUTTER_CPUS, PARSER_CPUS = 0.25, 0.875
"""Cutting is quick and waits for parsing; with the CPUs of parsing, Ray would fuse both into one task per file. One
and two parsers fill two logical CPUs: for a third, Ray would start more processes, each for a second of a core."""
CUTTER_BYTES, MAX_CUTTERS = 64 * 2**20, 64
"""Files are dealt to so many tasks that each cuts about so much; a thousand small files need no thousand tasks."""
BLOCK_BYTES = 7 * PIECE_BYTES // 2
"""Ray joins pieces until they hold so much, which four do: a task of parsing. It deals tasks ten times a second, and a
piece is parsed sooner; with one a task, workers wait half of the time."""

_NUM_BYTES = "num_bytes"

Task = dict[str, Any]
"""A file to cut, as `cut_sources` takes it."""
Parse = Callable[[pa.Table], pa.Table]


@contextmanager
def outcomes(files: list[str], inputs: list[dict[str, Any]], parse: Parse) -> Iterator[Iterator[tuple[int, pa.Table]]]:
    """What a step of parsing makes of the pieces (``parsing.PIECE_SCHEMA``) of files, in order, each with their bytes.

    Ray takes more than a second to end, and ends while the block's last statements write what came last.

    Args:
        files: paths or URLs.
        inputs: what `ingest.described` says of them.
        parse: takes a table of pieces, in this or another process.
    """
    with (
        ExitStack() as ray_session,
        _short_turns(),
        ThreadPoolExecutor(2) as beside,
        closing(_outcomes(files, inputs, partial(_counted, parse=parse), ray_session, beside)) as tables,
    ):
        yield ((sum(table[_NUM_BYTES].to_pylist()), table.drop_columns(_NUM_BYTES)) for table in tables)


def _counted(batch: pa.Table, *, parse: Parse) -> pa.Table:
    """What is made of pieces, with a column whose sum is their bytes: blocks carry nothing but columns."""
    keep_freed_memory()
    made = parse(batch)
    num_bytes = np.zeros(made.num_rows, np.int64)
    num_bytes[:1] = pc.sum(pc.binary_length(batch["data"])).as_py()
    return made.append_column(_NUM_BYTES, pa.array(num_bytes))


def _outcomes(
    files: list[str], inputs: list[dict[str, Any]], parse: Parse, ray_session: ExitStack, beside: Executor
) -> Generator[pa.Table, None, None]:
    from protein2text import resources  # here: a small source needs no Ray

    tasks = [_task(path, item) for path, item in zip(files, inputs, strict=True)]
    own, rest = _divided(tasks, inputs) if resources.starts_local_ray() else ([], tasks)
    here = (parse(piece) for task in own for piece in cut_sources(pa.Table.from_pylist([task])))
    if not rest:
        yield from here
        return
    made: SimpleQueue[pa.Table | None] = SimpleQueue()
    left = Event()
    making = beside.submit(_make, here, made, left)
    try:
        cutters = resources.ReadersOnly(num_workers=1, cpus_per_worker=CUTTER_CPUS)
        ray_session.enter_context(resources.ray_data_in_order(BLOCK_BYTES, cutters))
        with closing(_on_ray(rest, sum(item["bytes"] for item in inputs), parse)) as elsewhere:
            first = next(elsewhere, None)  # sets Ray's workers to work, while the head is read
            yield from iter(made.get, None)
            making.result()
            if first is not None:
                yield first
            yield from elsewhere
    finally:
        left.set()
    beside.submit(ray_session.close)


def _make(tables: Iterator[pa.Table], made: SimpleQueue[pa.Table | None], left: Event) -> None:
    """Pass on tables, and None after the last, until nobody waits for them."""
    try:
        for table in tables:
            made.put(table)
            if left.is_set():
                return
    finally:
        made.put(None)


@contextmanager
def _short_turns() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(TURN_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _task(path: str, item: dict[str, Any]) -> Task:
    of_file = {key: item[key] for key in ("release", "licence") if key in item}
    whole = {"start": None, "stop": None}
    return {"path": path, "format": item["format"], "source": item["name"], "origin": json.dumps(of_file), **whole}


def _divided(tasks: list[Task], inputs: list[dict[str, Any]]) -> tuple[list[Task], list[Task]]:
    """What this process reads, and what is left: whole files, and one that is read here to a piece and there from it.

    Only of a local file does everyone who cuts it get the same pieces.
    """
    bytes_left = HEAD_PIECES * PIECE_BYTES
    for number, (task, item) in enumerate(zip(tasks, inputs, strict=True)):
        num_bytes = item["bytes"] * (GZIP_RATIO if task["path"].endswith(".gz") else 1)
        if "://" in task["path"] or bytes_left < PIECE_BYTES:
            return tasks[:number], tasks[number:]
        if num_bytes > bytes_left:
            num_pieces = bytes_left // PIECE_BYTES
            here, there = {**task, "stop": num_pieces}, {**task, "start": num_pieces}
            return [*tasks[:number], here], [there, *tasks[number + 1 :]]
        bytes_left -= num_bytes
    return tasks, []


def _on_ray(tasks: list[Task], num_bytes: int, parse: Parse) -> Generator[pa.Table, None, None]:
    import ray.data

    num_cutters = min(len(tasks), MAX_CUTTERS, 1 + num_bytes // CUTTER_BYTES)
    blocks = (
        ray.data.from_items(tasks, override_num_blocks=num_cutters)
        .map_batches(cut_sources, batch_size=1, batch_format="pyarrow", num_cpus=CUTTER_CPUS)
        .map_batches(parse, batch_size=None, batch_format="pyarrow", num_cpus=PARSER_CPUS)
    )
    yield from blocks.iter_batches(batch_format="pyarrow", batch_size=None)
