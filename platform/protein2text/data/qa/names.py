"""Whether a text holds a protein's name: token boundaries, any case, Greek or spelled out, with or without hyphens."""

import re
from collections.abc import Iterable
from typing import NamedTuple

import simplemma

from protein2text.data.qa.folding import GREEK_NAMES, fold

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
    """The names of one protein, ready to be looked for."""

    def __init__(self, names: Iterable[str]) -> None:
        self._by_first: dict[str, list[_Name]] = {}
        for name in sorted(set(names)):
            folded = fold(name).strip()
            atoms = tuple(_ATOM.findall(folded.lower()))
            if sum(map(len, atoms)) >= _MIN_LETTERS:
                exact = folded if _is_symbol_and_word(folded) else None
                self._by_first.setdefault(atoms[0], []).append(_Name(atoms, exact))

    def find(self, text: str) -> str | None:
        """The first name that the text holds, as it is spelled there (Greek by name); None where there is none.

        A symbol that is an English word as well (``CAT``, ``Rest``) counts only as it is spelled, or in capitals.
        """
        folded = fold(text)
        lower = folded.lower()
        folded = folded if len(folded) == len(lower) else lower
        atoms = [(found.group(), *found.span()) for found in _ATOM.finditer(lower)]
        for place, (first, start, _) in enumerate(atoms):
            candidates = self._by_first.get(first, []) + self._by_first.get(first.removesuffix("s"), [])
            if candidates and (start == 0 or not lower[start - 1].isalnum()):
                for name in candidates:
                    end = _end(name.atoms, atoms[place : place + len(name.atoms)], lower)
                    if end is not None and (
                        name.exact is None or folded[start:end] in (name.exact, name.exact.upper())
                    ):
                        return folded[start:end]
        return None


def _end(name: tuple[str, ...], atoms: list[tuple[str, int, int]], text: str) -> int | None:
    """Where a name that begins with these atoms of a text ends; None if it does not stand there. A plural counts."""
    if len(atoms) < len(name):
        return None
    previous_end = atoms[0][1]
    for number, (wanted, (atom, start, end)) in enumerate(zip(name, atoms, strict=True)):
        plural = number == len(name) - 1 and atom == wanted + "s"
        if (atom != wanted and not plural) or start - previous_end > _MAX_GAP or "." in text[previous_end:start]:
            return None
        previous_end = end
    behind = text[previous_end : previous_end + 2]
    if behind[:1] == "s" and not behind[1:].isalnum():
        return previous_end + 1
    return None if behind[:1].isalnum() else previous_end


def _is_symbol_and_word(name: str) -> bool:
    """Whether a gene symbol is spelled like an English word, so that any case of it would find the word."""
    if not name.isalpha() or not (name.isupper() or len(name) <= _SHORT_WORD):
        return False
    return bool(simplemma.is_known(name.lower(), lang="en"))
