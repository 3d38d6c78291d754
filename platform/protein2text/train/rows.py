"""Rows between the records and the loop: tokenized, repeated in the plan's order, and read back as micro-batches.

Plain functions on Arrow tables; ``feed`` runs the first two in Ray Data.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from protein2text.data.split_folder import Split, load_split
from protein2text.errors import UnusableRecord
from protein2text.models.chat import Example, Message, Tokenizer, description_messages, encode_example
from protein2text.models.long_proteins import Reading
from protein2text.models.model_config import BridgeConfig
from protein2text.models.tokenizer import load_tokenizer
from protein2text.train.plan import Plan
from protein2text.train.stage_config import Stage

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
"""A record ready for packing; ``num_tokens`` counts decoder positions, the proteins' rows included."""


@dataclass(frozen=True)
class TokenizeJob:
    """What tokenizing a stage's records needs to know, small enough to send with every task."""

    stage: Stage
    tokenizer: str
    bridge: BridgeConfig
    split: str | None
    reading: Reading


@dataclass(frozen=True)
class PlannedMicroBatch:
    """What a worker packs and runs at once."""

    examples: list[Example]
    proteins: list[list[str]]
    counted: bool


def tokenize(records: pa.Table, job: TokenizeJob) -> pa.Table:
    """Keep the stage's training records of a table, and tokenize them into ``TOKENIZED``.

    A record belongs to the training set only if all its proteins do.

    Raises:
        UnusableRecord: placeholders and proteins differ in number, or the split does not know a protein.
        BeyondTraining: a protein that the model refuses for its length.
        RecordError: an exchange without an answer.
    """
    tokenizer, split = _tokenizer(job.tokenizer), _split(job.split)
    rows = []
    for record in records.select(["record_id", "proteins", "text", "messages"]).to_pylist():
        messages = stage_messages(record, job.stage)
        if messages is None or (split and split.of_record(record) != "train"):
            continue
        example = encode_example(tokenizer, messages, record=record["record_id"])
        sequences = [entry["sequence"] for entry in record["proteins"]]
        for sequence in sequences:
            job.reading.check(record["record_id"], len(sequence))
        if example.num_proteins != len(sequences):
            raise UnusableRecord(
                "placeholders",
                record["record_id"],
                "messages",
                f"{example.num_proteins} placeholders",
                f"{len(sequences)} proteins",
                "Write <protein_sequence> once per protein in the user's turn.",
            )
        num_tokens = job.bridge.num_positions(len(example.ids), sequences)
        values = (record["record_id"], example.ids, example.labels, sequences, num_tokens, sum(map(len, sequences)))
        rows.append(dict(zip(TOKENIZED.names, values, strict=True)))
    return pa.Table.from_pylist(rows, schema=TOKENIZED)


def stage_messages(record: dict[str, Any], stage: Stage) -> list[Message] | None:
    """The exchange that a stage trains on, None where the record has none: descriptions align, questions instruct."""
    if stage == "instruction":
        messages: list[Message] | None = record["messages"]
        return messages
    return description_messages(record["text"], record["record_id"]) if record["text"] else None


def planned_rows(plan: Plan, worker: int, record_ids: Sequence[str]) -> pa.Table:
    """One worker's rows in the order of work: which ``row`` of the tokenized records, in which step and micro-batch.

    Args:
        record_ids: ids of the tokenized records as they lie; the plan may leave some of them out.
    """
    row_of = {record_id: row for row, record_id in enumerate(record_ids)}
    rows = [
        (row_of[plan.records[record].record_id], step, number, micro_batch.counted)
        for step, number, micro_batch in plan.worker(worker)
        for record in micro_batch.records
    ]
    columns = zip(*rows, strict=True)
    return pa.table([pa.array(column) for column in columns], names=["row", "step", "micro_batch", "counted"])


def gather(tokenized: pa.Table, planned: pa.Table) -> pa.Table:
    """Put the tokenized records where a part of `planned_rows` wants them, each as often as it is wanted."""
    rows = tokenized.select(["ids", "labels", "sequences"]).take(planned["row"].combine_chunks())
    for name in ("step", "micro_batch", "counted"):
        rows = rows.append_column(name, planned[name])
    return rows


def read_steps(tables: Iterable[pa.Table], first_step: int) -> Iterator[tuple[int, list[PlannedMicroBatch]]]:
    """A worker's steps from ``first_step`` on, each with its micro-batches in order.

    Args:
        tables: the worker's gathered rows, in order.
        first_step: steps before it were done earlier and are passed over.
    """
    current = (-1, -1)
    members: list[dict[str, Any]] = []
    micro_batches: list[PlannedMicroBatch] = []
    for row in _rows(tables, first_step):
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


def _rows(tables: Iterable[pa.Table], first_step: int) -> Iterator[dict[str, Any]]:
    for table in tables:
        if table["step"][-1].as_py() >= first_step:
            yield from (row for row in table.to_pylist() if row["step"] >= first_step)


def _micro_batch(members: Sequence[dict[str, Any]]) -> PlannedMicroBatch:
    examples = [Example(row["ids"], row["labels"]) for row in members]
    return PlannedMicroBatch(examples, [row["sequences"] for row in members], counted=members[0]["counted"])


@lru_cache(maxsize=1)
def _tokenizer(folder: str) -> Tokenizer:
    return load_tokenizer(Path(folder))


@lru_cache(maxsize=1)
def _split(folder: str | None) -> Split | None:
    return load_split(folder) if folder else None
