"""Writes a corpus folder: shards of records, shards of what was refused, and last the card that makes it a corpus."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic_core import from_json

from protein2text.data.even_shards import EvenShards
from protein2text.data.first_places import DOUBLED, FirstPlaces
from protein2text.data.records import QUARANTINE_SCHEMA, RECORD_SCHEMA, RECORD_VERSION, write_json
from protein2text.data.sources import not_whole
from protein2text.data.table_digest import TableDigest
from protein2text.data.tallies import LENGTH_EDGES, READING_STAGES, funnel, histogram

SHARD_BYTES = 128 * 2**20
"""Arrow bytes of a shard; zstd makes some 64 MB of them."""
STAGES = {
    **READING_STAGES,
    "with its text whole": (),
    "one record per id": DOUBLED,
}
"""The funnel: what is left after each stage, and the reasons that cost a row there; a reason that none names belongs to
the texts."""


class CorpusWriter:
    """Takes outcomes in order, refuses doubled ids, counts everything, and writes it.

    It holds every record id, with its first place, and the checksum of every sequence: some 500 bytes a record.
    """

    def __init__(self, folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
        self.folder = folder
        self.num_records = self.num_quarantined = 0
        self.not_whole: list[tuple[str, str]] = []
        """Sources whose rest could not be read, and why."""
        self._records = EvenShards(folder / "records", RECORD_SCHEMA, shard_bytes)
        self._quarantine = EvenShards(folder / "quarantine", QUARANTINE_SCHEMA, shard_bytes)
        self._first = FirstPlaces()
        self._sequences: set[str] = set()
        self._kinds: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._licences: Counter[str] = Counter()
        self._lengths: Counter[int] = Counter()
        self._sources: dict[str, Counter[str]] = {}
        self._digest = TableDigest(RECORD_SCHEMA)

    def add(self, outcomes: pa.Table) -> None:
        """Take one batch of outcomes (``parsing.OUTCOME_SCHEMA``)."""
        doubled = self._first.doubled(outcomes, "record_id")
        is_kept = [reason is None for reason in outcomes["reason"].to_pylist()]
        for number in doubled:
            is_kept[number] = False
        mask = pa.array(is_kept, pa.bool_())
        kept = outcomes.filter(mask).select(RECORD_SCHEMA.names).cast(RECORD_SCHEMA)
        refused = outcomes.select(QUARANTINE_SCHEMA.names)
        numbers = [number for number, stays in enumerate(is_kept) if not stays]
        rows = [
            row | doubled.get(number, {})
            for number, row in zip(numbers, refused.filter(pc.invert(mask)).to_pylist(), strict=True)
        ]
        self._count_kept(kept)
        self._count_refused(rows)
        self._records.add(kept)
        self._quarantine.add(pa.Table.from_pylist(rows, schema=QUARANTINE_SCHEMA))

    def finish(self, inputs: list[dict[str, Any]], max_residues: int) -> dict[str, Any]:
        """Write what is waiting and the card, and return the card.

        Args:
            inputs: name, format, bytes and SHA-256 of every source file, as the card keeps them.
            max_residues: the limit that was applied.
        """
        num_rows = self.num_records + self.num_quarantined
        kinds = ("descriptions", "questions", "without_text", "mended")
        card = {
            "version": RECORD_VERSION,
            "max_residues": max_residues,
            "sources": [{**item, **self._sources.get(item["name"], {})} for item in inputs],
            "counts": {
                "rows": num_rows,
                "records": self.num_records,
                "quarantined": self.num_quarantined,
                "proteins": len(self._sequences),
                **{kind: self._kinds[kind] for kind in kinds},
            },
            "funnel": [
                *funnel("rows", num_rows, STAGES, self._reasons),
                {"step": "distinct sequences", "left": len(self._sequences)},
            ],
            "reasons": dict(self._reasons.most_common()),
            "licences": dict(self._licences.most_common()),
            "length_histogram": histogram(self._lengths.elements(), LENGTH_EDGES),
            "shards": {"records": self._records.finish(), "quarantine": self._quarantine.finish()},
            "checksum": self._digest.hexdigest(),
        }
        write_json(card, self.folder / "card.json")
        return card

    def _count_kept(self, kept: pa.Table) -> None:
        self.num_records += kept.num_rows
        self._digest.update(kept)
        described, asked = (kept[name].is_valid() for name in ("text", "messages"))
        num_described = pc.sum(described).as_py() or 0
        num_asked = pc.sum(pc.and_not(asked, described)).as_py() or 0
        self._kinds += Counter(
            descriptions=num_described, questions=num_asked, without_text=kept.num_rows - num_described - num_asked
        )
        self._count_sources(kept["source"].to_pylist(), "records")
        for provenance in kept["provenance"].to_pylist():
            stated = from_json(provenance or "{}", cache_strings="keys")
            self._licences[stated.get("licence", "not stated")] += 1
            self._kinds["mended"] += bool(stated.get("mended"))
        proteins = kept["proteins"].combine_chunks().flatten()
        checksums, lengths = (proteins.field(name).to_pylist() for name in ("checksum", "length"))
        for checksum, length in zip(checksums, lengths, strict=True):
            if checksum not in self._sequences:
                self._sequences.add(checksum)
                self._lengths[length] += 1

    def _count_refused(self, rows: list[dict[str, Any]]) -> None:
        self.num_quarantined += len(rows)
        self._reasons.update(row["reason"] for row in rows)
        self.not_whole += not_whole(rows)
        self._count_sources([row["source"] for row in rows], "quarantined")

    def _count_sources(self, sources: list[str], kind: str) -> None:
        for source, count in Counter(sources).items():
            self._sources.setdefault(source, Counter()).update({"rows": count, kind: count})
