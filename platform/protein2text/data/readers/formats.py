"""Which reader a file needs, told by its content: names and endings vary, first lines do not."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

from protein2text.data.readers import fasta, json_array, qa_json, uniprot_flat, uniprot_json, uniprot_tsv, uniprot_xml
from protein2text.data.readers.entries import Entry, Piece, Place, Reader, damage_piece, num_line_ends
from protein2text.data.records import Record
from protein2text.data.sources import DamagedSource, read_chunks
from protein2text.errors import ConfigError, UnusableRecord

KNOWN = (
    "FASTA ('>'), UniProt XML (<uniprot> or <entry>), JSON ('[' or '{'), UniProt flat file ('ID   ') or a table with a "
    "column 'Entry'"
)
_UNIPROT = re.compile(r"<(?:uniprot|entry)(?=[\s>])")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def _no_number(constant: str) -> Any:
    raise ValueError(f"it holds {constant}, which is no JSON; write null, or the value that is meant")


_DECODER = json.JSONDecoder(parse_constant=_no_number)
"""As Python would read it, NaN would become the answer "nan", and a sequence of three residues."""


def parse_json_entry(raw: str, place: Place) -> Record:
    """A REST entry or a question, told by its keys.

    Raises:
        UnusableRecord: neither.
        ValueError: no JSON, or a text that cannot be stored.
    """
    schema, entry = json_entry(raw, place)
    if schema == "question":
        return qa_json.parse(entry, place)
    try:
        return uniprot_json.parse(entry, place)
    except (KeyError, TypeError, AttributeError):
        uniprot_json.refuse_misfit(entry, place)
        raise


def json_entry(raw: str, place: Place) -> tuple[Literal["uniprot", "question"], dict[str, Any]]:
    """An entry with its schema.

    Raises:
        UnusableRecord: neither of the two.
        ValueError: no JSON, or a text that cannot be stored.
    """
    entry = _DECODER.decode(raw)
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
        head = next(read_chunks(path), b"").decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    except DamagedSource as damage:
        raise ConfigError(path, "source", f"cannot be read: {damage.problem}") from None
    first_line = head.split("\n", 1)[0]
    if "\0" in head[:2]:
        raise ConfigError(path, "source", "it is UTF-16 without the mark that says so; save it as UTF-8")
    if head.startswith(">"):
        return "fasta"
    if head.startswith("<") and _UNIPROT.search(head):
        return "uniprot-xml"
    if head.startswith(("[", "{")):
        return "json"
    if head.startswith("ID   "):
        return "uniprot-flat"
    columns = [name.strip() for name in first_line.split("\t")]
    if "\t" in first_line and "Entry" in columns:
        if doubled := [name for name, count in Counter(columns).items() if name and count > 1]:
            raise ConfigError(path, "source", f"its header names the column {doubled[0]!r} twice; keep one of them")
        return "uniprot-tsv"
    raise ConfigError(path, "source", f"{_seen(head, first_line)}; known are {KNOWN}")


def _seen(head: str, first_line: str) -> str:
    """How a file begins that is in no known format, and what to do about it."""
    if not head:
        return "an empty file"
    begins = f"it begins with {first_line[:60]!r}"
    if head.startswith("<"):
        return f"{begins}, and no <uniprot> or <entry> follows: a web page, or XML of another kind; download it again"
    if "Entry" in re.split(r"[,;]", first_line.replace('"', "")):
        return f"{begins}, as a CSV table; save it as TSV, with tabs between the columns"
    return begins


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
