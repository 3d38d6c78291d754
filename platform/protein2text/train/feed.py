"""Ray Data tokenizes the records and delivers the plan: one ordered dataset per worker.

A worker's dataset holds its planned rows and nothing else, gathered in the plan's order from the tokenized records.
Ray's own ways to divide a dataset are not used: an equal split loses the rows that do not divide, an unequal one deals
them in another order after a restart. Nor is its sort, whose many processes take longer to start than all the rest.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pyarrow as pa
import ray
import ray.data

from protein2text.config import RunConfig
from protein2text.data.records import read_records
from protein2text.errors import ConfigError, UnusableRecord
from protein2text.models.encoders import reading_of
from protein2text.models.sources import resolve_source
from protein2text.train.plan import Plan, RecordSize
from protein2text.train.rows import TokenizeJob, gather, planned_rows, tokenize
from protein2text.train.stage_config import Stage
from protein2text.train.task import dataset_name

ROWS_AT_ONCE = 256
"""Rows that a worker holds ahead of its steps."""
ROWS_PER_BLOCK = 16_384
"""Planned rows that one task gathers."""


def tokenized_records(config: RunConfig, stage: Stage) -> ray.data.Dataset:
    """The stage's training records, tokenized and held in Ray's object store.

    Raises:
        MissingFile: a corpus is not there.
        RecordError: an exchange that cannot be trained on.
    """
    decoder = config.model.decoder
    tokenizer = str(resolve_source(decoder.source, decoder.revision))
    job = TokenizeJob(stage, tokenizer, config.model.bridge, config.data.split, reading_of(config.model))
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
    columns = ["record_id", "num_tokens", "num_residues"]
    tables = ray.get(tokenized.select_columns(columns).to_arrow_refs())
    sizes = sorted(
        (row["record_id"], row["num_tokens"], row["num_residues"])
        for table in tables
        if table.num_rows
        for row in table.to_pylist()
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


def planned_datasets(plan: Plan, tokenized: ray.data.Dataset) -> dict[str, ray.data.Dataset]:
    """One dataset per worker, its rows in the order of work, made before training so that the two never compete."""
    ids = [table["record_id"] for table in ray.get(tokenized.select_columns(["record_id"]).to_arrow_refs())]
    record_ids = [record_id for part in ids for record_id in part.to_pylist()]
    blocks = tokenized.to_arrow_refs()
    gather_rows: Any = _gather
    shares = {}
    for worker in range(plan.num_workers):
        rows = planned_rows(plan, worker, record_ids)
        parts = [rows[begin : begin + ROWS_PER_BLOCK] for begin in range(0, rows.num_rows, ROWS_PER_BLOCK)]
        share = ray.data.from_arrow(parts).map_batches(
            gather_rows, batch_format="pyarrow", batch_size=None, fn_args=(blocks,)
        )
        shares[dataset_name(worker)] = share.materialize()
    return shares


def tables_of(rows: ray.data.DataIterator) -> Iterator[pa.Table]:
    """A worker's rows a few at a time."""
    return iter(rows.iter_batches(batch_size=ROWS_AT_ONCE, batch_format="pyarrow", prefetch_batches=1))


def _gather(planned: pa.Table, blocks: Any) -> pa.Table:
    """The records lie in the object store, which every task of a node reads without a copy."""
    return gather(pa.concat_tables(table for table in ray.get(blocks) if table.num_rows), planned)
