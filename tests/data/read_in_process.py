"""Reads a source file in this process, as ingest would on Ray's workers."""

from pathlib import Path

from protein2text.data.readers.entries import Place
from protein2text.data.readers.formats import READERS, detect, read_entries
from protein2text.data.records import Record
from protein2text.errors import RecordError


def read(path: Path, max_residues: int | None = None) -> tuple[list[Record], list[RecordError | str]]:
    """Records and refusals of a file, as ingest would find them, in this process."""
    format_name = detect(str(path))
    records: list[Record] = []
    refused: list[RecordError | str] = []
    for entry in read_entries(str(path), format_name):
        if entry.problem:
            refused.append(entry.problem)
            continue
        try:
            records.append(READERS[format_name].parse(entry.raw, Place(path.name, entry.place, max_residues)))
        except RecordError as error:
            refused.append(error)
    return records, refused
