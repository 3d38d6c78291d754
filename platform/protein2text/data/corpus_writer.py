"""Writes a corpus folder: shards of records, shards of what was refused, and last the card that makes it a corpus."""

import hashlib
import json
from bisect import bisect_left
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa

from protein2text.data.records import (
    QUARANTINE_SCHEMA,
    RECORD_SCHEMA,
    RECORD_VERSION,
    row_bytes,
    write_json,
    write_shard,
)

SHARD_BYTES = 256 * 2**20
"""Arrow bytes gathered before a shard is written; zstd makes 64-128 MB of them."""
LENGTH_EDGES = (50, 100, 200, 400, 600, 800, 1022, 2048, 4096)
"""Upper bounds of the card's length bins, in residues; 1022 is the length that ESM-2 was trained to."""


class CorpusWriter:
    """Takes outcomes in order, refuses doubled ids, counts everything, and writes it."""

    def __init__(self, folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
        self.folder, self.shard_bytes = folder, shard_bytes
        self.num_records = self.num_quarantined = 0
        self._first_place: dict[str, str] = {}
        self._waiting: dict[str, list[pa.Table]] = {"records": [], "quarantine": []}
        self._shards: dict[str, list[str]] = {"records": [], "quarantine": []}
        self._kinds: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._licences: Counter[str] = Counter()
        self._sources: dict[str, Counter[str]] = {}
        self._lengths: dict[str, int] = {}
        self._digest = hashlib.sha256()

    def add(self, outcomes: pa.Table) -> None:
        """Take one batch of outcomes (``parsing.OUTCOME_SCHEMA``)."""
        kept: list[dict[str, Any]] = []
        refused: list[dict[str, Any]] = []
        for row in outcomes.to_pylist():
            if row["reason"] is None:
                place = f"{row['source']}, {row['place']}"
                first = self._first_place.setdefault(row["record_id"], place)
                if first != place:
                    row |= _doubled(row["record_id"], first)
            (kept if row["reason"] is None else refused).append(row)
        self._count(kept, refused)
        self._put("records", pa.Table.from_pylist(kept, schema=RECORD_SCHEMA))
        self._put("quarantine", pa.Table.from_pylist(refused, schema=QUARANTINE_SCHEMA))

    def finish(self, inputs: list[dict[str, Any]], max_residues: int) -> dict[str, Any]:
        """Write what is waiting and the card, and return the card.

        Args:
            inputs: name, format, bytes and SHA-256 of every source file, as the card keeps them.
            max_residues: the limit that was applied.
        """
        for kind, schema in (("records", RECORD_SCHEMA), ("quarantine", QUARANTINE_SCHEMA)):
            if self._waiting[kind] or not self._shards[kind]:
                self._flush(kind, schema)
        num_rows = self.num_records + self.num_quarantined
        card = {
            "version": RECORD_VERSION,
            "max_residues": max_residues,
            "sources": [{**item, **self._sources.get(item["name"], {})} for item in inputs],
            "counts": {
                "rows": num_rows,
                "records": self.num_records,
                "quarantined": self.num_quarantined,
                "proteins": len(self._lengths),
                **{kind: self._kinds[kind] for kind in ("descriptions", "questions", "without_text", "mended")},
            },
            "funnel": self._funnel(num_rows),
            "reasons": dict(self._reasons.most_common()),
            "licences": dict(self._licences.most_common()),
            "length_histogram": _histogram(self._lengths.values()),
            "shards": self._shards,
            "checksum": self._digest.hexdigest(),
        }
        write_json(card, self.folder / "card.json")
        return card

    def _count(self, kept: list[dict[str, Any]], refused: list[dict[str, Any]]) -> None:
        self.num_records += len(kept)
        self.num_quarantined += len(refused)
        for row in kept:
            stored = {name: row[name] for name in RECORD_SCHEMA.names}
            self._digest.update(row_bytes(stored))
            provenance = json.loads(row["provenance"] or "{}")
            kind = "descriptions" if row["text"] is not None else "questions" if row["messages"] else "without_text"
            self._kinds.update([kind] + ["mended"] * bool(provenance.get("mended")))
            self._licences[provenance.get("licence", "not stated")] += 1
            self._lengths |= {protein["checksum"]: protein["length"] for protein in row["proteins"]}
            self._sources.setdefault(row["source"], Counter()).update(["rows", "records"])
        for row in refused:
            self._reasons[row["reason"]] += 1
            self._sources.setdefault(row["source"], Counter()).update(["rows", "quarantined"])

    def _funnel(self, num_rows: int) -> list[dict[str, Any]]:
        """What is left after each reason, largest loss first: rows at the top, records at the bottom."""
        steps, left = [{"step": "rows", "left": num_rows}], num_rows
        for reason, count in self._reasons.most_common():
            left -= count
            steps.append({"step": f"not {reason}", "left": left})
        return steps

    def _put(self, kind: str, table: pa.Table) -> None:
        if table.num_rows:
            self._waiting[kind].append(table)
        if sum(waiting.nbytes for waiting in self._waiting[kind]) >= self.shard_bytes:
            self._flush(kind, table.schema)

    def _flush(self, kind: str, schema: pa.Schema) -> None:
        name = f"part-{len(self._shards[kind]):05d}.parquet"
        write_shard(pa.concat_tables([schema.empty_table(), *self._waiting[kind]]), self.folder / kind / name)
        self._shards[kind].append(name)
        self._waiting[kind] = []


def _doubled(record_id: str, first: str) -> dict[str, str]:
    return {
        "record": record_id,
        "reason": "duplicate_id",
        "value": record_id,
        "message": f"{record_id}, record id: it stands at {first} already; an id names one record. "
        "Give the second another id, or leave it out.",
    }


def _histogram(lengths: Any) -> list[dict[str, int | None]]:
    """Distinct proteins by length: each bin is (above, up to], the last one open."""
    counts = Counter(bisect_left(LENGTH_EDGES, length) for length in lengths)
    bins = pairwise((0, *LENGTH_EDGES, None))
    return [{"above": low, "up_to": high, "proteins": counts[index]} for index, (low, high) in enumerate(bins)]
