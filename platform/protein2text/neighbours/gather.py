"""What becomes of source files' entries on their way to an index: facts are read from them in parallel, names that
stood before are refused, questions of one protein are joined, and entries that say nothing are left out."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from protein2text.data.even_shards import EvenShards
from protein2text.data.first_places import DOUBLED, FirstPlaces
from protein2text.data.parsing import Refusal, Source, each_entry
from protein2text.data.readers.entries import Place
from protein2text.data.records import QUARANTINE_SCHEMA
from protein2text.data.sources import not_whole, warn_of
from protein2text.data.tallies import READING_STAGES, funnel
from protein2text.errors import UnusableRecord
from protein2text.memory import without_collector
from protein2text.neighbours.entries import ENTRY_SCHEMA, Characterised, checked, content_digest, from_table, to_table
from protein2text.neighbours.entry_writer import PART_BYTES, EntryWriter
from protein2text.neighbours.facts import FACT_KINDS
from protein2text.neighbours.readers.formats import characterise
from protein2text.neighbours.readers.presentable import presentable

_EXTRA = [("content", pa.binary()), ("place", pa.string()), ("asked", pa.bool_())]
OUTCOME_SCHEMA = pa.schema(
    [*ENTRY_SCHEMA, *_EXTRA, *((name, pa.string()) for name in ("record", "reason", "value", "message"))]
)
"""An entry, or the fields of a refusal: ``accession`` or ``reason`` is null. ``content`` is equal for entries that say
the same of the same sequence; ``asked``: it is one question of perhaps several about its protein."""
_SILENT, _JOINED = "not_characterised", "joined"
STAGES = {
    **READING_STAGES,
    "with an answer that can be used": (),
    "characterised": (_SILENT,),
    "one entry per accession": (*DOUBLED, _JOINED),
}
"""The funnel; questions that were joined to an earlier one of their protein are not lost."""


class _Found(NamedTuple):
    entry: Characterised
    content: bytes
    place: str
    asked: bool


def characterise_pieces(batch: pa.Table, *, max_residues: int) -> pa.Table:
    """Turn the entries of pieces (``parsing.PIECE_SCHEMA``) into outcomes: what was made of them in order, then what
    was refused."""
    found, refused = [], []
    with without_collector():
        for made in each_entry(batch, max_residues=max_residues, make=_find):
            if isinstance(made, Refusal):
                refused.append(made._asdict())
            else:
                found.append(made)
        refusals = pa.Table.from_pylist(refused, schema=QUARANTINE_SCHEMA.remove_metadata())
        table = pa.concat_tables([_table(found), refusals], promote_options="default")
        return table.select(OUTCOME_SCHEMA.names).cast(OUTCOME_SCHEMA)


def _table(found: list[_Found]) -> pa.Table:
    table = to_table(item.entry for item in found)
    for number, (name, kind) in enumerate(_EXTRA, start=1):
        table = table.append_column(name, pa.array([item[number] for item in found], kind))
    return table


def _find(source: Source, raw: str, place: Place) -> _Found:
    entry, asked = characterise(source.format, raw, place)
    if not asked and not _says_something(entry):
        raise _silent(entry.accession, place.place)
    licence = entry.licence or source.origin.get("licence")
    entry = checked(replace(entry, release=source.origin.get("release"), licence=licence), place.place)
    entry = presentable(entry, place)
    return _Found(entry, content_digest(entry), place.place, asked)


def _says_something(entry: Characterised) -> bool:
    return any(fact.kind != "name" for fact in entry.facts)


def _silent(accession: str, place: str) -> UnusableRecord:
    limit = "only what says something of a protein can answer for its relatives"
    return UnusableRecord(_SILENT, accession, place, "no fact beyond its name", limit, "Nothing needs to be done.")


class Gatherer:
    """Takes outcomes in order, and hands on what an index keeps.

    It holds every accession with its first place, and all entries that come of questions.
    """

    def __init__(self, folder: Path, writer: EntryWriter) -> None:
        self.num_rows = self.num_quarantined = 0
        self._writer = writer
        self._quarantine = EvenShards(folder / "quarantine", QUARANTINE_SCHEMA, PART_BYTES)
        self._first = FirstPlaces()
        self._asked: dict[str, tuple[Characterised, str]] = {}
        self._reasons: Counter[str] = Counter()
        self._not_whole: list[tuple[str, str]] = []

    @property
    def num_entries(self) -> int:
        """Entries that are kept so far."""
        return self._writer.num_entries + len(self._asked)

    def add(self, outcomes: pa.Table) -> None:
        """Take one batch of outcomes (``OUTCOME_SCHEMA``)."""
        self.num_rows += outcomes.num_rows
        is_made = outcomes["accession"].is_valid()
        self._refuse(outcomes.filter(pc.invert(is_made)).select(QUARANTINE_SCHEMA.names).to_pylist())
        made = outcomes.filter(is_made)
        self._take(made.filter(pc.invert(made["asked"])))
        self._join(made.filter(made["asked"]))

    def finish(self) -> dict[str, Any]:
        """Hand on what waits; counts, reasons and the funnel, as the manifest keeps them."""
        waiting = []
        for entry, place in self._asked.values():
            if _says_something(entry):
                waiting.append(_Found(entry, content_digest(entry), place, True))
            else:
                error = _silent(entry.accession, place)
                own = {"source": entry.source, "place": place, "record": error.record}
                self._refuse([{**own, "reason": error.reason, "value": error.value, "message": str(error)}])
        self._asked.clear()
        self._writer.add(_table(waiting))
        self._quarantine.finish()
        warn_of(self._not_whole)
        return {
            "rows": self.num_rows,
            "quarantined": self.num_quarantined,
            "reasons": dict(self._reasons.most_common()),
            "funnel": funnel("entries read", self.num_rows, STAGES, self._reasons),
        }

    def _take(self, made: pa.Table) -> None:
        """Entries of a database: each stands by itself."""
        doubled = self._first.doubled(made, "accession")
        places = made.select(["source", "place"]).take(pa.array(list(doubled), pa.int64())).to_pylist()
        self._refuse([row | place for row, place in zip(doubled.values(), places, strict=True)])
        is_kept = pa.array([number not in doubled for number in range(made.num_rows)], pa.bool_())
        self._writer.add(made.filter(is_kept))

    def _join(self, asked: pa.Table) -> None:
        """Questions: those of one protein make one entry."""
        columns = (asked[name].to_pylist() for name in ("place", "content"))
        for entry, place, content in zip(from_table(asked), *columns, strict=True):
            earlier = self._asked.get(entry.accession)
            if earlier is not None and earlier[0].checksum == entry.checksum:
                self._asked[entry.accession] = _joined(earlier[0], entry), earlier[1]
                self._reasons[_JOINED] += 1
            elif refusal := self._first.refusal(entry.accession, entry.source, place, content):
                self._refuse([refusal | {"source": entry.source, "place": place}])
            else:
                self._asked[entry.accession] = entry, place

    def _refuse(self, rows: Iterable[dict[str, Any]]) -> None:
        table = pa.Table.from_pylist(list(rows), schema=QUARANTINE_SCHEMA)
        self.num_quarantined += table.num_rows
        self._reasons.update(table["reason"].to_pylist())
        self._not_whole += not_whole(table.to_pylist())
        self._quarantine.add(table)


def _joined(one: Characterised, other: Characterised) -> Characterised:
    facts = sorted({**dict.fromkeys(one.facts), **dict.fromkeys(other.facts)}, key=lambda f: FACT_KINDS.index(f.kind))
    return replace(one, name=one.name or other.name, facts=tuple(facts))
