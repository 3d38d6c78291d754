"""Passages and generators' answers for the tests of the checks."""

import hashlib
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from protein2text.data.passages import Passage
from protein2text.data.qa.checks import CheckedPair, check_generated
from protein2text.data.qa.rules import QaRules

SEQUENCE = (
    "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQFEVVHSLAKWKRQTLGQHDFSAGEGLYTHMKALRPDEDRLSPLHSVYVDQWDWE"
    * 3
)
ABSTRACT = (
    "Background\n"
    "Asparagine synthetase A (AsnA) catalyses the ATP-dependent amidation of aspartate. The enzyme (EC 6.3.1.1) binds "
    "Mg2+ and calcium at pH 7.5 and 37 °C, with a Km of 0.5 mM. AsnA forms a homodimer of two 37 kDa subunits.\n"
    "Results\n"
    "Loss of AsnA reduces growth of E. coli by 45% within 24 hours and activates NF-κB in host cells (GO:0004071). In "
    "1,200 isolates TNF-α was not induced."
)


@pytest.fixture
def make_passage() -> Callable[..., Passage]:
    """A passage about asparagine synthetase; fields are replaced by name."""

    def make(**fields: Any) -> Passage:
        sequence = fields.pop("sequence", SEQUENCE)
        protein = {
            "accession": "P00963",
            "sequence": sequence,
            "length": len(sequence),
            "checksum": hashlib.sha256(sequence.encode()).hexdigest(),
        }
        passage = {
            "passage_id": "PMC1234.1:P00963",
            "protein": protein,
            "names": ["Asparagine synthetase A", "AsnA", "asnA"],
            "found": ["Asparagine synthetase A", "AsnA"],
            "pmcid": "PMC1234",
            "article_version": 1,
            "title": "An enzyme of bacteria",
            "abstract": ABSTRACT,
            "licence": "CC BY",
            "retracted": False,
            "provenance": None,
        }
        return {**passage, **fields}  # type: ignore[return-value,typeddict-item]

    return make


def generated(*pairs: tuple[str, str]) -> str:
    """What a generator writes."""
    return json.dumps({"pairs": [{"question": question, "answer": answer} for question, answer in pairs]})


@pytest.fixture
def check(make_passage: Callable[..., Passage]) -> Callable[..., CheckedPair]:
    """One pair, checked against a passage."""

    def check_one(question: str, answer: str, rules: QaRules | None = None, **fields: Any) -> CheckedPair:
        found = check_generated(generated((question, answer)), make_passage(**fields), rules or QaRules())
        assert len(found) == 1
        return found[0]

    return check_one


@pytest.fixture(scope="session")
def pubmed_questions(real_data: Path) -> list[dict[str, Any]]:
    """1,000 expert questions: QUESTION, CONTEXTS (paragraphs of the abstract), LONG_ANSWER (its conclusion)."""
    return list(json.loads((real_data / "qa" / "pubmedqa_labelled.json").read_text(encoding="utf-8")).values())


@pytest.fixture(scope="session")
def article_abstracts(real_data: Path) -> list[str]:
    """Abstracts of the real articles as plain text, one paragraph a line."""
    abstracts = []
    for path in sorted((real_data / "jats").rglob("*.*ml")) + sorted((real_data / "jats").rglob("*.nxml")):
        for element in ElementTree.parse(path).getroot().iter("abstract"):
            text = "\n".join(" ".join("".join(part.itertext()).split()) for part in element.iter("p"))
            abstracts += [text] if text else []
    return abstracts
