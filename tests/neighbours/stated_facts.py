"""What tests compare facts by: as an index stores them, and as another reader finds them in the raw text."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from protein2text.neighbours.entries import Characterised
from protein2text.neighbours.facts import Fact
from tests.neighbours.in_process import build_in_process

GO_KINDS = {"F": "molecular_function", "P": "biological_process", "C": "cellular_component"}
EC = re.compile(r"\d+\.[\d-]+\.[\d-]+\.[n\d-]+")
Known = tuple[str, str, str | None, frozenset[str], frozenset[str], int | None, int | None]


def letters(text: str) -> str:
    """Without white space, which depends on where lines broke, and without a stop at the end."""
    return re.sub(r"\s", "", text).rstrip(".;")


def known(fact: Fact) -> Known:
    return (
        fact.kind,
        letters(fact.value),
        fact.term,
        frozenset(fact.eco),
        frozenset(fact.pubmed),
        fact.begin,
        fact.end,
    )


def united(facts: Iterable[Known]) -> set[Known]:
    """What is said twice is one fact with the evidence of both."""
    evidence: dict[tuple[Any, ...], tuple[set[str], set[str]]] = {}
    for kind, value, term, eco, pubmed, begin, end in facts:
        codes, articles = evidence.setdefault((kind, value, term, begin, end), (set(), set()))
        codes |= eco
        articles |= pubmed
    return {(*key[:3], frozenset(e), frozenset(p), *key[3:]) for key, (e, p) in evidence.items()}  # type: ignore[misc]


def opened(tmp_path_factory: pytest.TempPathFactory, *paths: Path) -> dict[str, Characterised]:
    index = build_in_process(list(paths), tmp_path_factory.mktemp("index") / "made")
    return index.entries(index.sequences())


def references(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """ECO codes and articles that a raw text names."""
    return frozenset(re.findall(r"ECO:\d+", text)), frozenset(re.findall(r"PubMed:\s*(\d+)", text))
