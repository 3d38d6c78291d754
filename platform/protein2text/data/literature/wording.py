"""Words of names and abstracts, cut so that ``TNFα``, ``TNF-alpha``, ``TNF alpha`` and ``TNFalpha`` are the same two.

A word is a run of letters, a run of digits, or one Greek letter. Between two words stands a gap: nothing, a hyphen,
white space, or anything else, which is compared as it is.
"""

import re
from typing import NamedTuple

from protein2text.data.greek import GREEK, GREEK_NAMES

_GREEK_LETTERS = "".join(GREEK)
_SPELLED = "alpha|beta|gamma|delta|epsilon|zeta|theta|kappa|lambda|sigma|omega"
_WORD = re.compile(rf"[{_GREEK_LETTERS}]|\d+|[^\W\d_{_GREEK_LETTERS}]+")
_SPELLED_INSIDE = re.compile(rf"(?<=[A-Z])(?:{_SPELLED})(?=$|[A-Z])")
_HYPHENS = "-\u2010\u2011\u2012\u2013\u2014\u2212"

NONE, HYPHEN, SPACE = "", "-", " "
"""Gaps; any other string is a gap that must stand as it is."""


class Word(NamedTuple):
    """One word of a text."""

    key: str
    """Lower case; a Greek letter by its name."""
    surface: str
    """As written; a Greek letter by its name, lower case."""
    start: int
    end: int

    @property
    def is_greek(self) -> bool:
        """Whether it is a Greek letter, written as one or by its name."""
        return self.key in GREEK_NAMES


def words_of(text: str) -> list[Word]:
    """Cut a text into words; offsets are those of the text."""
    found = []
    for match in _WORD.finditer(text):
        word, start = match.group(), match.start()
        if word in GREEK:
            found.append(Word(GREEK[word], GREEK[word], start, match.end()))
            continue
        cut = 0
        for inner in _SPELLED_INSIDE.finditer(word):
            if inner.start() > cut:
                found.append(_word(word, start, cut, inner.start()))
            found.append(_word(word, start, inner.start(), inner.end()))
            cut = inner.end()
        if cut < len(word):
            found.append(_word(word, start, cut, len(word)))
    return found


def _word(run: str, start: int, first: int, last: int) -> Word:
    piece = run[first:last]
    key = piece.lower()
    return Word(key, key if key in GREEK_NAMES else piece, start + first, start + last)


def is_hyphen(between: str) -> bool:
    """Whether one dash of any length, and nothing else, stands between two words."""
    return len(between) == 1 and between in _HYPHENS


def gap(text: str, before: Word, after: Word) -> str:
    """What stands between two neighboring words."""
    between = text[before.end : after.start]
    if not between:
        return NONE
    if between.isspace():
        return SPACE
    return HYPHEN if is_hyphen(between) else " ".join(between.split())


def gaps_agree(of_name: str, of_text: str, before: Word, after: Word) -> bool:
    """Whether a text may part two words in this way where a name parts them in that way.

    A name's hyphen may be missing or a space, its space may be a hyphen, and where it parts nothing a hyphen may stand
    (``IL2``, ``IL-2``); beside a Greek letter all three are one. Other gaps stand as they are.
    """
    if of_name == of_text:
        return True
    usual = {NONE, HYPHEN, SPACE}
    if of_name not in usual or of_text not in usual:
        return False
    return HYPHEN in (of_name, of_text) or before.is_greek or after.is_greek
