"""Domains and binding sites, as flat files (both layouts) and tables write features."""

import re

from protein2text.data.evidence import strip_evidence
from protein2text.data.readers.uniprot_flat import unwrapped
from protein2text.neighbours.readers.fact_list import Evidence, FactList, stated_evidence

_LINES = re.compile(r"\nFT   (DOMAIN|BINDING|METAL|NP_BIND) +(\S+)(?: +(\S+)(?: +(.*))?)?((?:\nFT {6,}.*)*)")
_CELL = re.compile(r"(?:^|;\s*)(DOMAIN|BINDING|METAL|NP_BIND) (\S+?)((?:;\s*/\w+=\"(?:[^\"]|\"\")*+\")*)(?=;|\s*\Z)")
_QUALIFIER = re.compile(r'/(\w+)="((?:[^"]|"")*+)"')
_POSITION = re.compile(r"[<>]?(\d+)")
_FEATURE_ID = re.compile(r"\s*/FTId=\S+")
_LABEL = re.compile(r"(?<=[a-z]) \d+\Z")
"""``Zinc 1`` and ``Zinc 2`` are two sites of one ligand."""


def add_lines(facts: FactList, lines: str) -> None:
    """Take the domains and binding sites of FT lines."""
    for key, begin, end, note, rest in _LINES.findall("\n" + lines):
        words = [line[5:] for line in rest.split("\n")[1:]]
        if end:  # columns, before 2019
            text = _FEATURE_ID.sub("", unwrapped([note, *words]))
            add_feature(facts, key, (begin, end), {"note": strip_evidence(text)}, stated_evidence(text))
        else:
            _add_qualified(facts, key, begin, unwrapped(words))


def add_cell(facts: FactList, cell: str) -> None:
    """Take the domains and binding sites in a table's cell."""
    for key, place, qualifiers in _CELL.findall(cell):
        _add_qualified(facts, key, place, qualifiers)


def _add_qualified(facts: FactList, key: str, place: str, text: str) -> None:
    qualifiers = {name: value.replace('""', '"') for name, value in _QUALIFIER.findall(text)}
    add_feature(facts, key, _range(place), qualifiers, stated_evidence(qualifiers.get("evidence", "")))


def add_feature(
    facts: FactList, key: str, place: tuple[str, str], qualifiers: dict[str, str], evidence: Evidence
) -> None:
    """Take one feature.

    Args:
        facts: to add to.
        key: of the flat file; METAL and NP_BIND are what binding sites of metals and nucleotides were called to 2022.
        place: first and last residue as written; what is not known to the residue becomes null.
        qualifiers: ``note``, or ``ligand`` and ``ligand_id``.
        evidence: codes and articles.
    """
    residues = (_number(place[0]), _number(place[1]))
    note = qualifiers.get("note", "")
    if key == "DOMAIN":
        facts.add("domain", note.rstrip(" ."), evidence, residues=residues)
        return
    ligand = qualifiers.get("ligand") or _LABEL.sub("", note.split(";")[0].rstrip(" ."))
    chebi = qualifiers.get("ligand_id", "").removeprefix("ChEBI:") or None
    facts.add("ligand", ligand, evidence, term=chebi, residues=residues)


def _range(place: str) -> tuple[str, str]:
    """First and last residue of ``13..82`` or ``45``; those of another isoform (``P12345-2:1..9``) are not known."""
    if ":" in place:
        return "?", "?"
    begin, _, end = place.partition("..")
    return begin, end or begin


def _number(position: str) -> int | None:
    found = _POSITION.fullmatch(position)
    return int(found[1]) if found else None
