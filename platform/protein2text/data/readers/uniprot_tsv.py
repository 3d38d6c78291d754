"""Tables downloaded from UniProt: one header line, one entry a line, columns by name, in any order."""

import re
from collections.abc import Iterator

from protein2text.data.evidence import function_text
from protein2text.data.readers.entries import (
    LINE_END,
    Entry,
    Piece,
    Place,
    checked_protein,
    cut_after,
    no_text,
    numbered_lines,
)
from protein2text.data.records import Record, make_record
from protein2text.errors import UnusableRecord
from protein2text.proteins import Protein

REQUIRED_COLUMNS = ("Entry", "Function [CC]", "Sequence")
_HEADER = re.compile(rb"(?:[^\S\n]*\n)*([^\n]*)\n?")
"""Blank lines, then the first that is not."""


def cut(chunks: Iterator[bytes]) -> Iterator[Piece]:
    """Pieces of whole lines, each with the header that stands at the top of the file."""
    header = ""
    for piece in cut_after(LINE_END, chunks):
        if not header and piece.problem is None and (first := _HEADER.match(piece.data)):
            header = first[1].decode("utf-8", "replace").rstrip("\r")
            num_lines = piece.data.count(b"\n", 0, first.end())
            piece = Piece(piece.line + num_lines, piece.data[first.end() :])
        yield piece._replace(context=header)


def split(text: str, line: int, context: str) -> Iterator[Entry]:
    """One entry per line that is not blank; the header stands below it, so that it can be parsed by itself."""
    for number, row in numbered_lines(text, line):
        yield Entry(f"line {number}", f"{row}\n{context}")


def parse(raw: str, place: Place) -> Record:
    """A description from the columns Entry, Function [CC] and Sequence.

    Raises:
        UnusableRecord: what `row_of` refuses, or no function text.
    """
    protein, row = row_of(raw, place, REQUIRED_COLUMNS)
    function = function_text([row["Function [CC]"]])
    if not function.text:
        raise no_text(protein.accession)
    provenance = {
        "name": row.get("Protein names"),
        "organism": row.get("Organism"),
        "evidence": function.evidence,
        "pubmed": function.pubmed,
        "created": row.get("Date of creation"),
    }
    return make_record(protein.accession, [protein], source=place.source, text=function.text, provenance=provenance)


def row_of(raw: str, place: Place, required: tuple[str, ...]) -> tuple[Protein, dict[str, str]]:
    """An entry's protein and its cells by column.

    Raises:
        UnusableRecord: cells that do not fit the header, or a required column that is missing.
    """
    cells, header = ([cell.strip(" ") for cell in line.split("\t")] for line in raw.split("\n", 1))
    missing = [name for name in required if name not in header]
    if missing or len(cells) != len(header):
        value = f"no column {missing[0]!r}" if missing else f"{len(cells)} cells"
        limit = f"needed are {', '.join(required)}" if missing else f"the header names {len(header)} columns"
        raise UnusableRecord(
            "bad_row", cells[0], place.place, value, limit, "Download the table again with these columns."
        )
    row = dict(zip(header, cells, strict=True))
    stated = row.get("Length", "").strip()
    length = int(stated) if stated.isdigit() else None
    return checked_protein(row["Entry"], row["Sequence"], place, length), row
