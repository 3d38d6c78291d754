"""Gathers an entry's facts: what is said twice is one fact with the evidence of both."""

import re
from collections.abc import Iterable
from typing import Any

from protein2text.data.evidence import function_text, labelled, references, strip_evidence
from protein2text.data.readers.entries import Place
from protein2text.neighbours.entries import Characterised
from protein2text.neighbours.facts import FACT_KINDS, GO_EVIDENCE, Fact
from protein2text.proteins import Protein

GO_KINDS = {"F": "molecular_function", "P": "biological_process", "C": "cellular_component"}
_QUALIFIER = re.compile(r"[(,;]\s*(by similarity|probable|potential)\s*(?=[),;])", re.IGNORECASE)
ECO_OF_QUALIFIER = {"by similarity": "ECO:0000250", "probable": "ECO:0000305", "potential": "ECO:0000255"}
"""What UniProt replaced its qualifiers with in 2014."""
_MOLECULE = re.compile(r"\[([^\[\]]+)\]:\s+")
_FAMILY = re.compile(r"\bbelongs to (?:the )?(.+)", re.IGNORECASE)
_EC_NUMBER = re.compile(r"\d+\.(?:\d+|-)\.(?:\d+|-)\.(?:n?\d+|-)")

Evidence = tuple[Iterable[str], Iterable[str]]
"""ECO codes and PubMed ids."""
_Said = tuple[str, str, str | None, int | None, int | None, str | None]
NO_EVIDENCE: Evidence = ((), ())


def stated_evidence(text: str) -> Evidence:
    """ECO codes and PubMed ids that a raw text holds; older releases say ``(By similarity)`` and the like."""
    codes, articles = references(text)
    if "(" in text and (found := _QUALIFIER.findall(text)):
        codes = tuple(dict.fromkeys([*codes, *(ECO_OF_QUALIFIER[word.lower()] for word in found)]))
    return codes, articles


class FactList:
    """Facts of one entry, in order of their kinds."""

    def __init__(self) -> None:
        self._facts: dict[_Said, tuple[dict[str, None], dict[str, None]]] = {}

    def add(
        self,
        kind: str,
        value: str | None,
        evidence: Evidence = NO_EVIDENCE,
        *,
        term: str | None = None,
        residues: tuple[int | None, int | None] = (None, None),
        molecule: str | None = None,
    ) -> None:
        """Take a fact; one without a value says nothing and is passed over."""
        if value := (value or "").strip():
            codes, articles = self._facts.setdefault((kind, value, term, *residues, molecule), ({}, {}))
            codes.update(dict.fromkeys(evidence[0]))
            articles.update(dict.fromkeys(evidence[1]))

    def add_function(self, text: str, evidence: Evidence | None = None, molecule: str | None = None) -> None:
        """A FUNCTION comment, raw; ``evidence`` where it stands apart from the text."""
        molecule, text = split_molecule(text, molecule)
        own = stated_evidence(text)
        codes, articles = evidence or NO_EVIDENCE
        self.add("function", function_text([text]).text, ((*codes, *own[0]), (*articles, *own[1])), molecule=molecule)

    def add_ec_numbers(self, text: str, evidence: Evidence = NO_EVIDENCE, molecule: str | None = None) -> None:
        """Every EC number in a text; ``molecule`` where it is that of a part or an isoform alone."""
        for number in _EC_NUMBER.findall(text):
            self.add("ec", number, evidence, molecule=molecule)

    def add_go(self, term: str, described: str, code: str, evidence: Evidence = NO_EVIDENCE) -> None:
        """A GO term as the cross-references have it: ``GO:0005524``, ``F:ATP binding``, ``IDA:UniProtKB``."""
        namespace, _, name = described.partition(":")
        eco = code if code.startswith("ECO:") else GO_EVIDENCE.get(code.partition(":")[0])
        self.add(GO_KINDS[namespace], name, ((*([eco] if eco else []), *evidence[0]), evidence[1]), term=term)

    def add_signature(self, term: str, name: str) -> None:
        """A signature of InterPro or Pfam that the protein has; some have no name but their number."""
        self.add("domain", term if name in ("", "-") else name, term=term)

    def add_similarity(self, text: str, evidence: Evidence | None = None) -> None:
        """A SIMILARITY comment, raw, if it names a family."""
        if found := _FAMILY.search(strip_evidence(text)):
            self.add("family", found[1].rstrip(" .;"), evidence or stated_evidence(text))

    def of(self, protein: Protein, about: dict[str, Any], place: Place) -> Characterised:
        """The entry; release and licence of its file are set where the file is known.

        Args:
            protein: of the entry.
            about: ``name``, ``organism``, ``entry_version`` and ``licence``, as far as the entry states them.
            place: where it stands.
        """
        facts = [
            Fact(kind, value, term, tuple(eco), tuple(pubmed), begin, end, molecule)
            for (kind, value, term, begin, end, molecule), (eco, pubmed) in self._facts.items()
        ]
        facts.sort(key=lambda fact: _ORDER[fact.kind])
        return Characterised(
            protein.accession,
            about.get("name") or None,
            about.get("organism") or None,
            protein.sequence,
            protein.checksum,
            None,
            about.get("licence"),
            about.get("entry_version") or None,
            place.source,
            tuple(facts),
        )


_ORDER = {kind: number for number, kind in enumerate(FACT_KINDS)}


def split_molecule(text: str, molecule: str | None = None) -> tuple[str | None, str]:
    """Isoform or chain that a comment begins with, ``[Isoform 2]: ``, and the rest."""
    if found := _MOLECULE.match(text):
        return found[1], text[found.end() :]
    return molecule, text


def split_comments(cell: str, topic: str) -> list[str]:
    """The comments of one topic in a table's cell."""
    return [text for text in map(str.strip, labelled(" ".join(cell.split()), topic)) if text]
