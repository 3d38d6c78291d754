"""Facts of published questions, and what is known of a protein without any: a FASTA title."""

import json
import re
from typing import Any

from protein2text.data.protein_names import of_title
from protein2text.data.readers import fasta, qa_json
from protein2text.data.readers.entries import Place
from protein2text.errors import UnusableRecord
from protein2text.evaluate.facts import polarity
from protein2text.neighbours.entries import Characterised
from protein2text.neighbours.readers.fact_list import FactList
from protein2text.proteins import Protein

_EC = re.compile(r"\bEC numbers?:\s*((?:\d+\.[\dn.-]+)(?:,\s*\d+\.[\dn.-]+)*)")


def characterise_question(entry: dict[str, Any], place: Place) -> Characterised:
    """The answer to an open question as a ``function`` fact, with the EC numbers that it lists; a yes or no is no fact.

    Only a list counts (``EC number: 3.2.1.4, 3.2.1.8``): a sentence may name an activity to deny it.

    Raises:
        UnusableRecord: what `qa_json.parse` refuses, or a question about two proteins, which states nothing of either.
    """
    record = qa_json.parse(entry, place)
    if len(record["proteins"]) != 1:
        raise UnusableRecord(
            "two_proteins", record["record_id"], "id", "2 proteins", "an answer about two is no fact about one",
            "Leave it out.",
        )  # fmt: skip
    stored, answer = record["proteins"][0], (record["messages"] or [])[-1]["content"]
    about, facts = json.loads(record["provenance"] or "{}"), FactList()
    facts.add("name", about.get("name"))
    if polarity(answer) is None:
        facts.add("function", answer)
        for numbers in _EC.findall(answer):
            facts.add_ec_numbers(numbers)
    return facts.of(Protein(stored["accession"], stored["sequence"]), about, place)


def characterise_title(raw: str, place: Place) -> Characterised:
    """Name and organism of a UniProt title; no other facts.

    Raises:
        UnusableRecord: what `fasta.parse` refuses.
    """
    record, facts = fasta.parse(raw, place), FactList()
    stored = record["proteins"][0]
    title = of_title(json.loads(record["provenance"] or "{}").get("title", ""), stored["sequence"])
    name = next(iter(title.full), None)
    facts.add("name", name)
    protein = Protein(stored["accession"], stored["sequence"])
    return facts.of(protein, {"name": name, "organism": title.organism}, place)
