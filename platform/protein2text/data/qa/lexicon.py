"""What kind of word a word is, its lemma and its stem; looked up once and remembered."""

import re
from functools import lru_cache
from typing import Literal

import simplemma

from protein2text.data.greek import GREEK_NAMES
from protein2text.data.qa.word_lists import CHEMICALS, ORDINARY, STOP_WORDS

CACHED_WORDS = 1 << 15
"""Words that are remembered: those of a large corpus's texts, nearly all."""

Kind = Literal["stop", "content", "rare", "named", "symbol", "greek", "digits", "letter"]

_SYMBOL = re.compile(r"(?=.*\d)(?=.*[A-Za-z])|.+[A-Z]")
"""Letters with a digit, or a capital behind another letter: ``p53``, ``ATP``, ``mRNA``, ``CaM``."""
_NAMED_ENDING = re.compile(r"(?:ase|in|ose|ide|ol)s?$")
_AMERICAN = {"ae": "e", "oe": "e", "our": "or", "s": "z"}
_BRITISH = re.compile(r"ae|oe|(?<=\w{3})our$|(?<=[iy])s(?=(?:e|ation|er|ing|ed)$)")
_SUFFIX = re.compile(
    r"(?<=\w{4})(?:at(?:ions?|ing|ed|es?|ors?|ory|ive)|ions?|ing|ed|[eo]rs?|ments?|it(?:y|ies)|ive|ous|al(?:ly)?|ic|ly|"
    r"es?|y|s)$"
)


@lru_cache(CACHED_WORDS)
def classify(part: str) -> tuple[str, Kind]:
    """Canonical form and kind of a word without hyphens, Greek by name."""
    lower = part.lower()
    if lower in STOP_WORDS:
        return lower, "stop"
    if lower in GREEK_NAMES:
        return lower, "greek"
    if part.isdigit():
        return part, "digits"
    if len(part) == 1:
        return lower, "letter"
    if _SYMBOL.match(part):
        return (lower[:-1] if part[-1] == "s" and part[-2].isupper() else lower), "symbol"
    form = lemma(lower)
    if lower.removesuffix("s") in ORDINARY or form in ORDINARY:
        return form, "content"
    known = simplemma.is_known(lower, lang="en")
    if not known and form == lower and lower.endswith("s") and not lower.endswith(("ss", "us", "is")):
        form = lower[:-1]
    if form in CHEMICALS or _NAMED_ENDING.search(lower):
        return form, "named"
    return form, "content" if known else "rare"


def lemma(word: str) -> str:
    """Lemma of a lower-case word, in one of the two spellings of English."""
    found = str(simplemma.lemmatize(word, lang="en")).lower()
    return _BRITISH.sub(lambda part: _AMERICAN[part.group()], found)


@lru_cache(CACHED_WORDS)
def stem(form: str) -> str:
    """What words of one family share: ``regulate``, ``regulation`` and ``regulator`` are ``regul``."""
    return _SUFFIX.sub("", form, count=1)
