"""FASTA: proteins without texts, stored with a null text so that they can be split, embedded and asked about."""

import io
import re
from collections.abc import Iterator

from protein2text.data.readers.entries import Entry, Piece, Place, checked_protein, cut_after
from protein2text.data.records import Record, make_record
from protein2text.proteins import accession_of

_TITLE = r"\n(?=>)"
_BEFORE_TITLE = re.compile(_TITLE.encode())


def cut(chunks: Iterator[bytes]) -> Iterator[Piece]:
    """Pieces that begin with a title."""
    return cut_after(_BEFORE_TITLE, chunks)


def split(text: str, line: int, context: str) -> Iterator[Entry]:
    """One entry per title line; text before the first title is an entry that will not parse."""
    for block in re.split(_TITLE, text):
        if body := block.strip():
            yield Entry(f"line {line + block.count(chr(10), 0, block.index(body[0]))}", body)
        line += block.count("\n") + 1


def parse(raw: str, place: Place) -> Record:
    """One protein, its title kept as provenance."""
    from Bio.SeqIO.FastaIO import SimpleFastaParser  # here: its import takes a worker longer than a thousand entries

    records = list(SimpleFastaParser(io.StringIO(raw)))  # type: ignore[no-untyped-call]
    title, sequence = records[0] if records else ("", "")
    protein = checked_protein(accession_of(title), sequence, place)
    return make_record(protein.accession, [protein], source=place.source, provenance={"title": title})
