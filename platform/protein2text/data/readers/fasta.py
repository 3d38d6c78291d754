"""FASTA: proteins without texts, stored with a null text so that they can be split, embedded and asked about."""

import io
from collections.abc import Iterator
from typing import TextIO

from Bio.SeqIO.FastaIO import SimpleFastaParser

from protein2text.data.readers.entries import Entry, Place, checked_protein, numbered_lines
from protein2text.data.records import Record, make_record
from protein2text.proteins import accession_of


def split(stream: TextIO) -> Iterator[Entry]:
    """One entry per title line; text before the first title is an entry that will not parse."""
    lines: list[str] = []
    start = 1
    for number, line in numbered_lines(stream):
        if line.startswith(">") and any(kept.strip() for kept in lines):
            yield Entry(f"line {start}", "\n".join(lines))
            lines = []
        if not lines:
            start = number
        lines.append(line)
    if any(kept.strip() for kept in lines):
        yield Entry(f"line {start}", "\n".join(lines))


def parse(raw: str, place: Place) -> Record:
    """One protein, its title kept as provenance."""
    records = list(SimpleFastaParser(io.StringIO(raw.lstrip())))  # type: ignore[no-untyped-call]
    title, sequence = records[0] if records else ("", "")
    protein = checked_protein(accession_of(title), sequence, place)
    return make_record(protein.accession, [protein], source=place.source, provenance={"title": title})
