"""The two steps that Ray Data runs in parallel: cut files into pieces, make records or refusals of their entries."""

import hashlib
import json
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa

from protein2text.data.readers.entries import SHOWN, Entry, Piece, Place, what_failed
from protein2text.data.readers.formats import READERS, cut_file
from protein2text.data.records import QUARANTINE_SCHEMA, RECORD_SCHEMA, Record, provenance_json
from protein2text.errors import RecordError
from protein2text.memory import without_collector

PIECE_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("format", "source", "origin")),
        ("line", pa.int64()),
        ("data", pa.large_binary()),
        *((name, pa.string()) for name in ("context", "problem", "reason")),
    ]
)
OUTCOME_SCHEMA = pa.schema(
    [*RECORD_SCHEMA, *(field for field in QUARANTINE_SCHEMA if field.name != "source"), ("content", pa.binary())]
)
"""A record, or the fields of a refusal: ``record_id`` or ``reason`` is null; ``place`` always stands. ``content`` is
equal for records that say the same of the same sequences; null says unknown."""
_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError)
"""What fields that no schema promises raise in a reader."""


T = TypeVar("T")


class Source(NamedTuple):
    """A file that entries come from."""

    name: str
    """What records call it."""
    format: str
    """A key of ``READERS``."""
    origin: dict[str, Any]
    """What the file says of all its entries."""


class Refusal(NamedTuple):
    """Why nothing was made of an entry; the fields of ``QUARANTINE_SCHEMA``."""

    source: str
    place: str
    record: str | None
    reason: str
    value: str
    message: str


def cut_sources(batch: pa.Table) -> Iterator[pa.Table]:
    """Cut files into pieces, a row each; a damaged file ends in a piece that says so.

    Args:
        batch: columns ``path`` (absolute, or a URL), ``format`` (a key of ``READERS``), ``source`` (what records call
            it) and ``origin`` (JSON: what the file says of all its records, like release and licence; or empty);
            perhaps ``start`` and ``stop``, which name some of the file's pieces as a slice does.
    """
    for task in batch.to_pylist():
        of_file = {name: task.get(name, "") for name in ("format", "source", "origin")}
        for piece in islice(cut_file(task["path"], task["format"]), task.get("start"), task.get("stop")):
            yield pa.Table.from_pylist([{**of_file, **piece._asdict()}], schema=PIECE_SCHEMA)


def parse_pieces(batch: pa.Table, *, max_residues: int) -> pa.Table:
    """Turn the entries of pieces (``PIECE_SCHEMA``) into outcomes (``OUTCOME_SCHEMA``), one each, in order."""
    with without_collector():
        rows = [
            made._asdict() if isinstance(made, Refusal) else made
            for made in each_entry(batch, max_residues=max_residues, make=_record)
        ]
        return pa.Table.from_pylist(rows, schema=OUTCOME_SCHEMA)


def each_entry(batch: pa.Table, *, max_residues: int, make: Callable[[Source, str, Place], T]) -> Iterator[T | Refusal]:
    """Make something of every entry of pieces (``PIECE_SCHEMA``), in order, or say why not.

    Args:
        batch: pieces.
        max_residues: longer proteins are refused.
        make: of an entry's text; what it raises as a reader does is a refusal.
    """
    for row in batch.to_pylist():
        source = Source(row.pop("source"), row.pop("format"), json.loads(row.pop("origin") or "{}"))
        for entry in READERS[source.format].entries(Piece(**row)):
            yield _made(make, source, entry, Place(source.name, entry.place, max_residues))


def _made(make: Callable[[Source, str, Place], T], source: Source, entry: Entry, place: Place) -> T | Refusal:
    if entry.problem:
        code, problem = entry.reason, entry.problem
    elif "\ufffd" in entry.raw:
        code, problem = "not_utf8", "The entry holds bytes that are not UTF-8 text, or U+FFFD, which stands for such."
    else:
        try:
            return make(source, entry.raw, place)
        except RecordError as error:
            return Refusal(source.name, place.place, error.record, error.reason, error.value[:SHOWN], str(error))
        except _MALFORMED as error:
            code, problem = "unreadable", f"{place.place}: {what_failed(error)}. Correct the entry, or fetch it again."
    return Refusal(source.name, place.place, None, code, entry.raw[:SHOWN], problem)


def _record(source: Source, raw: str, place: Place) -> dict[str, Any]:
    record = READERS[source.format].parse(raw, place)
    if source.origin:
        record["provenance"] = provenance_json(source.origin | json.loads(record["provenance"] or "{}"))
    return {**record, "place": place.place, "content": _content(record)}


def _content(record: Record) -> bytes:
    """Digest of what a record says of which sequences, whatever its name and source."""
    said = [protein["checksum"] for protein in record["proteins"]]
    said += [record["text"] or "", *(turn["content"] for turn in record["messages"] or ())]
    return hashlib.blake2b("\0".join(said).encode(), digest_size=16).digest()
