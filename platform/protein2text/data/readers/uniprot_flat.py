"""UniProt flat files (``.dat``, ``.txt``), read entry by entry with Biopython."""

import io
from collections.abc import Iterator
from typing import TextIO

from Bio import SwissProt

from protein2text.data.evidence import function_text
from protein2text.data.readers.entries import Entry, Place, checked_protein, no_text, numbered_lines, stated_licence
from protein2text.data.records import Record, make_record
from protein2text.errors import UnusableRecord


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
    function = function_text([text for text in entry.comments if text.startswith("FUNCTION:")])
    if not function.text:
        raise no_text(accession)
    copyright_lines = " ".join(line[5:] for line in raw.splitlines() if line.startswith("CC   "))
    provenance = {
        "name": entry.description,
        "organism": entry.organism,
        "evidence": function.evidence,
        "pubmed": function.pubmed,
        "entry_version": entry.annotation_update[1] if entry.annotation_update else None,
        "licence": stated_licence(copyright_lines),
    }
    return make_record(accession, [protein], source=place.source, text=function.text, provenance=provenance)
