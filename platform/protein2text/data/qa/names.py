"""Whether a text holds a protein's name: token boundaries, any case, Greek or spelled out, with or without hyphens."""

import re
from collections.abc import Iterable
from typing import NamedTuple

import simplemma

from protein2text.data.greek import GREEK_NAMES
from protein2text.data.qa.folding import fold
from protein2text.data.qa.word_lists import GENERIC_NAME_WORDS

_GREEK = "|".join(sorted(GREEK_NAMES, key=len, reverse=True))
_ATOM = re.compile(rf"{_GREEK}|\d+|[^\W\d_]+?(?=\d|_|\W|$|{_GREEK})")
_MAX_GAP = 2
"""Letters that may stand between two atoms of a name: a hyphen, a blank, a comma and a blank."""
_MIN_LETTERS = 2
_SHORT_WORD = 4


class _Name(NamedTuple):
    atoms: tuple[str, ...]
    exact: str | None
    """The only spelling that counts, beside capitals, of a symbol that is an English word; None for other names."""


class NameFinder:
    """The names of one protein, ready to be looked for; one of generic words alone (``Membrane protein``) is none."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names: list[_Name] = []
        for name in sorted(set(names)):
            folded = fold(name).strip()
            atoms = tuple(_ATOM.findall(folded.lower()))
            if sum(map(len, atoms)) >= _MIN_LETTERS and not GENERIC_NAME_WORDS.issuperset(atoms):
                self._names.append(_Name(atoms, folded if _is_symbol_and_word(folded) else None))

    def find(self, text: str) -> str | None:
        """The first name that the text holds, as it is spelled there (Greek by name); None where there is none.

        A symbol that is an English word as well (``CAT``, ``Rest``) counts only as it is spelled, or in capitals.
        """
        folded = fold(text)
        lower = folded.lower()
        folded = folded if len(folded) == len(lower) else lower
        spans = [span for name in self._names if (span := _first(name, folded, lower))]
        return folded[slice(*min(spans))] if spans else None


def _first(name: _Name, folded: str, lower: str) -> tuple[int, int] | None:
    """Where a name stands first."""
    start = lower.find(name.atoms[0])
    while start >= 0:
        if start == 0 or not lower[start - 1].isalnum():
            end = _end(name.atoms, lower, start)
            if end is not None and (name.exact is None or folded[start:end] in (name.exact, name.exact.upper())):
                return start, end
        start = lower.find(name.atoms[0], start + 1)
    return None


def _end(atoms: tuple[str, ...], text: str, start: int) -> int | None:
    """Where a name that begins here ends; None if it does not stand here. Its plural counts."""
    end = start
    for number, atom in enumerate(atoms):
        found = _ATOM.search(text, end)
        if found is None or found.start() - end > _MAX_GAP or "." in text[end : found.start()]:
            return None
        is_last = number == len(atoms) - 1
        if found[0] != atom and not (is_last and found[0] == atom + "s"):
            return None
        end = found.end()
    if text[end : end + 1] == "s" and not text[end + 1 : end + 2].isalnum():
        return end + 1
    return None if text[end : end + 1].isalnum() else end


def _is_symbol_and_word(name: str) -> bool:
    """Whether a gene symbol is spelled like an English word, so that any case of it would find the word."""
    if not name.isalpha() or not (name.isupper() or len(name) <= _SHORT_WORD):
        return False
    return bool(simplemma.is_known(name.lower(), lang="en"))
