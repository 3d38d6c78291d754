"""A characterised protein, and how a table of them lies in Arrow."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import pyarrow as pa

from protein2text.errors import UnusableRecord
from protein2text.neighbours.facts import Fact

_FACT = pa.struct(
    [
        *((name, pa.string()) for name in ("kind", "value", "term")),
        *((name, pa.list_(pa.string())) for name in ("eco", "pubmed")),
        *((name, pa.int32()) for name in ("begin", "end")),
        ("molecule", pa.string()),
    ]
)
ENTRY_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("accession", "name", "organism", "sequence", "checksum")),
        *((name, pa.string()) for name in ("release", "licence")),
        ("entry_version", pa.int32()),
        ("source", pa.string()),
        ("facts", pa.list_(_FACT)),
    ]
)
"""Null says that the source states none."""


@dataclass(frozen=True, slots=True)
class Characterised:
    """A protein and the facts that one source entry states about it."""

    accession: str
    name: str | None
    organism: str | None
    sequence: str
    """Residues, upper case."""
    checksum: str
    """SHA-256 of the sequence, as ``Protein.checksum``."""
    release: str | None
    """Of the database, such as ``2026_01``."""
    licence: str | None
    entry_version: int | None
    source: str
    """Name of the file that it was read from."""
    facts: tuple[Fact, ...]


def checked(entry: Characterised, place: str) -> Characterised:
    """The entry, if every field of it and of its facts fits its column.

    Raises:
        UnusableRecord: a number that is none or needs more than 32 bits, or a text that is none.
    """
    for row, columns in ((entry, _ENTRY_COLUMNS), *((fact, _FACT_COLUMNS) for fact in entry.facts)):
        for name, fits, limit in columns:
            value = getattr(row, name)
            if value is not None and not fits(value):
                where, remedy = f"{place}, {name.replace('_', ' ')}", "Fetch the entry again, or mend the field."
                raise UnusableRecord("unusable_field", str(entry.accession), where, repr(value), limit, remedy)
    return entry


_FITS: dict[pa.DataType, tuple[Callable[[Any], bool], str]] = {
    pa.int32(): (
        lambda value: type(value) is int and -(2**31) <= value < 2**31,
        "a whole number of at most 32 bits is needed",
    ),
    pa.string(): (lambda value: isinstance(value, str), "text is needed"),
    pa.list_(pa.string()): (lambda value: all(isinstance(item, str) for item in value), "text is needed for each"),
}
_ENTRY_COLUMNS, _FACT_COLUMNS = (
    [(field.name, *_FITS[field.type]) for field in columns if field.type in _FITS] for columns in (ENTRY_SCHEMA, _FACT)
)


def content_digest(entry: Characterised) -> bytes:
    """Equal for entries that say the same of the same sequence, whatever their version, release and source."""
    said = [entry.checksum, entry.name or "", entry.organism or ""]
    for fact in entry.facts:
        place = f"{fact.begin}-{fact.end} {fact.molecule}"
        said += [fact.kind, fact.value, fact.term or "", *fact.eco, *fact.pubmed, place]
    return hashlib.blake2b("\0".join(said).encode(), digest_size=16).digest()


def to_table(entries: Iterable[Characterised]) -> pa.Table:
    """Entries as rows of ``ENTRY_SCHEMA``, in order."""
    rows = list(entries)
    columns = [
        pa.array([getattr(row, field.name) for row in rows], field.type)
        for field in ENTRY_SCHEMA
        if field.name != "facts"
    ]
    return pa.table([*columns, _facts_to_arrow([row.facts for row in rows])], schema=ENTRY_SCHEMA)


def from_table(table: pa.Table) -> list[Characterised]:
    """The entries of a table with the columns of ``ENTRY_SCHEMA``."""
    names = [field.name for field in fields(Characterised)]
    facts = _facts_from_arrow(table["facts"].combine_chunks())
    columns = [facts if name == "facts" else table[name].to_pylist() for name in names]
    return [Characterised(*row) for row in zip(*columns, strict=True)]


def _facts_to_arrow(of_rows: list[tuple[Fact, ...]]) -> pa.Array:
    flat = [fact for facts in of_rows for fact in facts]
    columns = [pa.array([getattr(fact, field.name) for fact in flat], field.type) for field in _FACT]
    return pa.ListArray.from_arrays(
        _offsets(map(len, of_rows)), pa.StructArray.from_arrays(columns, fields=list(_FACT))
    )


def _facts_from_arrow(column: pa.ListArray) -> list[tuple[Fact, ...]]:
    columns = [values.to_pylist() for values in column.flatten().flatten()]
    flat = [
        Fact(kind, value, term, tuple(eco), tuple(pubmed), *rest)
        for kind, value, term, eco, pubmed, *rest in zip(*columns, strict=True)
    ]
    ends = _offsets(column.value_lengths().to_pylist())
    return [tuple(flat[begin:end]) for begin, end in pairwise(ends)]


def _offsets(lengths: Iterable[int]) -> list[int]:
    offsets = [0]
    for length in lengths:
        offsets.append(offsets[-1] + length)
    return offsets
