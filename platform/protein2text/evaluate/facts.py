"""Which facts an answer asserts: whole words, longest name first, negation heard.

A fact is ``kind=value``. Copying a word is not asserting it: "does not bind ATP" asserts nothing about ATP, and an
answer that lists every ligand names the right one without knowing it.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Literal

Facts = dict[str, frozenset[str]]
"""Fact kind to values, values in lower case."""

Polarity = Literal["yes", "no"]

POLARITY_KIND = "yes_no"
"""The fact kind of a closed question's gold answer: ``yes_no=yes`` or ``yes_no=no``."""

_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+")
_NEGATION_BEFORE = re.compile(
    r"(?P<contrast>,\s*)?\b(?:not|no|never|neither|nor|without|cannot|lacks?|lacking|unable|fails? to|rather than|"
    r"instead of|unlike|excludes?|absence of|\w+n['’]t)\b|\bnon-$",
    re.IGNORECASE,
)
_NOT_A_NEGATION = re.compile(r"\b(?:not (?:only|just|merely|simply)|no doubt|without (?:a )?doubt)\b", re.IGNORECASE)
_SCOPE_ENDS = re.compile(
    r"\b(?:but|however|although|though|whereas|yet|while|which|"
    r"and (?:it|is|are|was|has|acts|binds|located|found|involved|takes|localizes|instead))\b|,\s*it\b|[:;]",
    re.IGNORECASE,
)
_NEGATION_AFTER = re.compile(
    r"\s*(?:-?\s*(?:binding|ions?|activity)\s+)?(?:(?:is|are|was|were|has|have)\s+(?:not|never)(?:\s+been)?\s+"
    r"(?:a |an |the |its |their )?(?:bound|ligand|recognized|found|detected|present|involved|required|observed|it\b)|"
    r"(?:is|are|was|were)\s+absent)",
    re.IGNORECASE,
)
_OPENING = re.compile(r"^\W*(?:yes|no)\s*[,.:;!]", re.IGNORECASE)
"""The polarity that opens an answer: "No, it binds zinc" negates the question, not zinc."""
_POLARITY = re.compile(r"\W*(yes|no)\b(?!\s*(?:/|,?\s*(?:and|or)\b)\s*(?:yes|no)\b)", re.IGNORECASE)


def parse_facts(facts: Iterable[str]) -> Facts:
    """Split ``kind=value`` strings.

    Raises:
        ValueError: a fact without a kind, an ``=`` or a value.
    """
    values: dict[str, set[str]] = defaultdict(set)
    for fact in facts:
        kind, separator, value = fact.partition("=")
        if not (separator and kind.strip() and value.strip()):
            raise ValueError(f"fact {fact!r} is not of the form kind=value, such as binds=ATP")
        values[kind.strip()].add(value.strip().lower())
    return {kind: frozenset(names) for kind, names in values.items()}


def asked_facts(facts: Facts) -> Facts:
    """The facts without the closed question's yes or no."""
    return {kind: values for kind, values in facts.items() if kind != POLARITY_KIND}


def polarity(text: str) -> Polarity | None:
    """The yes or no with which an answer opens; None when it opens otherwise or says both ("yes and no")."""
    match = _POLARITY.match(text)
    if match is None:
        return None
    return "yes" if match[1].lower() == "yes" else "no"


class Vocabulary:
    """Every value of every fact kind, and the reading of them in free text."""

    def __init__(self, facts: Iterable[Facts]) -> None:
        kinds: dict[str, set[str]] = defaultdict(set)
        for known in facts:
            for kind, values in asked_facts(known).items():
                for value in values:
                    kinds[value].add(kind)
        self._kinds_of = {value: frozenset(names) for value, names in kinds.items()}
        longest_first = sorted(self._kinds_of, key=lambda value: (-len(value), value))
        names = "|".join(re.escape(value) for value in longest_first)
        # A digit after a dot continues an EC number: 3.2.1.4 is not named by 3.2.1.41 or 3.2.1.4.5.
        self._pattern = re.compile(rf"(?<!\w)(?<!\d\.)(?:{names})(?!\w)(?!\.\d)", re.IGNORECASE) if names else None

    def mentioned(self, text: str) -> Facts:
        """Facts whose value stands in the text, asserted or not."""
        return self._collect(text, asserted_only=False)

    def asserted(self, text: str) -> Facts:
        """Facts that the text asserts: named as whole words and not negated (after NegEx, Chapman et al. 2001).

        A longer value hides a shorter one inside it: "iron-sulfur cluster" does not name "iron" where both are values.
        """
        return self._collect(text, asserted_only=True)

    def _collect(self, text: str, *, asserted_only: bool) -> Facts:
        found: dict[str, set[str]] = defaultdict(set)
        if self._pattern is None:
            return {}
        for sentence in _SENTENCE.split(text):
            for match in self._pattern.finditer(sentence):
                if asserted_only and _is_negated(sentence, match.start(), match.end()):
                    continue
                for kind in self._kinds_of[match[0].lower()]:
                    found[kind].add(match[0].lower())
        return {kind: frozenset(values) for kind, values in found.items()}


def _is_negated(sentence: str, start: int, end: int) -> bool:
    before = _NOT_A_NEGATION.sub(_blank, _OPENING.sub(_blank, sentence[:start], count=1))
    for cue in _NEGATION_BEFORE.finditer(before):
        scope = before[cue.end() :]
        if not (_SCOPE_ENDS.search(scope) or (cue["contrast"] and "," in scope)):
            return True
    return _NEGATION_AFTER.match(sentence, end) is not None


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])


def names_exactly(asserted: Facts, gold: Facts) -> bool:
    """Whether every gold fact is asserted and no other value of the same kinds is."""
    return all(asserted.get(kind, frozenset()) == values for kind, values in asked_facts(gold).items())
