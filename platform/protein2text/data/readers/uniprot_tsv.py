"""Tables downloaded from UniProt: one header line, one entry a line, columns by name, in any order."""

import json
from collections.abc import Iterator
from typing import TextIO

from protein2text.data.evidence import function_text
from protein2text.data.readers.entries import Entry, Place, checked_protein, no_text, numbered_lines
from protein2text.data.records import Record, make_record
from protein2text.errors import UnusableRecord

REQUIRED_COLUMNS = ("Entry", "Function [CC]", "Sequence")


def split(stream: TextIO) -> Iterator[Entry]:
    """One entry per line that is not blank; each carries the header, so that it can be parsed by itself."""
    header: list[str] | None = None
    for number, line in numbered_lines(stream):
        if not line.strip():
            continue
        cells = line.split("\t")
        if header is None:
            header = [cell.strip() for cell in cells]
        else:
            yield Entry(f"line {number}", json.dumps([header, cells], ensure_ascii=False))


def parse(raw: str, place: Place) -> Record:
    """A description from the columns Entry, Function [CC] and Sequence.

    Raises:
        UnusableRecord: cells that do not fit the header, a required column that is missing, or no function text.
    """
    header, cells = json.loads(raw)
    missing = [name for name in REQUIRED_COLUMNS if name not in header]
    if missing or len(cells) != len(header):
        value = f"no column {missing[0]!r}" if missing else f"{len(cells)} cells"
        limit = f"needed are {', '.join(REQUIRED_COLUMNS)}" if missing else f"the header names {len(header)} columns"
        raise UnusableRecord(
            "bad_row", cells[0], place.place, value, limit, "Download the table again with these columns."
        )
    row = dict(zip(header, cells, strict=True))
    stated = row.get("Length", "").strip()
    length = int(stated) if stated.isdigit() else None
    protein = checked_protein(row["Entry"], row["Sequence"], place, length)
    function = function_text([row["Function [CC]"]])
    if not function.text:
        raise no_text(protein.accession)
    provenance = {
        "name": row.get("Protein names"),
        "organism": row.get("Organism"),
        "evidence": function.evidence,
        "pubmed": function.pubmed,
    }
    return make_record(protein.accession, [protein], source=place.source, text=function.text, provenance=provenance)
