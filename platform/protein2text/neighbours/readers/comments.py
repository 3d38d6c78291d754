"""Comments as flat files and tables write them: ``Reaction=…; Xref=…; EC=…; Evidence={…}`` and the like."""

import re

from protein2text.data.evidence import strip_evidence
from protein2text.neighbours.readers.fact_list import FactList, split_molecule, stated_evidence

_NEXT = r"(?=;\s*(?:Xref|EC|Evidence|PhysiologicalDirection|Reaction|Name|Note)=|;?\Z)"
"""What ends a value; white space is single here, a run of it would be searched again from each of its places."""
_REACTION = re.compile(rf"Reaction=(.+?){_NEXT}(.*?)(?=;\s*Reaction=|\Z)")
_RHEA = re.compile(r"Rhea:(RHEA:\d+)")
_EC = re.compile(r"\bEC=([\d.n-]+)")
_COFACTOR = re.compile(rf"Name=(.+?){_NEXT}(.*?)(?=;\s*(?:Name|Note)=|\Z)")
_CHEBI = re.compile(r"ChEBI:(CHEBI:\d+)")
_EVIDENCE = re.compile(r"Evidence=(\{[^{}]*\})")
_NOTE = re.compile(r"(?:^|[\s.;])Note[=:].*")
_STATEMENT = re.compile(r"((?:[^{}.;]|\.(?=\S))++)((?:\{[^{}]*\})?)")
"""Up to a stop: a location, or its topology or orientation, and the evidence behind it."""
_ISOFORM = re.compile(r"(Isoform [^:]{1,40}): (.+)", re.IGNORECASE)
"""How older releases began the locations of an isoform."""


def add_comment(facts: FactList, topic: str, text: str) -> None:
    """Take what one comment says; its topic is that of the flat file."""
    if topic == "FUNCTION":
        facts.add_function(text)
    elif topic == "SIMILARITY":
        facts.add_similarity(text)
    elif topic == "CATALYTIC ACTIVITY":
        _add_reactions(facts, " ".join(text.split()))
    elif topic == "COFACTOR":
        _add_cofactors(facts, " ".join(text.split()))
    elif topic == "SUBCELLULAR LOCATION":
        _add_locations(facts, text)


def _add_reactions(facts: FactList, text: str) -> None:
    molecule, text = split_molecule(text)
    if "Reaction=" not in text:  # before 2018
        facts.add("reaction", strip_evidence(text).rstrip(" .;"), stated_evidence(text), molecule=molecule)
        return
    for name, rest in _REACTION.findall(text):
        tag, rhea = _EVIDENCE.search(rest), _RHEA.search(rest)
        evidence = stated_evidence(tag[1] if tag else "")
        facts.add("reaction", name, evidence, term=rhea[1] if rhea else None, molecule=molecule)
        for number in _EC.findall(rest):
            facts.add_ec_numbers(number, evidence, molecule)


def _add_cofactors(facts: FactList, text: str) -> None:
    molecule, text = split_molecule(text)
    if "Name=" not in text and "Note=" not in text:  # before 2014
        facts.add("cofactor", strip_evidence(text).rstrip(" .;"), stated_evidence(text), molecule=molecule)
        return
    for name, rest in _COFACTOR.findall(text.split("Note=")[0]):
        tag, chebi = _EVIDENCE.search(rest), _CHEBI.search(rest)
        evidence = stated_evidence(tag[1] if tag else "")
        facts.add("cofactor", name, evidence, term=chebi[1] if chebi else None, molecule=molecule)


def _add_locations(facts: FactList, text: str) -> None:
    molecule, text = split_molecule(text)
    for words, tag in _STATEMENT.findall(_NOTE.sub("", text)):
        isoform = _ISOFORM.match(words.strip())
        of = isoform[1] if isoform else molecule
        value = strip_evidence(isoform[2] if isoform else words).strip(" .;")
        facts.add("location", value, stated_evidence(words + tag), molecule=of)
