"""`data.qa.sentences`: no sentence is cut, nothing is left out."""

from typing import Any

import pytest

from protein2text.data.qa.sentences import sentence_spans


def cut(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("It grows in E. coli. It dies in S. aureus.", ["It grows in E. coli.", "It dies in S. aureus."]),
        ("Many (e.g. Zn2+ and Ca2+). Others bind.", ["Many (e.g. Zn2+ and Ca2+).", "Others bind."]),
        ("Shown by Smith et al. Later work agrees.", ["Shown by Smith et al. Later work agrees."]),
        ("Km was 0.5 mM. kcat was 3.", ["Km was 0.5 mM. kcat was 3."]),
        ('He said "It binds." It does.', ['He said "It binds."', "It does."]),
        ("Background\nAsnA binds.\n\n  It works ", ["Background", "AsnA binds.", "It works"]),
        ("", []),
        (" \n ", []),
        ("...", ["..."]),
    ],
)
def test_cases(text: str, sentences: list[str]) -> None:
    assert cut(text) == sentences


def test_real_abstracts_are_covered_once_and_in_order(pubmed_questions: list[dict[str, Any]]) -> None:
    for item in pubmed_questions:
        text = "\n".join(item["CONTEXTS"])
        spans = sentence_spans(text)
        ends = [end for _, end in spans]
        assert all(end <= start for end, (start, _) in zip(ends, spans[1:], strict=False))
        assert "".join("".join(text[start:end].split()) for start, end in spans) == "".join(text.split())
        assert all(text[start:end] == text[start:end].strip() != "" for start, end in spans)
