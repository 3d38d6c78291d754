"""Which facts a question asks for: two small tables of wordings, and None for everything else.

A wording must match the whole question. What is not in the tables is not guessed at from its words: "Is its expression
significant in cancers?" names no fact that a homologue's entry could state.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from protein2text.neighbours.closed_questions import CLOSED, PLACES, Kinds, Relation
from protein2text.neighbours.open_questions import OPEN
from protein2text.neighbours.phrases import IT, QUESTION_WORDS

PROFILE_QUESTION = "What is known about this protein?"
"""Asks for facts of every kind."""
EXAMPLES = (
    "What is the function of this protein?",
    "Which reaction does it catalyze?",
    "Where is it located?",
    "What does it bind?",
    "Which cofactor does it need?",
    "Which domains does it have?",
    "Which family does it belong to?",
    "Is it a kinase?",
    PROFILE_QUESTION,
)
"""Questions inside the grammar, for whoever asked one outside it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The kinds of facts that a question asks for, in the order of the answer."""

    kinds: Kinds
    value: str | None = None
    """What a closed question names: ``zinc`` in "Does it bind zinc?"; None for an open one."""
    otherwise: Kinds = ()
    """Kinds that come nearest, for when no homologue states any of the others, or none fits the value."""
    relation: Relation = "states"


_SEVERAL = re.compile(rf"\b(?:{QUESTION_WORDS}|but|than|both|same)\b|,", re.IGNORECASE)
_POLITE = re.compile(
    r"(?:please )?(?:(?:can|could|would) you (?:please )?|do you know (?=wh)|(?:I|we) (?:want|would like) to know )?",
    re.IGNORECASE,
)
_TURNED = (
    (re.compile(r"(what|where)'s\b", re.IGNORECASE), r"\1 is"),
    (re.compile(rf"(?:tell me )?(what|where) ({IT}) is\b", re.IGNORECASE), r"\1 is \2"),
    (re.compile(rf"tell me (?:if|whether) ({IT}) is\b", re.IGNORECASE), r"is \1"),
)
"""Questions in the order of words that they have inside another sentence, and in their own."""


def read_question(text: str) -> Asked | None:
    """What a question asks for; None when it is outside the grammar.

    Args:
        text: one question, without placeholders of proteins.
    """
    question = _plain(text)
    for kinds, otherwise, wordings in _OPEN:
        if any(wording.fullmatch(question) for wording in wordings):
            return Asked(kinds, otherwise=otherwise)
    for closed, wordings in _CLOSED:
        for wording in wordings:
            if found := wording.fullmatch(question):
                named = found.groupdict()
                place = named.get("place")
                value = PLACES[place.lower()] if place else closed.named.format(named.get("value"))
                return None if _SEVERAL.search(value) else Asked(closed.kinds, value, closed.otherwise, closed.relation)
    return None


def _plain(text: str) -> str:
    """A question without courtesies and marks at its end, in its own order of words."""
    question = " ".join(text.replace("’s ", "'s ").split()).rstrip(" ?.!").removesuffix(" or not")
    question = question[_POLITE.match(question).end() :]  # type: ignore[union-attr]  # an empty one matches too
    for turned, own in _TURNED:
        question = turned.sub(own, question, count=1) if turned.match(question) else question
    return question


def _compiled(wordings: Iterable[str]) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(wording, re.IGNORECASE) for wording in wordings)


_OPEN = tuple((kinds, otherwise, _compiled(wordings)) for kinds, otherwise, wordings in OPEN)
_CLOSED = tuple((closed, _compiled(closed.wordings)) for closed in CLOSED)
