"""Ray Data tokenizes the records into Ray's object store; each worker takes its own from there, in the plan's order.

How many workers there are is known only to themselves: Ray Train chooses at every start. So a worker works out its rows
from the plan, its rank, their number and the step to begin with, and fetches them a few at a time from blocks that all
workers of a node share without a copy. That takes no task, which could wait for a CPU that the workers never give back.
Ray's own ways to divide a dataset are not used: an equal split loses the rows that do not divide, an unequal one deals
them in another order after a restart.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
from numpy.typing import NDArray

from protein2text.config import RunConfig
from protein2text.data.records import read_records
from protein2text.errors import ConfigError, UnusableRecord
from protein2text.train.plan import Plan, RecordSize
from protein2text.train.rows import TokenizeJob, gather, places_of, planned_rows, tokenize
from protein2text.train.stage_config import Stage


@dataclass(frozen=True)
class Feed:
    """A stage's plan and its tokenized records: all that a worker needs to find its rows."""

    plan: Plan
    blocks: tuple["ray.ObjectRef[pa.Table]", ...]
    places: NDArray[np.int64]
    """``(N, 2)``: block and row of each of the plan's records."""

    def tables(self, worker: int, num_workers: int, first_step: int) -> Iterator[pa.Table]:
        """Rows of one worker of so many from a step on, in the order of work."""

        def block(number: int) -> pa.Table:
            return ray.get(self.blocks[number])

        for planned in planned_rows(self.plan, worker, num_workers, first_step):
            yield gather(planned, self.places, block)


def tokenized_records(config: RunConfig, stage: Stage) -> ray.data.Dataset:
    """The stage's training records, tokenized and held in Ray's object store.

    Raises:
        MissingFile: a corpus is not there.
        RecordError: an exchange that cannot be trained on.
    """
    job = TokenizeJob.of(config, stage, config.data.split)
    ray.data.DataContext.get_current().execution_options.preserve_order = True
    records = read_records(config.data.corpus)
    tokenize_table: Any = tokenize
    tokenized: ray.data.Dataset = records.map_batches(tokenize_table, batch_format="pyarrow", fn_args=(job,))
    held: ray.data.Dataset = tokenized.materialize()
    return held


def record_sizes(tokenized: ray.data.Dataset, max_length: int) -> tuple[tuple[RecordSize, ...], list[str]]:
    """Sizes of the records that fit, sorted by id, and the ids of those that do not.

    Raises:
        ConfigError: no record at all.
        UnusableRecord: an id that stands for two records.
    """
    columns = [field.name for field in fields(RecordSize)]
    tables = ray.get(tokenized.select_columns(columns).to_arrow_refs())
    sizes = sorted(
        tuple(row[name] for name in columns) for table in tables if table.num_rows for row in table.to_pylist()
    )
    if not sizes:
        raise ConfigError("training", "data", "no record of this stage is in the training part of the split")
    for (first, *_), (second, *_) in pairwise(sizes):
        if first == second:
            raise UnusableRecord(
                "twice", first, "record_id", "two records", "an id names one", "Name each corpus once."
            )
    records = [RecordSize(*values) for values in sizes]
    fitting = tuple(record for record in records if record.num_tokens <= max_length)
    return fitting, [record.record_id for record in records if record.num_tokens > max_length]


def feed_of(plan: Plan, tokenized: ray.data.Dataset) -> Feed:
    """Hold the records on this node, so that no other node's loss takes any, and note where each lies."""
    tables = [ray.get(ref) for ref in tokenized.to_arrow_refs()]
    tables = [table for table in tables if table.num_rows]
    return Feed(plan, tuple(ray.put(table) for table in tables), places_of(plan, tables))
