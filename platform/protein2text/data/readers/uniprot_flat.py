"""UniProt flat files (``.dat``, ``.txt``): https://web.expasy.org/docs/userman.html.

Only the lines that a record needs are taken apart; Biopython, the oracle of the tests, reads every reference, feature
and cross-reference too, which takes most of its time.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from protein2text.data.evidence import function_text
from protein2text.data.readers.entries import (
    Entry,
    Piece,
    Place,
    checked_protein,
    cut_after,
    decoded,
    no_text,
    stated_licence,
)
from protein2text.data.records import Record, make_record
from protein2text.data.sources import CUT_SHORT
from protein2text.errors import UnusableRecord
from protein2text.proteins import Protein

_END = re.compile(r"\n//[ \t\r]*(?=\n|\Z)")
_END_BYTES = re.compile(rb"\n//[ \t\r]*\n")
_ENTRY = re.compile(
    r"""ID\ \ \ (?P<id>.*)\n
    AC\ \ \ (?P<accession>[^;\n]*).*\n (?:AC\ \ \ .*\n)*+
    (?P<dates>(?:DT\ \ \ .*\n)*+)
    (?P<names>(?:DE\ \ \ .*\n)*+)
    (?:GN\ \ \ .*\n)*+
    (?P<organism>(?:OS\ \ \ .*\n)*+)
    (?:(?:O[GCXH]|R[NPCXGATL])\ \ \ .*\n)*+
    (?P<comments>(?:CC\ \ \ .*\n)*+)
    (?P<annotations>(?:(?:DR|PE|KW|FT|\*\*).*\n)*+)
    SQ\ \ \ (?P<summary>.*)\n
    (?P<sequence>(?:\ {5}.*\n)++)
    //\s*""",
    re.VERBOSE,
)
"""A whole entry: its lines in the order of the format, each code in one place. A hundred times as fast as a loop."""
_ID = re.compile(r"\S+\s+(?:Reviewed|Unreviewed|STANDARD|PRELIMINARY);\s+(?:PRT;\s+)?(\d+) AA\.?")
_SQ = re.compile(r"SEQUENCE\s+(\d+) AA;")
_VERSION = re.compile(r"entry version (\d+)|\(Rel\. (\d+)(?:\.\d+)?, Last annotation update\)")
_FUNCTION = re.compile(r"CC   -!- (FUNCTION):(.*(?:\nCC       .*)*)")
_NOTICE = "\nCC   -----"
"""What stands above the notice that ends the comments."""
_FULL_NAME = re.compile(r"(?:RecName|SubName): Full=([^;{]+)")
_CODES = "ID AC DT DE GN OS OG OC OX OH RN RP RC RX RG RA RT RL CC DR PE KW FT SQ // **"
_LINE_CODES = frozenset(("  ", *_CODES.split()))
_AFTER_OMISSION = ("and ", "or ", "to ", "but ")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAY = re.compile(rf"(\d\d)-({'|'.join(_MONTHS)})-(\d{{4}})")


def cut(chunks: Iterator[bytes]) -> Iterator[Piece]:
    """Pieces that end with a ``//`` line."""
    return cut_after(_END_BYTES, chunks)


def split(text: str, line: int, context: str) -> Iterator[Entry]:
    """One entry up to each ``//`` line; a last piece without it is a file that breaks off. ``text`` is undecoded."""
    start = int(text.startswith("//"))
    text = f"\n{text}" if start else text
    for end in _END.finditer(text):
        raw = decoded(text[start : end.end()])
        entry = raw.lstrip()
        blank = raw.count("\n", 0, len(raw) - len(entry)) if len(entry) < len(raw) else 0
        yield Entry(f"line {line + blank}", entry)
        line += raw.count("\n") + 1
        start = end.end() + 1
    tail = decoded(text[start:])
    if rest := tail.lstrip():
        line += tail.count("\n", 0, len(tail) - len(rest))
        problem = f"the file ends inside this entry, after {rest.count(chr(10)) + 1} lines. Fetch the file again."
        yield Entry(f"line {line}", rest, problem, CUT_SHORT)


def comments_of(lines: str, topics: re.Pattern[str]) -> list[tuple[str, str]]:
    """Topic and text of an entry's comments, unwrapped.

    Args:
        lines: the entry's CC lines, whole.
        topics: matches a comment; its first group is the topic and its second the text with its line breaks.
    """
    return [(found[1], unwrapped(found[2].split("\nCC    "))) for found in topics.finditer(lines)]


def unwrapped(lines: list[str]) -> str:
    """The text of several lines.

    Lines are wrapped at spaces and after hyphens. Biopython puts a space between them always, which makes
    ``5- hydroxytryptamine`` of a word that broke at its hyphen; a hyphen that stands for an omitted part (``N- and
    C-terminal``) keeps its space.
    """
    joined = " ".join([line.strip() for line in lines])
    if "- " not in joined and not joined.startswith(" "):
        return joined
    text = ""
    for words in map(str.strip, lines):
        broken = text.endswith("-") and not words.startswith(_AFTER_OMISSION)
        text += words if broken or not text else f" {words}"
    return text


def _first_day(dates: str) -> str | None:
    """When an entry was created: the first day of its DT lines, ``01-JUL-1993`` as ``1993-07-01``."""
    match = _DAY.search(dates)
    return f"{match[3]}-{_MONTHS.index(match[2]) + 1:02}-{match[1]}" if match else None


def parse(raw: str, place: Place) -> Record:
    """A description from the entry's FUNCTION comments.

    Raises:
        UnusableRecord: what `whole_entry` refuses, or no function text.
    """
    protein, lines = whole_entry(raw, place)
    function = function_text([text for _, text in comments_of(lines["comments"], _FUNCTION)])
    if not function.text:
        raise no_text(protein.accession)
    provenance = {
        **about(lines),
        "evidence": function.evidence,
        "pubmed": function.pubmed,
        "created": _first_day(lines["dates"]),
    }
    return make_record(protein.accession, [protein], source=place.source, text=function.text, provenance=provenance)


def whole_entry(raw: str, place: Place) -> tuple[Protein, re.Match[str]]:
    """An entry's protein and its lines, by what they are for (the groups of ``_ENTRY``).

    Raises:
        UnusableRecord: not one entry of a flat file, or a sequence of another length than stated.
    """
    entry = _ENTRY.fullmatch(raw)
    if entry is None:
        raise _unreadable(raw, place, _defect(raw))
    lengths = _ID.fullmatch(entry["id"].rstrip()), _SQ.match(entry["summary"])
    if not lengths[0] or not lengths[1] or int(lengths[0][1]) != int(lengths[1][1]):
        raise _unreadable(raw, place, "ID and SQ lines that do not state one length")
    return checked_protein(entry["accession"], entry["sequence"], place, int(lengths[0][1])), entry


def about(lines: re.Match[str]) -> dict[str, Any]:
    """Name, organism, version and licence of an entry."""
    version = _VERSION.search(lines["dates"])
    described = description(lines)
    full_name = _FULL_NAME.search(described)
    return {
        "name": full_name[1].strip() if full_name else described,
        "organism": _organism(lines["organism"]),
        "entry_version": int(version[1] or version[2]) if version else None,
        "licence": _licence(lines["comments"].partition(_NOTICE)[2]),
    }


@lru_cache(maxsize=1024)
def _organism(lines: str) -> str:
    return _content(lines).rstrip(".")


@lru_cache(maxsize=64)
def _licence(notice: str) -> str | None:
    return stated_licence(_content(notice))


def description(lines: re.Match[str]) -> str:
    """The DE lines of an entry as one text."""
    return _content(lines["names"])


def _content(lines: str) -> str:
    """What stands behind the codes of some lines, as one."""
    return " ".join([line[5:].strip() for line in lines.split("\n")]).strip()


def _defect(raw: str) -> str:
    """Why a text is no entry: its first line that has no place in one, or what it lacks."""
    codes = [line[:2] for line in raw.rstrip().split("\n")]
    for number, code in enumerate(codes, start=1):
        if code not in _LINE_CODES:
            return f"line {number} of the entry begins with {code!r}, which is no line code"
    for code in ("ID", "AC", "SQ", "  ", "//"):
        if codes.count(code) == 0 or (code in ("ID", "SQ", "//") and codes.count(code) > 1):
            return f"{codes.count(code)} lines with the code {code!r}"
    return "lines that do not stand in the order of the format"


def _unreadable(raw: str, place: Place, problem: str) -> UnusableRecord:
    first, limit = raw.split("\n", 1)[0][:60], "one whole entry of a UniProt flat file is needed"
    return UnusableRecord("unreadable", first, place.place, problem, limit, "Fetch the entry again.")
