"""From corpora to batches: Ray Data tokenizes the records and delivers the plan, one ordered dataset per worker.

A worker's dataset holds its planned rows and nothing else, sorted by their place in the plan. Ray's own ways to divide
a dataset are not used: an equal split loses the rows that do not divide, an unequal one deals them in another order
after a restart.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data

from protein2text.config import RunConfig
from protein2text.data.records import read_records
from protein2text.data.split_folder import Split, load_split
from protein2text.errors import ConfigError, UnusableRecord
from protein2text.models.chat import Example, Message, Tokenizer, description_messages, encode_example
from protein2text.models.decoder import load_tokenizer
from protein2text.models.sources import resolve_source
from protein2text.train.plan import Plan, RecordSize
from protein2text.train.stage_config import Stage

logger = logging.getLogger(__name__)

ROWS_AT_ONCE = 256
"""Rows that a worker holds ahead of its steps."""
TOKENIZED = pa.schema(
    [
        ("record_id", pa.string()),
        ("ids", pa.list_(pa.int32())),
        ("labels", pa.list_(pa.int32())),
        ("sequences", pa.list_(pa.string())),
        ("num_tokens", pa.int64()),
        ("num_residues", pa.int64()),
    ]
)
"""A record ready for packing; ``num_tokens`` counts decoder positions, latents included."""


@dataclass(frozen=True)
class TokenizeJob:
    """What tokenizing a stage's records needs to know, small enough to send with every task."""

    stage: Stage
    tokenizer: str
    num_latents: int
    split: str | None


@dataclass(frozen=True)
class PlannedMicroBatch:
    """What a worker packs and runs at once."""

    examples: list[Example]
    proteins: list[list[str]]
    counted: bool


def tokenized_records(config: RunConfig, stage: Stage) -> ray.data.Dataset:
    """The stage's training records as rows of ``TOKENIZED``, held in Ray's object store.

    Raises:
        UnusableRecord: an exchange that cannot be trained on.
    """
    decoder = config.model.decoder
    tokenizer = str(resolve_source(decoder.source, decoder.revision))
    job = TokenizeJob(stage, tokenizer, config.model.bridge.num_latents, config.data.split)
    ray.data.DataContext.get_current().execution_options.preserve_order = True
    records = read_records(config.data.corpus)
    return records.map_batches(tokenize, batch_format="pyarrow", fn_args=(job,)).materialize()


def tokenize(records: pa.Table, job: TokenizeJob) -> pa.Table:
    """Keep the stage's training records of a table and tokenize them.

    A record belongs to the training set only if all its proteins do.
    """
    tokenizer, split = _tokenizer(job.tokenizer), _split(job.split)
    wanted = ["record_id", "proteins", "text", "messages"]
    rows = []
    for record in records.select(wanted).to_pylist():
        messages = stage_messages(record, job.stage)
        if messages is None or (split and split.of_record(record) != "train"):
            continue
        example = encode_example(tokenizer, messages, record=record["record_id"])
        sequences = [entry["sequence"] for entry in record["proteins"]]
        if example.num_proteins != len(sequences):
            raise UnusableRecord(
                "placeholders",
                record["record_id"],
                "messages",
                f"{example.num_proteins} placeholders",
                f"{len(sequences)} proteins",
                "Write <protein_sequence> once per protein in the user's turn.",
            )
        num_tokens = len(example.ids) + len(sequences) * (job.num_latents - 1)
        values = (record["record_id"], example.ids, example.labels, sequences, num_tokens, sum(map(len, sequences)))
        rows.append(dict(zip(TOKENIZED.names, values, strict=True)))
    return pa.Table.from_pylist(rows, schema=TOKENIZED)


def stage_messages(record: dict[str, Any], stage: Stage) -> list[Message] | None:
    """The exchange that a stage trains on, None where the record has none: descriptions align, questions instruct."""
    if stage == "instruction":
        messages: list[Message] | None = record["messages"]
        return messages
    return description_messages(record["text"], record["record_id"]) if record["text"] else None


def record_sizes(tokenized: ray.data.Dataset, max_length: int) -> tuple[tuple[RecordSize, ...], list[str]]:
    """Sizes of the records that fit, sorted by id, and the ids of those that do not.

    Raises:
        ConfigError: no record at all.
        UnusableRecord: an id that stands for two records.
    """
    columns = ["record_id", "num_tokens", "num_residues"]
    tables = [ray.get(reference) for reference in tokenized.select_columns(columns).to_arrow_refs()]
    rows = [row for table in tables if table.num_rows for row in table.select(columns).to_pylist()]
    if not rows:
        raise ConfigError("training", "data", "no record of this stage is in the training part of the split")
    fitting = sorted(
        (row["record_id"], row["num_tokens"], row["num_residues"]) for row in rows if row["num_tokens"] <= max_length
    )
    for (first, *_), (second, *_) in pairwise(fitting):
        if first == second:
            raise UnusableRecord(
                "twice", first, "record_id", "two records", "an id names one", "Name each corpus once."
            )
    return tuple(RecordSize(*values) for values in fitting), sorted(
        row["record_id"] for row in rows if row["num_tokens"] > max_length
    )


def worker_dataset_name(worker: int) -> str:
    """Under what name a worker asks Ray Train for its dataset."""
    return f"worker-{worker}"


def planned_datasets(plan: Plan, tokenized: ray.data.Dataset) -> dict[str, ray.data.Dataset]:
    """One dataset per worker, its rows in the order of work, made before training so that the two never compete."""
    rows = [_planned_rows(plan, worker) for worker in range(plan.num_workers)]
    columns = {name: np.concatenate([part[name] for part in rows]) for name in rows[0]}
    record_ids = np.array([record.record_id for record in plan.records])
    expanded = tokenized.map_batches(_expand, batch_format="pyarrow", fn_args=(ray.put(record_ids), ray.put(columns)))
    ends = np.cumsum([len(part["record"]) for part in rows]).tolist()
    shares = expanded.sort("position").split_at_indices(ends[:-1]) if len(rows) > 1 else [expanded.sort("position")]
    return {worker_dataset_name(worker): share.materialize() for worker, share in enumerate(shares)}


def read_steps(rows: ray.data.DataIterator, first_step: int) -> Iterator[tuple[int, list[PlannedMicroBatch]]]:
    """A worker's steps from ``first_step`` on, each with its micro-batches in order."""
    current, members = (-1, -1), list[dict[str, Any]]()
    micro_batches: list[PlannedMicroBatch] = []
    for row in _rows(rows, first_step):
        place = (row["step"], row["micro_batch"])
        if place != current and members:
            micro_batches.append(_micro_batch(members))
            members = []
        if place[0] != current[0] and micro_batches:
            yield current[0], micro_batches
            micro_batches = []
        current = place
        members.append(row)
    if members:
        yield current[0], [*micro_batches, _micro_batch(members)]


def _rows(rows: ray.data.DataIterator, first_step: int) -> Iterator[dict[str, Any]]:
    for table in rows.iter_batches(batch_size=ROWS_AT_ONCE, batch_format="pyarrow", prefetch_batches=1):
        if table["step"][-1].as_py() >= first_step:
            yield from (row for row in table.to_pylist() if row["step"] >= first_step)


def _micro_batch(members: Sequence[dict[str, Any]]) -> PlannedMicroBatch:
    examples = [Example(row["ids"], row["labels"]) for row in members]
    return PlannedMicroBatch(examples, [row["sequences"] for row in members], counted=members[0]["counted"])


def _planned_rows(plan: Plan, worker: int) -> dict[str, np.ndarray]:
    """The worker's rows as columns, in the order of work; ``record`` indexes ``plan.records``."""
    rows = [
        (record, step, number, micro_batch.counted)
        for step, number, micro_batch in plan.worker(worker)
        for record in micro_batch.records
    ]
    columns = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return dict(zip(("record", "step", "micro_batch", "counted"), columns, strict=True))


def _expand(tokenized: pa.Table, record_ids_ref: ray.ObjectRef, planned_ref: ray.ObjectRef) -> pa.Table:
    """Repeat each record of a table once per place that the plan gives it."""
    record_ids, planned = ray.get([record_ids_ref, planned_ref])
    here = np.array(tokenized["record_id"].to_pylist(), dtype=record_ids.dtype)
    record_of_row = np.minimum(np.searchsorted(record_ids, here), len(record_ids) - 1)
    row_of_record = np.full(len(record_ids), -1)
    known = record_ids[record_of_row] == here
    row_of_record[record_of_row[known]] = np.flatnonzero(known)
    positions = np.flatnonzero(row_of_record[planned["record"]] >= 0)
    expanded = tokenized.select(["ids", "labels", "sequences"]).take(row_of_record[planned["record"][positions]])
    expanded = expanded.append_column("position", pa.array(positions))
    for name in ("step", "micro_batch"):
        expanded = expanded.append_column(name, pa.array(planned[name][positions]))
    return expanded.append_column("counted", pa.array(planned["counted"][positions].astype(bool)))


@lru_cache(maxsize=1)
def _tokenizer(folder: str) -> Tokenizer:
    return load_tokenizer(Path(folder))


@lru_cache(maxsize=1)
def _split(folder: str | None) -> Split | None:
    return load_split(folder) if folder else None
