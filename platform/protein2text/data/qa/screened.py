"""Patterns that are searched only in texts that hold their words: most texts do not, and a look at words is quick."""

import re
from dataclasses import dataclass
from functools import lru_cache

from protein2text.data.qa.folding import RECENT

_WORD = re.compile(r"\w+")


@lru_cache(RECENT)
def _lower(text: str) -> str:
    return text.lower()


@lru_cache(RECENT)
def words_of(text: str) -> frozenset[str]:
    """The words of a text in lower case, as ``\b`` divides them; several patterns ask of the same text."""
    return frozenset(_WORD.findall(_lower(text)))


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
        if self.signs and not any(map(_lower(text).__contains__, self.signs)):
            return False
        return not self.words or not any(map(words_of(text).isdisjoint, self.words))


def any_of(words: str) -> frozenset[str]:
    """A set of words, written with ``|`` between them."""
    return frozenset(words.split("|"))
