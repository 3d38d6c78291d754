"""Which reader a file needs, told by its content: names and endings vary, first lines do not."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from protein2text.data.readers import fasta, json_array, qa_json, uniprot_flat, uniprot_json, uniprot_tsv, uniprot_xml
from protein2text.data.readers.entries import Entry, Place, open_text
from protein2text.data.records import Record
from protein2text.errors import ConfigError, MissingFile, UnusableRecord

ORIGIN_SUFFIX = ".origin.json"
"""Ending of the file that says where a downloaded table beside it came from; it is no source itself."""


@dataclass(frozen=True)
class Reader:
    """How a format is cut into entries, and how an entry becomes a record."""

    split: Callable[[TextIO], Iterator[Entry]]
    parse: Callable[[str, Place], Record]


def parse_json_entry(raw: str, place: Place) -> Record:
    """A REST entry or a question, told by its keys.

    Raises:
        UnusableRecord: neither.
    """
    entry = json.loads(raw)
    if isinstance(entry, dict) and "primaryAccession" in entry:
        return uniprot_json.parse(entry, place)
    if isinstance(entry, dict) and "conversations" in entry:
        return qa_json.parse(entry, place)
    keys = ", ".join(sorted(entry)[:6]) if isinstance(entry, dict) else type(entry).__name__
    raise UnusableRecord(
        "unknown_schema",
        place.source,
        place.place,
        f"an entry with {keys}",
        "primaryAccession (UniProt) or conversations (questions) tells the schema",
        "Convert the entry to one of the two.",
    )


READERS: dict[str, Reader] = {
    "fasta": Reader(fasta.split, fasta.parse),
    "json": Reader(json_array.split, parse_json_entry),
    "uniprot-flat": Reader(uniprot_flat.split, uniprot_flat.parse),
    "uniprot-tsv": Reader(uniprot_tsv.split, uniprot_tsv.parse),
    "uniprot-xml": Reader(uniprot_xml.split, uniprot_xml.parse),
}


def expand(sources: list[str]) -> list[Path]:
    """Absolute paths of the files that the sources name; a folder stands for its files, in the order of their names.

    Raises:
        MissingFile: a source that does not exist, or a folder without files.
    """
    files: list[Path] = []
    for source in sources:
        path = Path(source).resolve()
        found = [path]
        if path.is_dir():
            found = sorted(item for item in path.iterdir() if item.is_file() and not item.name.endswith(ORIGIN_SUFFIX))
        if not found or not found[0].is_file():
            raise MissingFile(
                str(path), "a source of proteins", "Name a UniProt table, JSON, flat file, XML, FASTA or QA JSON file."
            )
        files += found
    return files


def detect(path: Path) -> str:
    """Name of the reader for a file.

    Raises:
        ConfigError: the file is empty or in no known format.
    """
    try:
        with open_text(path) as stream:
            head = stream.read(4096).lstrip("\ufeff \t\r\n")
    except (OSError, EOFError) as error:
        raise ConfigError(str(path), "source", f"cannot be read: {error}") from None
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
    raise ConfigError(str(path), "source", f"{seen}; known are {known}")
