"""Texts of an entry that can be shown: on one line, without letters that steer a terminal or turn text around."""

import re
from dataclasses import replace

from protein2text.data.readers.entries import Place
from protein2text.errors import UnusableRecord
from protein2text.neighbours.entries import Characterised

_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_ACCESSION = re.compile(r"[A-Za-z0-9_.:|+-]{1,64}")


def presentable(entry: Characterised, place: Place) -> Characterised:
    """The entry with every white space as single blanks.

    Raises:
        UnusableRecord: an accession of other letters than those of databases, or a text with control letters.
    """
    if not _ACCESSION.fullmatch(entry.accession):
        limit, remedy = "1 to 64 ASCII letters, digits and any of _.:|+- are needed", "Correct the accession."
        raise UnusableRecord("bad_accession", ascii(entry.accession[:40]), place.place, "accession", limit, remedy)
    facts = tuple(
        fact
        if fact.value.isprintable() and (fact.molecule or "").isprintable() and (fact.term or "").isprintable()
        else replace(
            fact,
            value=_on_one_line(fact.value, entry, place),
            molecule=fact.molecule and _on_one_line(fact.molecule, entry, place),
            term=fact.term and _on_one_line(fact.term, entry, place),
        )
        for fact in entry.facts
    )
    name, organism, licence = (
        text and _on_one_line(text, entry, place) for text in (entry.name, entry.organism, entry.licence)
    )
    return replace(entry, name=name, organism=organism, licence=licence, facts=facts)


def _on_one_line(text: str, entry: Characterised, place: Place) -> str:
    if text.isprintable():
        return text
    text = " ".join(text.split())
    if found := _STEERING.search(text):
        limit, remedy = "no text may steer the screen that shows it", "Remove the letter from the source."
        raise UnusableRecord("control_letter", entry.accession, place.place, ascii(found[0]), limit, remedy)
    return text
