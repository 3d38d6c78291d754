"""The two steps that Ray Data runs in parallel: cut files into pieces, make records or refusals of their entries."""

import gc
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from protein2text.data.readers.entries import SHOWN, Entry, Piece, Place, Reader
from protein2text.data.readers.formats import READERS, cut_file
from protein2text.data.records import QUARANTINE_SCHEMA, RECORD_SCHEMA, Record, provenance_json
from protein2text.errors import RecordError

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


def cut_sources(batch: pa.Table) -> Iterator[pa.Table]:
    """Cut files into pieces, a row each; a damaged file ends in a piece that says so.

    Args:
        batch: columns ``path`` (absolute, or a URL), ``format`` (a key of ``READERS``), ``source`` (what records call
            it) and ``origin`` (JSON: what the file says of all its records, like release and licence; or empty).
    """
    for task in batch.to_pylist():
        of_file = {name: task.get(name, "") for name in ("format", "source", "origin")}
        for piece in cut_file(task["path"], task["format"]):
            yield pa.Table.from_pylist([{**of_file, **piece._asdict()}], schema=PIECE_SCHEMA)


def parse_pieces(batch: pa.Table, *, max_residues: int) -> pa.Table:
    """Turn the entries of pieces (``PIECE_SCHEMA``) into outcomes (``OUTCOME_SCHEMA``), one each, in order."""
    rows: list[dict[str, Any]] = []
    with _without_collector():
        for row in batch.to_pylist():
            source, reader, of_file = (
                row.pop("source"),
                READERS[row.pop("format")],
                json.loads(row.pop("origin") or "{}"),
            )
            for entry in reader.entries(Piece(**row)):
                rows.append(_outcome(reader, entry, Place(source, entry.place, max_residues), of_file))
        return pa.Table.from_pylist(rows, schema=OUTCOME_SCHEMA)


@contextmanager
def _without_collector() -> Iterator[None]:
    """No garbage collection meanwhile: rows hold no cycles, and walking them again takes a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _outcome(reader: Reader, entry: Entry, place: Place, of_file: dict[str, Any]) -> dict[str, Any]:
    if entry.problem:
        return _refusal(entry, place, entry.problem, entry.reason)
    if "\ufffd" in entry.raw:
        problem = "The entry holds bytes that are not UTF-8 text, or U+FFFD, which stands for such."
        return _refusal(entry, place, problem, "not_utf8")
    try:
        record = reader.parse(entry.raw, place)
        if of_file:
            record["provenance"] = provenance_json(of_file | json.loads(record["provenance"] or "{}"))
        return {**record, "place": place.place, "content": _content(record)}
    except RecordError as error:
        shown = {"record": error.record, "value": error.value[:SHOWN]}
        return _refusal(entry, place, str(error), error.reason) | shown
    except _MALFORMED as error:
        return _refusal(entry, place, f"{type(error).__name__}: {error}", "unreadable")


def _refusal(entry: Entry, place: Place, message: str, reason: str) -> dict[str, Any]:
    own = {"source": place.source, "place": place.place, "value": entry.raw[:SHOWN]}
    return {**own, "reason": reason, "message": message}


def _content(record: Record) -> bytes:
    """Digest of what a record says of which sequences, whatever its name and source."""
    said = [protein["checksum"] for protein in record["proteins"]]
    said += [record["text"] or "", *(turn["content"] for turn in record["messages"] or ())]
    return hashlib.blake2b("\0".join(said).encode(), digest_size=16).digest()
