"""The two steps that Ray Data runs in parallel: cut files into raw entries, turn entries into records or refusals."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from protein2text.data.readers.entries import Entry, Place, open_text
from protein2text.data.readers.formats import READERS
from protein2text.data.records import QUARANTINE_SCHEMA, RECORD_SCHEMA, ROWS_PER_BLOCK, Record
from protein2text.errors import RecordError

_SHOWN = 200
"""Letters of a bad entry that the quarantine shows."""

ENTRY_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("path", "format", "source", "origin", "place", "raw", "problem")]
)
OUTCOME_SCHEMA = pa.schema([*RECORD_SCHEMA, *(field for field in QUARANTINE_SCHEMA if field.name != "source")])
"""A record, or the fields of a refusal: ``record_id`` or ``reason`` is null. ``place`` always stands."""


def cut_entries(batch: pa.Table) -> Iterator[pa.Table]:
    """Cut files into raw entries, a block at a time; a damaged file ends in an entry that says so.

    Args:
        batch: columns ``path`` (absolute), ``format`` (a key of ``READERS``) ``source`` (what records call
            it) and ``origin`` (JSON: release and licence of a download, else empty).
    """
    for task in batch.to_pylist():
        path = Path(task["path"])
        rows: list[dict[str, str | None]] = []
        for entry in _entries(path, task["format"]):
            rows.append({**task, "place": entry.place, "raw": entry.raw, "problem": entry.problem})
            if len(rows) == ROWS_PER_BLOCK:
                yield pa.Table.from_pylist(rows, schema=ENTRY_SCHEMA)
                rows = []
        yield pa.Table.from_pylist(rows, schema=ENTRY_SCHEMA)


def _entries(path: Path, format_name: str) -> Iterator[Entry]:
    place = "the start of the file"
    try:
        with open_text(path) as stream:
            for entry in READERS[format_name].split(stream):
                place = entry.place
                yield entry
    except (OSError, EOFError) as error:  # a truncated or damaged gzip file
        yield Entry(f"after {place}", "", f"the file cannot be read further: {error}")


def parse_entries(batch: pa.Table, *, max_residues: int) -> pa.Table:
    """Turn raw entries (``ENTRY_SCHEMA``) into outcomes (``OUTCOME_SCHEMA``), row for row, in order."""
    return pa.Table.from_pylist([_outcome(entry, max_residues) for entry in batch.to_pylist()], schema=OUTCOME_SCHEMA)


def _provenance(record: Record, origin: str) -> str | None:
    """A record's own provenance and that of its file."""
    of_file = {key: value for key, value in json.loads(origin).items() if key in ("release", "licence")}
    merged = of_file | json.loads(record["provenance"] or "{}")
    return json.dumps(merged, sort_keys=True, ensure_ascii=False) if merged else None


def _outcome(entry: dict[str, str], max_residues: int) -> dict[str, Any]:
    place = Place(entry["source"], entry["place"], max_residues)
    unreadable = {"source": place.source, "place": place.place, "reason": "unreadable", "value": entry["raw"][:_SHOWN]}
    if entry["problem"]:
        return {**unreadable, "message": entry["problem"]}
    if "\ufffd" in entry["raw"]:
        return {**unreadable, "reason": "not_utf8", "message": "The entry holds bytes that are not UTF-8 text."}
    try:
        record = READERS[entry["format"]].parse(entry["raw"], place)
        return {**record, "provenance": _provenance(record, entry["origin"]), "place": place.place}
    except RecordError as error:
        return {
            **unreadable,
            "record": error.record,
            "reason": error.reason,
            "value": error.value[:_SHOWN],
            "message": str(error),
        }
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:  # fields that no schema promises
        return {**unreadable, "message": f"{type(error).__name__}: {error}"}
