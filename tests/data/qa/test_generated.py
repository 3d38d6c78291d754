"""`data.qa.generated`: whatever a generator writes becomes pairs or a reason, and nothing is lost (R1)."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protein2text.data.qa.generated import read_pairs
from protein2text.data.qa.rules import QaRules
from protein2text.data.qa.schema import MAX_ANSWER_CHARS, MAX_QUESTION_CHARS, QA_SCHEMA

RULES = QaRules()


def reasons(text: str, rules: QaRules = RULES) -> list[str | None]:
    return [problem.reason if problem else None for _, _, problem in read_pairs(text, rules)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Here are ten questions:",
        "null",
        "[]",
        '"pairs"',
        "{}",
        '{"pairs": null}',
        '{"pairs": {}}',
        '{"pairs": [], "note": "x"}',
        '{"pairs": []',
        '{"pairs": []} and more',
        '```json\n{"pairs": []}\n```',
        '{"pairs": [], "pairs": []}',
        '{"pairs": [{"question": "A?", "question": "B?", "answer": "C."}]}',
        '{"pairs": ' + "[" * 100_000,
        '{"pairs": [' + "9" * 10_000 + "]}",
    ],
)
def test_what_is_not_the_json_that_was_asked_for_is_kept_whole(text: str) -> None:
    assert [
        (question, answer, problem and problem.reason) for question, answer, problem in read_pairs(text, RULES)
    ] == [("", text, "not_json")]


def test_an_empty_list_says_that_there_is_no_question() -> None:
    assert reasons('{"pairs": []}') == []


@pytest.mark.parametrize(
    "pair",
    [
        {},
        {"question": "A?"},
        {"question": "A?", "answer": None},
        {"question": "A?", "answer": 3},
        {"question": "A?", "answer": ["B."]},
        {"question": "A?", "answer": ""},
        {"question": " \n", "answer": "B."},
        {"question": "A?", "answer": "B.", "note": "C"},
        {"question": "A?", "answer": "x" * (MAX_ANSWER_CHARS + 1)},
        {"question": "x" * (MAX_QUESTION_CHARS + 1), "answer": "B."},
        {"question": "A \ud83d?", "answer": "B."},
        "A? B.",
        None,
        ["A?", "B."],
    ],
)
def test_one_malformed_pair_does_not_spoil_the_others(pair: Any) -> None:
    good = {"question": "A?", "answer": "B."}
    assert reasons(json.dumps({"pairs": [good, pair, good]})) == [None, "bad_pair", None]


def test_lengths_at_the_limit_pass() -> None:
    pair = {"question": "x" * MAX_QUESTION_CHARS, "answer": "x" * MAX_ANSWER_CHARS}
    assert reasons(json.dumps({"pairs": [pair]})) == [None]


def test_pairs_after_the_last_allowed_one_are_refused_and_kept() -> None:
    text = json.dumps({"pairs": [{"question": f"{number}?", "answer": "B."} for number in range(12)]})
    assert reasons(text) == [None] * 10 + ["too_many_pairs"] * 2
    assert reasons(text, QaRules(max_pairs=3)) == [None] * 3 + ["too_many_pairs"] * 9
    assert [question for question, _, _ in read_pairs(text, RULES)][-1] == "11?"


def test_white_space_becomes_single_blanks() -> None:
    text = json.dumps({"pairs": [{"question": " A \n\t B? ", "answer": "C\u00a0 D."}]})
    assert list(read_pairs(text, RULES)) == [("A B?", "C D.", None)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["question", "answer", "pairs"]) | st.text(), inner)
    ),
    max_leaves=20,
)


@given(st.text() | json_values.map(json.dumps) | json_values.map(lambda value: json.dumps({"pairs": value})))
def test_any_text_gives_storable_pairs_or_a_reason(text: str) -> None:
    found = list(read_pairs(text, RULES))
    for question, answer, _ in found:
        (question + answer).encode("utf-8")
    try:
        pairs = json.loads(text)["pairs"]
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        assert [problem.reason for _, _, problem in found if problem] == ["not_json"]
    else:
        assert len(found) == len(pairs) if isinstance(pairs, list) and len(found) != 1 else len(found) == 1


def test_the_schema_is_what_the_reader_takes() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(QA_SCHEMA)
    pair = {"question": "A?", "answer": "B."}
    for value in ({"pairs": []}, {"pairs": [pair] * 10}):
        assert validator.is_valid(value)
        assert not any(reasons(json.dumps(value)))
    for value in ({}, {"pairs": [pair] * 11}, {"pairs": [{"question": "A?"}]}, {"pairs": [{**pair, "answer": ""}]}):
        assert not validator.is_valid(value)
        assert any(reasons(json.dumps(value)))
