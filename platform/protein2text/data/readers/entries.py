"""What a reader works on: an entry cut out of a file, still raw, and where it stood."""

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TextIO

from protein2text.errors import UnusableRecord
from protein2text.proteins import Protein, clean_sequence

_LICENCE = re.compile(r"Creative Commons (Attribution[\w-]*)(?:\s*\((CC [^)]+)\))?")
_GZIP_MAGIC = b"\x1f\x8b"


class Entry(NamedTuple):
    """A piece of a source file that should become one record."""

    place: str
    """``line 12`` or ``entry 3, line 40``."""
    raw: str
    problem: str | None = None
    """Set where the file itself breaks off here and nothing after it can be read."""


@dataclass(frozen=True)
class Place:
    """Where an entry came from, and the limit it must keep."""

    source: str
    place: str
    max_residues: int | None


def open_text(path: str | Path) -> TextIO:
    """Open a text file, gzipped or not, a byte-order mark passed over; bytes that are not UTF-8 become U+FFFD, which no
    entry may hold."""
    with open(path, "rb") as file:
        zipped = file.read(2) == _GZIP_MAGIC
    if zipped:
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return open(path, encoding="utf-8-sig", errors="replace", newline="")


def numbered_lines(stream: TextIO) -> Iterator[tuple[int, str]]:
    """Lines with their numbers from 1, without line ends; a damaged stream raises when it is reached."""
    for number, line in enumerate(stream, start=1):
        yield number, line.rstrip("\r\n")


def checked_protein(accession: str, sequence: str, place: Place, stated_length: int | None = None) -> Protein:
    """Make a protein of an entry's fields.

    Raises:
        UnusableRecord: no accession, or a length that the file states differently (a sequence cut in transit).
        RecordError: whatever ``clean_sequence`` refuses.
    """
    accession = accession.strip()
    if not accession:
        raise UnusableRecord(
            "no_accession", place.source, place.place, "no accession", "every protein needs one", "Add the accession."
        )
    residues = clean_sequence(sequence, record=accession, max_residues=place.max_residues)
    if stated_length is not None and stated_length != len(residues):
        raise UnusableRecord(
            "length_mismatch",
            accession,
            "sequence",
            f"{len(residues)} residues",
            f"the file states {stated_length}",
            "Fetch the entry again: the sequence was cut or altered.",
        )
    return Protein(accession, residues)


def no_text(accession: str) -> UnusableRecord:
    """The error of a database entry that describes no function."""
    return UnusableRecord(
        "no_function",
        accession,
        "FUNCTION",
        "no function text",
        "a description is what alignment learns from",
        "Give the sequence as FASTA if a protein without text is wanted.",
    )


def stated_licence(text: str) -> str | None:
    """The Creative Commons licence that an entry states about itself, None where it states none."""
    match = _LICENCE.search(" ".join(text.split()))
    if match is None:
        return None
    return match[2] or f"CC {match[1]}"
