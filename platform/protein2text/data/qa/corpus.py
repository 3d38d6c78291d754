"""Step 2: texts to an ordinary corpus folder. Cheap and repeatable: the same texts and rules give the same folder.

Pairs are taken sorted by passage, whatever order they were generated in. They are read twice: only after the last one
is known which of them stand for many proteins. ``card.json`` is written last: without it there is no corpus.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pyarrow as pa
import ray
import ray.data

from protein2text.data.even_shards import EvenShards
from protein2text.data.qa.card import QaStatistics
from protein2text.data.qa.duplicates import Duplicates, Fingerprint
from protein2text.data.qa.generate import Progress
from protein2text.data.qa.generated_folder import GeneratedFolder
from protein2text.data.qa.pairs import PAIR_SCHEMA, SORTED_BY, check_texts, plan
from protein2text.data.qa.passage_folder import PassageFolder
from protein2text.data.qa.plots import write_plots
from protein2text.data.qa.rules import QaRules
from protein2text.data.records import RECORD_SCHEMA, blocks_of, write_json
from protein2text.data.table_digest import TableDigest
from protein2text.resources import ray_data_in_order

REJECT_SCHEMA = pa.schema(
    [
        (name, pa.list_(pa.string()) if name == "flags" else pa.string())
        for name in (
            "record_id", "passage_id", "accession", "question", "answer", "question_kind", "reason", "message", "flags",
            "provenance",
        )
    ],
    metadata=RECORD_SCHEMA.metadata,
)  # fmt: skip
"""A pair that was refused, or a passage without a text: the reason's code and what it met with."""
BATCH_ROWS = 1024
FINGERPRINT = ["words", "shingles", "stated"]
JUDGED_BY = ["record_id", "accession", "reason", *FINGERPRINT]
WRITTEN = [name for name in PAIR_SCHEMA.names if name not in FINGERPRINT]
MADE_HERE = ("records", "rejects", "plots")

Blocks = list["ray.ObjectRef[pa.Table]"]
"""References to Arrow tables in Ray's object store, read twice."""


def assemble(
    passages: PassageFolder,
    texts: GeneratedFolder,
    rules: QaRules,
    *,
    shard_bytes: int,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Check every pair and write the corpus beside its texts.

    Args:
        passages: what the texts were written about.
        texts: all of them; their folder becomes the corpus's.
        rules: limits of the checks.
        shard_bytes: Arrow bytes of a shard, about.
        progress: told the pairs that were written.

    Returns:
        The card.
    """
    folder = texts.folder
    (folder / "card.json").unlink(missing_ok=True)
    for name in MADE_HERE:
        shutil.rmtree(folder / name, ignore_errors=True)
    statistics = QaStatistics(len(passages.place))
    with _checked(passages, texts, rules) as pairs:
        judgment = _Judgment(rules)
        for batch in _batches(pairs, JUDGED_BY):
            judgment.read(batch)
        judgment.close()
        records = EvenShards(folder / "records", RECORD_SCHEMA, shard_bytes)
        rejects = EvenShards(folder / "rejects", REJECT_SCHEMA, shard_bytes)
        digest = TableDigest(RECORD_SCHEMA)
        for batch in _batches(pairs, WRITTEN):
            accepted, refused = judgment.divide(batch)
            statistics.add(accepted, refused, judgment.num_empty(batch))
            table = pa.Table.from_pylist(accepted, schema=RECORD_SCHEMA)
            digest.update(table)
            records.add(table)
            rejects.add(pa.Table.from_pylist(refused, schema=REJECT_SCHEMA))
            if progress is not None:
                counts = {"records": statistics.num_records, "rejected": statistics.num_rejects}
                progress({"stage": "check", "step": sum(counts.values()), "num_steps": judgment.num_outcomes, **counts})
    card = statistics.card(texts.header or {}, rules)
    card["shards"] = {"records": records.finish(), "rejects": rejects.finish()}
    card["checksum"] = digest.hexdigest()
    card["plots"] = write_plots(card, folder / "plots")
    write_json(card, folder / "card.json")
    return card


@contextmanager
def _checked(passages: PassageFolder, texts: GeneratedFolder, rules: QaRules) -> Iterator[Blocks]:
    """All pairs, sorted."""
    tasks = plan(passages, texts)
    if not tasks:
        yield []
        return
    with ray_data_in_order():
        yield (
            ray.data.from_items(tasks, override_num_blocks=blocks_of(len(tasks)))
            .map_batches(partial(check_texts, rules=rules), batch_size=None, batch_format="pyarrow")
            .sort(SORTED_BY)
            .to_arrow_refs()
        )


def _batches(blocks: Blocks, columns: list[str]) -> Iterator[list[dict[str, Any]]]:
    """Rows with some of their columns, a few at a time."""
    for block in blocks:
        table = ray.get(block)
        if table.num_rows:
            for batch in table.select(columns).to_batches(max_chunksize=BATCH_ROWS):
                yield batch.to_pylist()


class _Judgment:
    """What is decided over all pairs together: duplicates, and pairs that stand for many proteins."""

    def __init__(self, rules: QaRules) -> None:
        self._duplicates = Duplicates(rules)
        self._refused: dict[str, tuple[str | None, str | None]] = {}
        self._flags: dict[str, tuple[str, ...]] = {}
        self.num_outcomes = 0

    def read(self, rows: list[dict[str, Any]]) -> None:
        """Take rows in their order."""
        for row in rows:
            self.num_outcomes += row["record_id"] is not None
            if row["record_id"] is None or row["reason"] is not None:
                continue
            read = Fingerprint(row["words"], frozenset(row["shingles"]), row["stated"])
            verdict = self._duplicates.compare(row["record_id"], row["accession"], read)
            if verdict.reason is not None:
                self._refused[row["record_id"]] = verdict.reason, verdict.message
                continue
            if verdict.flags:
                self._flags[row["record_id"]] = verdict.flags

    def close(self) -> None:
        """Flag what only the whole corpus shows."""
        for record_id in self._duplicates.widespread():
            self._flags[record_id] = (*self._flags.get(record_id, ()), "many_proteins")

    def divide(self, rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Accepted and refused ones of some rows, each with all its flags."""
        accepted: list[dict[str, Any]] = []
        refused: list[dict[str, Any]] = []
        for row in rows:
            if row["record_id"] is None:
                continue
            row["reason"], row["message"] = self._refused.get(row["record_id"], (row["reason"], row["message"]))
            row["flags"] = sorted({*(row["flags"] or ()), *self._flags.get(row["record_id"], ())})
            if row["flags"]:
                flagged = json.loads(row["provenance"]) | {"flags": row["flags"]}
                row["provenance"] = json.dumps(flagged, sort_keys=True, ensure_ascii=False)
            (accepted if row["reason"] is None else refused).append(row)
        return accepted, refused

    @staticmethod
    def num_empty(rows: list[dict[str, Any]]) -> int:
        """Passages among the rows about which nothing was written."""
        return sum(row["record_id"] is None for row in rows)
