"""What readers work on: a file is cut into pieces of whole entries, in order and without looking into them; a piece is
split into entries, and each entry parsed, by other processes."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from protein2text.data.records import Record
from protein2text.data.sources import DamagedSource
from protein2text.errors import UnusableRecord
from protein2text.proteins import Protein, clean_sequence

PIECE_BYTES = 8 * 2**20
"""Bytes that a worker parses at a time: some tenths of a second of work, a hundredth to hand it over."""
MAX_ENTRY_BYTES = 64 * 2**20
"""An entry that has not ended by then is damaged; the longest protein's, in XML, has some 10 MiB."""
SHOWN = 200
"""Letters of a bad entry that the quarantine shows."""
LINE_END = re.compile(rb"\n")
_OVERLAP = 256
"""Longer than any boundary between entries."""
_LICENCE = re.compile(r"Creative Commons (Attribution[\w-]*)(?:\s*\((CC [^)]+)\))?")


class Entry(NamedTuple):
    """A piece of a source file that should become one record."""

    place: str
    """``line 12`` or ``entry 3, line 40``."""
    raw: str
    problem: str | None = None
    """Set where this is nothing that could be parsed."""
    reason: str = "unreadable"
    """The code under which a problem is counted."""


class Piece(NamedTuple):
    """Some entries of a file, whole and undecoded, or a problem that stands in the place of one."""

    line: int
    """Number of the first line, from 1."""
    data: bytes
    context: str = ""
    """What the format needs to know of what came before: a table's header, the number of entries so far."""
    problem: str | None = None
    reason: str = "unreadable"


class Place(NamedTuple):
    """Where an entry came from, and the limit it must keep."""

    source: str
    place: str
    max_residues: int | None


@dataclass(frozen=True)
class Reader:
    """How a format's files are cut into pieces, a piece split into entries, and an entry parsed."""

    cut: Callable[[Iterator[bytes]], Iterator[Piece]]
    split: Callable[[str, int, str], Iterator[Entry]]
    """Takes a piece's text, with line feeds only, its first line's number and its context."""
    parse: Callable[[str, Place], Record]
    splits_bytes: bool = False
    """``split`` takes a letter for every byte and decodes each entry: one odd letter makes a text twice as wide."""

    def entries(self, piece: Piece) -> Iterator[Entry]:
        """A piece's entries; bytes that are not UTF-8 become U+FFFD, which no entry may hold."""
        as_bytes = self.splits_bytes and piece.problem is None
        text = piece.data.decode("latin-1") if as_bytes else piece.data.decode("utf-8", "replace")
        if piece.problem is not None:
            yield Entry(f"line {piece.line}", text, piece.problem, piece.reason)
        else:
            text = text.replace("\r\n", "\n") if "\r" in text else text
            yield from self.split(text, piece.line, piece.context)


def decoded(text: str) -> str:
    """The text that letters stand for as bytes; those that are not UTF-8 become U+FFFD."""
    return text if text.isascii() else text.encode("latin-1").decode("utf-8", "replace")


def cut_after(boundary: re.Pattern[bytes], chunks: Iterator[bytes]) -> Iterator[Piece]:
    """Cut where entries end.

    Args:
        boundary: matches the end of an entry, and nothing inside of one.
        chunks: a file's bytes.

    Returns:
        Pieces that join to the file; the last may end inside an entry. An entry above ``MAX_ENTRY_BYTES`` is a problem
        and passed over; so is what stands before damage, where the file ends.
    """
    waiting, line, searched = bytearray(), 1, 0
    damage: DamagedSource | None = None
    try:
        for chunk in chunks:
            waiting += chunk
            if len(waiting) < PIECE_BYTES:
                continue
            if end := _last_end(boundary, waiting, searched):
                piece, rest = bytes(memoryview(waiting)[:end]), waiting[end:]
                yield Piece(line, piece)
                line += num_line_ends(piece)
                waiting = rest
            elif len(waiting) > MAX_ENTRY_BYTES:
                head = bytes(waiting[:SHOWN])
                num_lines, waiting = _pass_over(boundary, waiting, chunks)
                problem = f"the entry does not end within {MAX_ENTRY_BYTES >> 20} MiB; it is passed over"
                yield Piece(line, head, "", problem, "entry_too_large")
                line += num_lines
            searched = max(0, len(waiting) - _OVERLAP) if not end else 0
    except DamagedSource as error:
        damage = error
    end = _last_end(boundary, waiting, 0) if damage else len(waiting)
    if end:
        yield Piece(line, bytes(waiting[:end]))
    if damage:
        yield damage_piece(damage, line + waiting.count(b"\n", 0, end), bytes(waiting[end:]))


def num_line_ends(data: bytes) -> int:
    """How many line feeds there are, many times as fast as ``bytes.count``."""
    return int(np.count_nonzero(np.frombuffer(data, np.uint8) == ord("\n")))


def damage_piece(damage: DamagedSource, line: int, begun: bytes) -> Piece:
    """What stands for the rest of a file: the entry that was begun, and all that would have followed."""
    problem = f"{damage.problem}; nothing from line {line} on can be read. Fetch the file again"
    return Piece(line, begun[:SHOWN], "", f"{problem}.", damage.reason)


def _last_end(boundary: re.Pattern[bytes], data: bytearray, floor: int) -> int:
    """Where the last whole entry ends, 0 if none ends after ``floor``; looked for from the end: little is searched."""
    start, step = len(data), 1 << 16
    while start > floor:
        start, step = max(floor, start - step), step * 4
        ends = [found.end() for found in boundary.finditer(data, start)]
        if ends:
            return ends[-1]
    return 0


def _pass_over(boundary: re.Pattern[bytes], data: bytearray, chunks: Iterator[bytes]) -> tuple[int, bytearray]:
    """Number of lines up to the end of an entry, and what follows it."""
    num_lines = 0
    for chunk in chunks:
        num_lines += data.count(b"\n", 0, max(0, len(data) - _OVERLAP))
        data = data[-_OVERLAP:] + chunk
        if found := boundary.search(data):
            return num_lines + data.count(b"\n", 0, found.end()), data[found.end() :]
    return num_lines + data.count(b"\n"), bytearray()


def numbered_lines(text: str, first: int) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their numbers."""
    for number, line in enumerate(text.split("\n"), start=first):
        if line.strip():
            yield number, line


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


def what_failed(error: Exception) -> str:
    """Python's complaint about an entry, in the entry's terms."""
    if isinstance(error, RecursionError):
        return "it is nested too deep to be read"
    if "integer string conversion" in str(error):
        return "it holds a number of thousands of digits"
    if isinstance(error, KeyError):
        return f"it lacks the key {error}"
    if isinstance(error, (TypeError, AttributeError, IndexError)):
        return f"a value in it is not of the kind that its format has there, null for a text for instance ({error})"
    return str(error)


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


@lru_cache(maxsize=64)
def stated_licence(text: str) -> str | None:
    """The Creative Commons licence that an entry states about itself, None where it states none."""
    match = _LICENCE.search(" ".join(text.split()))
    if match is None:
        return None
    return match[2] or f"CC {match[1]}"
