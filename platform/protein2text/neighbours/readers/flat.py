"""Facts of a UniProt flat file's entry; as in `uniprot_flat`, only the lines that are needed are taken apart."""

import re

from protein2text.data.readers import uniprot_flat
from protein2text.data.readers.entries import Place
from protein2text.neighbours.entries import Characterised
from protein2text.neighbours.readers import features
from protein2text.neighbours.readers.comments import add_comment
from protein2text.neighbours.readers.fact_list import FactList, stated_evidence

_COMMENT = re.compile(
    r"CC   -!- (FUNCTION|CATALYTIC ACTIVITY|COFACTOR|SUBCELLULAR LOCATION|SIMILARITY):(.*(?:\nCC       .*)*)"
)
_NAME = re.compile(r"(?:RecName|SubName): Full=([^;{]+)(\{[^{}]*\})?")
_PART = re.compile(r"\s(?:Contains|Includes):\s")
"""What begins the names of a chain, or of a part with a function of its own; older releases name all in brackets."""
_EC = re.compile(r"(?:EC=|\(EC )([\d.n-]+)[ )]*(\{[^{}]*\})?")
_GO = re.compile(r"\nDR   GO; (GO:\d+); ([FPC]:.*); (\w+)[^;\n]*")
_SIGNATURE = re.compile(r"\nDR   (?:InterPro; (IPR\d+)|P(?:fam|FAM); (PF\d+)); (.*?)(?:; \d+)?\.?(?=\n)")


def characterise(raw: str, place: Place) -> Characterised:
    """The facts of one entry.

    Raises:
        UnusableRecord: what `uniprot_flat.whole_entry` refuses.
    """
    protein, lines = uniprot_flat.whole_entry(raw, place)
    about, described, facts = uniprot_flat.about(lines), uniprot_flat.description(lines), FactList()
    name = _NAME.search(described)
    facts.add("name", about["name"], stated_evidence((name[2] if name else "") or ""))
    for at, part in enumerate(_PART.split(described)):
        called = _NAME.search(part) if at else None
        for number, tag in _EC.findall(part):
            facts.add_ec_numbers(number, stated_evidence(tag), called[1].strip() if called else None)
    for topic, text in uniprot_flat.comments_of(lines["comments"], _COMMENT):
        add_comment(facts, topic, text)
    annotations = f"\n{lines['annotations']}"
    for term, words, code in _GO.findall(annotations):
        facts.add_go(term, words, code)
    for interpro, pfam, words in _SIGNATURE.findall(annotations):
        facts.add_signature(interpro or pfam, words)
    features.add_lines(facts, annotations)
    return facts.of(protein, about, place)
