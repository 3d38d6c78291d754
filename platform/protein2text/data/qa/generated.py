"""A generator's answer as pairs, whatever it wrote (R1)."""

import json
from collections.abc import Iterator
from typing import Any

from protein2text.data.qa.passage_checks import Problem
from protein2text.data.qa.rules import QaRules
from protein2text.data.qa.schema import MAX_ANSWER_CHARS, MAX_QUESTION_CHARS


class _KeyTwice(ValueError):
    """A JSON object with two equal keys, of which Python's reader would drop one in silence."""


def read_pairs(text: str, rules: QaRules) -> Iterator[tuple[str, str, Problem | None]]:
    """Question, answer and what is wrong with their form, pair by pair; nothing is left out.

    Texts that cannot be stored (halves of surrogate pairs) come with those letters escaped.
    """
    try:
        value = json.loads(text, object_pairs_hook=_once_each)
    except (ValueError, RecursionError) as error:
        yield "", _storable(text), Problem("not_json", f"{type(error).__name__}: {error}")
        return
    if not isinstance(value, dict) or [*value] != ["pairs"] or not isinstance(value["pairs"], list):
        yield "", _storable(text), Problem("not_json", 'not of the form {"pairs": [...]}')
        return
    for number, pair in enumerate(value["pairs"], start=1):
        problem = _bad_form(pair)
        if problem:
            yield *_shown(pair), problem
        else:
            over = Problem("too_many_pairs", f"pair {number}; at most {rules.max_pairs}")
            question, answer = (" ".join(pair[key].split()) for key in ("question", "answer"))
            yield question, answer, over if number > rules.max_pairs else None


def _once_each(items: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(items)
    if len(value) < len(items):
        raise _KeyTwice(f"a key stands twice among {[key for key, _ in items]}")
    return value


def _bad_form(pair: Any) -> Problem | None:
    if not isinstance(pair, dict) or {*pair} != {"question", "answer"}:
        return Problem("bad_pair", "not of the form {question, answer}")
    for key, max_chars in (("question", MAX_QUESTION_CHARS), ("answer", MAX_ANSWER_CHARS)):
        if not isinstance(pair[key], str):
            return Problem("bad_pair", f"{key} is no text")
        if not 0 < len(pair[key]) <= max_chars or not pair[key].strip():
            return Problem("bad_pair", f"{key} of {len(pair[key])} letters; 1 to {max_chars}, not all blank")
        if _storable(pair[key]) != pair[key]:
            return Problem("bad_pair", f"{key} holds half a letter (a lone surrogate)")
    return None


def _shown(pair: Any) -> tuple[str, str]:
    """As much of a malformed pair as there is, as texts."""
    if isinstance(pair, dict) and {*pair} == {"question", "answer"}:
        return _dumped(pair["question"]), _dumped(pair["answer"])
    return "", _dumped(pair)


def _dumped(value: Any) -> str:
    """A text as it is, anything else as JSON."""
    return _storable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _storable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
