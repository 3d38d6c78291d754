"""UniProt flat files (``.dat``, ``.txt``), read entry by entry with Biopython."""

import io
import re
from collections.abc import Iterator
from typing import TextIO

from Bio import SwissProt

from protein2text.data.evidence import function_text
from protein2text.data.readers.entries import Entry, Place, checked_protein, no_text, numbered_lines, stated_licence
from protein2text.data.records import Record, make_record
from protein2text.errors import UnusableRecord

_AFTER_OMISSION = ("and ", "or ", "to ", "but ")
_FULL_NAME = re.compile(r"(?:RecName|SubName): Full=([^;{]+)")


def split(stream: TextIO) -> Iterator[Entry]:
    """One entry up to each ``//`` line; a last piece without it is a file that breaks off."""
    lines: list[str] = []
    start = 1
    for number, line in numbered_lines(stream):
        if not lines and not line.strip():
            continue
        if not lines:
            start = number
        lines.append(line)
        if line.rstrip() == "//":
            yield Entry(f"line {start}", "\n".join(lines) + "\n")
            lines = []
    if lines:
        yield Entry(f"line {start}", "\n".join(lines), f"the file ends inside this entry, after {len(lines)} lines")


def function_comments(raw: str) -> list[str]:
    """FUNCTION comments of an entry, unwrapped.

    Lines are wrapped at spaces and after hyphens. Biopython puts a space between them always, which makes
    ``5- hydroxytryptamine`` of a word that broke at its hyphen; a hyphen that stands for an omitted part (``N- and
    C-terminal``) keeps its space.
    """
    comments: list[str] = []
    current: str | None = None
    for line in raw.splitlines():
        if not line.startswith("CC   "):
            continue
        content = line[5:]
        if content.startswith("-!- FUNCTION:"):
            current = content.removeprefix("-!- ").strip()
            comments.append(current)
        elif content.startswith("    ") and current is not None:
            words = content.strip()
            broken = current.endswith("-") and not words.startswith(_AFTER_OMISSION)
            current += words if broken else f" {words}"
            comments[-1] = current
        else:
            current = None
    return comments


def parse(raw: str, place: Place) -> Record:
    """A description from the entry's FUNCTION comments."""
    try:
        entry = SwissProt.read(io.StringIO(raw))  # type: ignore[no-untyped-call]
    except (ValueError, AssertionError, IndexError, KeyError) as error:
        lines = raw.splitlines()
        raise UnusableRecord(
            "unreadable",
            lines[0][:60] if lines else place.source,
            place.place,
            f"Biopython cannot read it: {error}",
            "a UniProt flat file entry is needed",
            "Fetch the entry again.",
        ) from None
    accession = entry.accessions[0] if entry.accessions else ""
    protein = checked_protein(accession, entry.sequence, place, entry.seqinfo[0])
    function = function_text(function_comments(raw))
    if not function.text:
        raise no_text(accession)
    copyright_lines = " ".join(line[5:] for line in raw.splitlines() if line.startswith("CC   "))
    full_name = _FULL_NAME.search(entry.description)
    provenance = {
        "name": full_name[1].strip() if full_name else entry.description,
        "organism": entry.organism.rstrip("."),
        "evidence": function.evidence,
        "pubmed": function.pubmed,
        "entry_version": entry.annotation_update[1] if entry.annotation_update else None,
        "licence": stated_licence(copyright_lines),
    }
    return make_record(accession, [protein], source=place.source, text=function.text, provenance=provenance)
