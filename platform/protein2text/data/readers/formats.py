"""Which reader a file needs, told by its content: names and endings vary, first lines do not."""

import json
import re
from collections.abc import Iterator
from typing import Any, Literal

from protein2text.data.readers import fasta, json_array, qa_json, uniprot_flat, uniprot_json, uniprot_tsv, uniprot_xml
from protein2text.data.readers.entries import Entry, Piece, Place, Reader, damage_piece, num_line_ends
from protein2text.data.records import Record
from protein2text.data.sources import DamagedSource, read_chunks
from protein2text.errors import ConfigError, UnusableRecord

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json_entry(raw: str, place: Place) -> Record:
    """A REST entry or a question, told by its keys.

    Raises:
        UnusableRecord: neither.
        ValueError: no JSON, or a text that cannot be stored.
    """
    schema, entry = json_entry(raw, place)
    return uniprot_json.parse(entry, place) if schema == "uniprot" else qa_json.parse(entry, place)


def json_entry(raw: str, place: Place) -> tuple[Literal["uniprot", "question"], dict[str, Any]]:
    """An entry with its schema.

    Raises:
        UnusableRecord: neither of the two.
        ValueError: no JSON, or a text that cannot be stored.
    """
    entry = json.loads(raw)
    if _SURROGATE.search(raw):
        _refuse_half_letters(entry, place)
    if isinstance(entry, dict) and "primaryAccession" in entry:
        return "uniprot", entry
    if isinstance(entry, dict) and "conversations" in entry:
        return "question", entry
    keys = ", ".join(sorted(entry)[:6]) if isinstance(entry, dict) else type(entry).__name__
    raise UnusableRecord(
        "unknown_schema",
        place.source,
        place.place,
        f"an entry with {keys}",
        "primaryAccession (UniProt) or conversations (questions) tells the schema",
        "Convert the entry to one of the two.",
    )


def _refuse_half_letters(entry: Any, place: Place) -> None:
    try:
        json.dumps(entry, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start])
        limit, remedy = "such an escape stands for no letter by itself", "Restore the text from its origin."
        raise UnusableRecord("half_letter", place.source, place.place, half, limit, remedy) from None


READERS: dict[str, Reader] = {
    "fasta": Reader(fasta.cut, fasta.split, fasta.parse),
    "json": Reader(json_array.cut, json_array.split, parse_json_entry),
    "uniprot-flat": Reader(uniprot_flat.cut, uniprot_flat.split, uniprot_flat.parse, splits_bytes=True),
    "uniprot-tsv": Reader(uniprot_tsv.cut, uniprot_tsv.split, uniprot_tsv.parse),
    "uniprot-xml": Reader(uniprot_xml.cut, uniprot_xml.split, uniprot_xml.parse),
}


def detect(path: str) -> str:
    """Name of the reader for a file.

    Raises:
        ConfigError: the file is empty or in no known format.
        ServiceError: its store does not answer.
    """
    try:
        head = next(read_chunks(path), b"")[:4096].decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    except DamagedSource as damage:
        raise ConfigError(path, "source", f"cannot be read: {damage.problem}") from None
    first_line = head.split("\n", 1)[0]
    if head.startswith(">"):
        return "fasta"
    if head.startswith("<"):
        return "uniprot-xml"
    if head.startswith(("[", "{")):
        return "json"
    if head.startswith("ID   "):
        return "uniprot-flat"
    if "\t" in first_line and "Entry" in first_line.split("\t"):
        return "uniprot-tsv"
    seen = "an empty file" if not head else f"it begins with {first_line[:60]!r}"
    known = "FASTA ('>'), XML ('<'), JSON ('[' or '{'), UniProt flat file ('ID   ') or a table with a column 'Entry'"
    raise ConfigError(path, "source", f"{seen}; known are {known}")


def read_entries(path: str, format_name: str) -> Iterator[Entry]:
    """A file's entries in order, in this process; damage is an entry with a problem."""
    reader = READERS[format_name]
    for piece in cut_file(path, format_name):
        yield from reader.entries(piece)


def cut_file(path: str, format_name: str) -> Iterator[Piece]:
    """A file's pieces in order; damage is a piece with a problem.

    Raises:
        ServiceError: a store that does not answer: no matter of the data, which may be read another time.
    """
    line = 1
    try:
        for piece in READERS[format_name].cut(read_chunks(path)):
            yield piece
            line = piece.line + num_line_ends(piece.data)
    except DamagedSource as damage:  # before the first entry, or after the last
        yield damage_piece(damage, line, b"")
