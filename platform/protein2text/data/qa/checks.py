"""Everything that one passage decides about the questions and answers generated from it (R1-R10, R13, R14, R16)."""

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from protein2text.data.passages import Passage
from protein2text.data.qa.rules import QaRules

_SOURCE = re.compile(r"\b(?:stud(?:y|ies|ied)|abstracts?|papers?|articles?|authors?|figures?|tables?|et al)\b", re.I)


@dataclass(frozen=True)
class CheckedPair:
    """A question and answer and what was found about them."""

    question: str
    answer: str
    kind: Literal["yes_no", "open"]
    reason: str | None
    """Key of ``REASONS``; None when the pair is accepted."""
    message: str | None
    """What was refused, with the value and the limit; None when the pair is accepted."""
    flags: tuple[str, ...]
    """Keys of ``FLAGS``, sorted."""
    grounding: tuple[tuple[int, int], ...]
    """Offsets (start, end) of the sentences of the abstract that ground an accepted pair, in order."""


def check_generated(text: str, passage: Passage, rules: QaRules) -> list[CheckedPair]:
    """Read what a generator wrote about a passage and check every pair by itself.

    Args:
        text: the generator's answer, as it came.
        passage: what it was asked about.
        rules: limits.

    Returns:
        One entry per generated pair, in order; none for an empty list of pairs. An answer that is not JSON of
        ``QA_SCHEMA`` gives one entry with the reason ``not_json``, no question, and the text as its answer.
    """
    try:
        pairs = json.loads(text)["pairs"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return [CheckedPair("", text, "open", "not_json", f"not JSON of QA_SCHEMA: {error}", (), ())]
    return [_check(pair, number, passage, rules) for number, pair in enumerate(pairs)]


def _check(pair: Any, number: int, passage: Passage, rules: QaRules) -> CheckedPair:
    question, answer = pair["question"], pair["answer"]
    reason = message = None
    if number >= rules.max_pairs:
        reason, message = "too_many_pairs", f"pair {number + 1}; at most {rules.max_pairs}"
    elif question.count("?") != 1 or not question.endswith("?"):
        reason, message = "not_one_question", f"question {question!r}; one question mark, at its end"
    elif found := _SOURCE.search(f"{question}\n{answer}"):
        reason, message = "speaks_of_source", f"{found.group()!r}"
    kind: Literal["yes_no", "open"] = "yes_no" if re.match(r"(?:yes|no)\b", answer, re.I) else "open"
    return CheckedPair(question, answer, kind, reason, message, (), () if reason else ((0, len(passage["abstract"])),))
