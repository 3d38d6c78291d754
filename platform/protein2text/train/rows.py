"""Rows between the records and the loop: tokenized, put in the plan's order, and read back as micro-batches.

Plain functions on Arrow tables; ``feed`` runs the first in Ray Data and gives the others blocks of Ray's object store.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from protein2text.config import RunConfig
from protein2text.data.split_folder import Split, load_split
from protein2text.errors import UnusableRecord
from protein2text.models.chat import IGNORED, Example, Message, Tokenizer, description_messages, encode_example
from protein2text.models.encoders import reading_of
from protein2text.models.long_proteins import Reading
from protein2text.models.model_config import BridgeConfig
from protein2text.models.sources import resolve_source
from protein2text.models.tokenizer import load_tokenizer
from protein2text.train.plan import Plan, StepSize
from protein2text.train.planned import PlannedMicroBatch, PlannedStep
from protein2text.train.stage_config import Stage

TOKENIZED = pa.schema(
    [
        ("record_id", pa.string()),
        ("ids", pa.list_(pa.int32())),
        ("labels", pa.list_(pa.int32())),
        ("sequences", pa.list_(pa.string())),
        ("num_tokens", pa.int64()),
        ("num_residues", pa.int64()),
        ("num_supervised", pa.int64()),
        ("content", pa.string()),
    ]
)
"""A record ready for packing; ``num_tokens`` counts decoder positions, the proteins' rows included, and ``content`` is
a sum of ids, labels and sequences."""

PLACE = ("step", "micro_batch", "counted", "num_micro_batches")
"""Columns of a planned row that say where it belongs; those of `StepSize` follow, equal in all rows of a step."""

ROWS_AT_ONCE = 1024
"""Rows that a worker gathers, and holds, ahead of its steps."""


@dataclass(frozen=True)
class TokenizeJob:
    """What tokenizing a stage's records needs to know, small enough to send with every task."""

    stage: Stage
    tokenizer: str
    bridge: BridgeConfig
    split: str | None
    reading: Reading

    @classmethod
    def of(cls, config: RunConfig, stage: Stage, split: str | None) -> "TokenizeJob":
        """A run's job: for the training records of a split, or without one for all records."""
        decoder = config.model.decoder
        tokenizer = str(resolve_source(decoder.source, decoder.revision))
        return cls(stage, tokenizer, config.model.bridge, split, reading_of(config.model))


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
        counts = (num_tokens, sum(map(len, sequences)), sum(label != IGNORED for label in example.labels))
        content = hashlib.blake2b(repr((example.ids, example.labels, sequences)).encode(), digest_size=16).hexdigest()
        values = (record["record_id"], example.ids, example.labels, sequences, *counts, content)
        rows.append(dict(zip(TOKENIZED.names, values, strict=True)))
    return pa.Table.from_pylist(rows, schema=TOKENIZED)


def stage_messages(record: dict[str, Any], stage: Stage) -> list[Message] | None:
    """The exchange that a stage trains on, None where the record has none: descriptions align, questions instruct."""
    if stage == "instruction":
        messages: list[Message] | None = record["messages"]
        return messages
    return description_messages(record["text"], record["record_id"]) if record["text"] else None


def planned_rows(plan: Plan, worker: int, num_workers: int, first_step: int) -> Iterator[pa.Table]:
    """One worker's rows in the order of work, ``ROWS_AT_ONCE`` at a time: which of ``plan.records``, in which step."""
    size_of = lru_cache(maxsize=1)(plan.step_size)
    rows = (
        (record, step, number, micro_batch.counted, num_micro_batches, *size_of(step))
        for step, micro_batches, num_micro_batches in plan.worker(worker, num_workers, first_step=first_step)
        for number, micro_batch in enumerate(micro_batches)
        for record in micro_batch.records
    )
    while part := list(islice(rows, ROWS_AT_ONCE)):
        columns = [pa.array(column) for column in zip(*part, strict=True)]
        yield pa.table(columns, names=["record", *PLACE, *StepSize._fields])


def places_of(plan: Plan, blocks: Iterable[pa.Table]) -> NDArray[np.int64]:
    """Where each of ``plan.records`` lies among blocks of tokenized records: ``(N, 2)``, block and row in it."""
    ids = [block["record_id"].to_pylist() for block in blocks]
    place_of = {record_id: (block, row) for block, part in enumerate(ids) for row, record_id in enumerate(part)}
    return np.array([place_of[record.record_id] for record in plan.records], dtype=np.int64)


def gather(planned: pa.Table, places: NDArray[np.int64], block: Callable[[int], pa.Table]) -> pa.Table:
    """The tokenized records of a part of `planned_rows`, in its order, with one block held at a time.

    Args:
        planned: the part.
        places: what `places_of` returned.
        block: gives a block by its number.
    """
    blocks, rows = places[planned["record"].to_numpy()].T
    parts = [block(number).take(rows[blocks == number]) for number in np.unique(blocks)]
    lie_at = np.argsort(np.argsort(blocks, kind="stable"))
    gathered = pa.concat_tables(parts).take(lie_at).select(["record_id", "ids", "labels", "sequences"])
    for name in (*PLACE, *StepSize._fields):
        gathered = gathered.append_column(name, planned[name])
    return gathered


def read_steps(tables: Iterable[pa.Table]) -> Iterator[PlannedStep]:
    """A worker's steps, each with its micro-batches in order, from its gathered rows in order."""
    rows = (row for table in tables for row in table.to_pylist())
    for step, part in groupby(rows, key=itemgetter("step")):
        members = list(part)
        micro_batches = [_micro_batch(list(some)) for _, some in groupby(members, key=itemgetter("micro_batch"))]
        size = StepSize(*(members[0][name] for name in StepSize._fields))
        yield PlannedStep(step, micro_batches, size, members[0]["num_micro_batches"])


def _micro_batch(members: Sequence[dict[str, Any]]) -> PlannedMicroBatch:
    examples = [Example(row["ids"], row["labels"]) for row in members]
    ids, proteins = [row["record_id"] for row in members], [row["sequences"] for row in members]
    return PlannedMicroBatch(ids, examples, proteins, counted=members[0]["counted"])


@lru_cache(maxsize=1)
def _tokenizer(folder: str) -> Tokenizer:
    return load_tokenizer(Path(folder))


@lru_cache(maxsize=1)
def _split(folder: str | None) -> Split | None:
    return load_split(folder) if folder else None
