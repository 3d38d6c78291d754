"""Patterns that are searched only in texts that hold their words: most texts do not, and a look at words is quick."""

import re
from dataclasses import dataclass
from functools import lru_cache

from protein2text.data.qa.folding import RECENT

_WORD = re.compile(r"\w+")


@lru_cache(RECENT)
def _seen(text: str) -> tuple[str, frozenset[str]]:
    """A text in lower case, and its words, as ``\b`` divides them; several patterns ask of the same text."""
    lower = text.lower()
    return lower, frozenset(_WORD.findall(lower))


@dataclass(frozen=True)
class Screened:
    """A pattern, and what every text holds in which it is found."""

    pattern: re.Pattern[str]
    words: tuple[frozenset[str], ...] = ()
    """Of each set at least one, whole."""
    signs: tuple[str, ...] = ()
    """Of these at least one, anywhere; nothing is asked where none are named."""

    def search(self, text: str) -> re.Match[str] | None:
        """What ``pattern.search`` finds."""
        return self.pattern.search(text) if self.may_be_in(text) else None

    def may_be_in(self, text: str) -> bool:
        """Whether the pattern can be found at all. Letters beyond ASCII have more than two cases: they are searched."""
        if not text.isascii() and self.pattern.flags & re.IGNORECASE:
            return True
        lower, words = _seen(text)
        if self.signs and not any(map(lower.__contains__, self.signs)):
            return False
        return not any(map(words.isdisjoint, self.words))


def any_of(words: str) -> frozenset[str]:
    """A set of words, written with ``|`` between them."""
    return frozenset(words.split("|"))
