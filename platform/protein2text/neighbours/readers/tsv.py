"""Facts of a row of a UniProt table: of the columns that are there, spelled as UniProt's download spells them."""

import re

from protein2text.data.protein_names import names_of_cell
from protein2text.data.readers import uniprot_tsv
from protein2text.data.readers.entries import Place
from protein2text.neighbours.entries import Characterised
from protein2text.neighbours.readers.comments import add_comment
from protein2text.neighbours.readers.fact_list import FactList, split_comments
from protein2text.neighbours.readers.features import add_cell

_REQUIRED = ("Entry", "Sequence")
_COMMENTS = {
    "Function [CC]": "FUNCTION",
    "Catalytic activity": "CATALYTIC ACTIVITY",
    "Cofactor": "COFACTOR",
    "Subcellular location [CC]": "SUBCELLULAR LOCATION",
}
"""Columns and the topics that label the comments in them."""
_GO = {
    "Gene Ontology (molecular function)": "F",
    "Gene Ontology (biological process)": "P",
    "Gene Ontology (cellular component)": "C",
}
_GO_TERM = re.compile(r"(.+) \[(GO:\d{7})\]")
_FEATURES = ("Domain [FT]", "Binding site", "Metal binding", "Nucleotide binding")
_SIGNATURES = ("InterPro", "Pfam")


def characterise(raw: str, place: Place) -> Characterised:
    """The facts of one row; tables give no evidence for GO terms, families and EC numbers.

    Raises:
        UnusableRecord: what `uniprot_tsv.row_of` refuses.
    """
    protein, row = uniprot_tsv.row_of(raw, place, _REQUIRED)
    names, facts = row.get("Protein names", ""), FactList()
    name = next(iter(names_of_cell(names)), None)
    facts.add("name", name)
    facts.add_ec_numbers(" ".join(re.findall(r"\(EC [^()]+\)", names)))
    facts.add_ec_numbers(row.get("EC number", ""))
    for column, topic in _COMMENTS.items():
        for text in split_comments(row.get(column, ""), topic):
            add_comment(facts, topic, text)
    for column, namespace in _GO.items():
        for term in row.get(column, "").split("; "):
            if found := _GO_TERM.fullmatch(term.strip(" ;")):
                facts.add_go(found[2], f"{namespace}:{found[1]}", "")
    for column in _SIGNATURES:
        for term in filter(None, map(str.strip, row.get(column, "").split(";"))):
            facts.add_signature(term, "")
    for column in _FEATURES:
        add_cell(facts, row.get(column, ""))
    facts.add("family", row.get("Protein families", ""))
    version = row.get("Entry version", "")
    about = {
        "name": name,
        "organism": row.get("Organism"),
        "entry_version": int(version) if version.isdigit() else None,
    }
    return facts.of(protein, about, place)
