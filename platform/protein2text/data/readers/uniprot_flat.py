"""UniProt flat files (``.dat``, ``.txt``): https://web.expasy.org/docs/userman.html.

Only the lines that a record needs are taken apart; Biopython, the oracle of the tests, reads every reference, feature
and cross-reference too, which takes most of its time.
"""

import re
from collections.abc import Iterator

from protein2text.data.evidence import function_text
from protein2text.data.readers.entries import (
    Entry,
    Piece,
    Place,
    checked_protein,
    cut_after,
    no_text,
    stated_licence,
)
from protein2text.data.records import Record, make_record
from protein2text.errors import UnusableRecord

_END = re.compile(r"\n//[ \t\r]*(?=\n|\Z)")
_END_BYTES = re.compile(rb"\n//[ \t\r]*\n")
_CODES = "ID AC DT DE GN OS OG OC OX OH RN RP RC RX RG RA RT RL CC DR PE KW FT SQ // **"
_LINE_CODES = frozenset(("  ", *_CODES.split()))
_ID = re.compile(r"\S+\s+(?:Reviewed|Unreviewed|STANDARD|PRELIMINARY);\s+(?:PRT;\s+)?(\d+) AA\.?")
_SQ = re.compile(r"SEQUENCE\s+(\d+) AA;")
_VERSION = re.compile(r"entry version (\d+)|\(Rel\. (\d+)(?:\.\d+)?, Last annotation update\)")
_FULL_NAME = re.compile(r"(?:RecName|SubName): Full=([^;{]+)")
_AFTER_OMISSION = ("and ", "or ", "to ", "but ")


def cut(chunks: Iterator[bytes]) -> Iterator[Piece]:
    """Pieces that end with a ``//`` line."""
    return cut_after(_END_BYTES, chunks)


def split(text: str, line: int, context: str) -> Iterator[Entry]:
    """One entry up to each ``//`` line; a last piece without it is a file that breaks off."""
    start, text = 1, f"\n{text}"
    for found in _END.finditer(text):
        raw = text[start : found.end()]
        entry = raw.lstrip()
        yield Entry(f"line {line + raw.count(chr(10), 0, len(raw) - len(entry))}", entry)
        line += raw.count("\n") + 1
        start = found.end() + 1
    if rest := text[start:].lstrip():
        line += text.count("\n", start, len(text) - len(rest))
        yield Entry(f"line {line}", rest, f"the file ends inside this entry, after {rest.count(chr(10)) + 1} lines")


def function_comments(lines: list[str]) -> list[str]:
    """FUNCTION comments of an entry, unwrapped.

    Lines are wrapped at spaces and after hyphens. Biopython puts a space between them always, which makes
    ``5- hydroxytryptamine`` of a word that broke at its hyphen; a hyphen that stands for an omitted part (``N- and
    C-terminal``) keeps its space.

    Args:
        lines: contents of the entry's CC lines.
    """
    comments: list[str] = []
    inside = False
    for content in lines:
        if content.startswith("-!- "):
            inside = content.startswith("-!- FUNCTION:")
            if inside:
                comments.append(content[4:].rstrip())
        elif inside and content.startswith("    "):
            words = content.strip()
            broken = comments[-1].endswith("-") and not words.startswith(_AFTER_OMISSION)
            comments[-1] += words if broken else f" {words}"
        else:
            inside = False
    return comments


def parse(raw: str, place: Place) -> Record:
    """A description from the entry's FUNCTION comments.

    Raises:
        UnusableRecord: not one entry of a flat file, a sequence of another length than stated, or no function text.
    """
    lines = _Lines(raw, place)
    accession = lines.of("AC")[0].split(";", 1)[0]
    protein = checked_protein(accession, "".join(lines.of("  ")), place, lines.stated_length())
    comments = lines.of("CC")
    function = function_text(function_comments(comments))
    if not function.text:
        raise no_text(accession)
    notices = [content for content in comments if not content.startswith(("-!-", "    "))]
    version = _VERSION.search(" ".join(lines.of("DT")))
    description = " ".join(content.strip() for content in lines.of("DE"))
    full_name = _FULL_NAME.search(description)
    provenance = {
        "name": full_name[1].strip() if full_name else description,
        "organism": " ".join(content.rstrip() for content in lines.of("OS")).rstrip("."),
        "evidence": function.evidence,
        "pubmed": function.pubmed,
        "entry_version": int(version[1] or version[2]) if version else None,
        "licence": stated_licence(" ".join(notices)),
    }
    return make_record(protein.accession, [protein], source=place.source, text=function.text, provenance=provenance)


class _Lines:
    """An entry's lines by their codes.

    Raises:
        UnusableRecord: it is no entry, or two that have run together, or lines of one code do not stand together.
    """

    def __init__(self, raw: str, place: Place) -> None:
        self.lines, self.place = raw.split("\n"), place
        self.codes = [line[:2] for line in self.lines]
        if unknown := set(self.codes) - _LINE_CODES:
            raise self._refusal(f"unknown line code {min(unknown)!r}")
        if self.codes[0] != "ID" or self.codes[-1] != "//":
            raise self._refusal(f"it begins with {self.lines[0][:20]!r} and ends with {self.lines[-1][:20]!r}")
        if missing := {"AC", "SQ", "  "} - set(self.codes):
            raise self._refusal(f"no line {min(missing)!r}")

    def of(self, code: str) -> list[str]:
        """What stands behind a code, a string a line; they stand together in a whole entry."""
        count = self.codes.count(code)
        start = self.codes.index(code) if count else 0
        if self.codes[start : start + count] != [code] * count:
            raise self._refusal(f"lines {code!r} in more than one place")
        return [line[5:] for line in self.lines[start : start + count]]

    def stated_length(self) -> int:
        """Residues that the entry says it has, on its first line and above its sequence."""
        first, above = self.of("ID"), self.of("SQ")
        stated = _ID.fullmatch(first[0].rstrip()), _SQ.match(above[0])
        if len(first) == len(above) == 1 and stated[0] and stated[1] and int(stated[0][1]) == int(stated[1][1]):
            return int(stated[0][1])
        raise self._refusal("not one ID and one SQ line that state the same length")

    def _refusal(self, problem: str) -> UnusableRecord:
        place, limit = self.place.place, "one whole entry of a UniProt flat file is needed"
        return UnusableRecord("unreadable", self.lines[0][:60], place, problem, limit, "Fetch the entry again.")
