"""The names of all proteins as one dictionary, and which of them a text holds.

Names are keyed by their words (``wording``). At each word of a text, the lengths of the names that begin with it are
tried, longest first: a few dictionary look-ups a word, whatever the number of names. A longer name hides the shorter
ones inside it, used or not: ``insulin receptor`` is not insulin.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from protein2text.data.literature.ambiguity import (
    ambiguous_by_itself,
    other_protein_before,
    other_protein_follows,
    speaks_of,
)
from protein2text.data.literature.wording import Word, gap, gaps_agree, words_of
from protein2text.data.protein_names import NamedProtein, ProteinName

SAYS_NOTHING = ("short", "no_letters")
"""Such names are not even looked for: they would stand everywhere."""
MIN_PLURAL = 6
"""Letters of a last word from which on a name that is no symbol is also known with an s."""


class Named(NamedTuple):
    """One name of one protein in the dictionary."""

    protein: int
    """Index of the protein."""
    name: str
    """As the source writes it."""
    surface: str | None
    """Letters and digits in the case that a symbol has; None where case says nothing."""
    gaps: tuple[str, ...]
    reason: str | None
    """Why the name is ambiguous by itself or within its organism; None if it is not."""


@dataclass
class Found:
    """What a text names."""

    proteins: dict[int, list[str]] = field(default_factory=dict)
    """Index of each protein that is meant beyond doubt, and those of its names that stand there."""
    ambiguous: dict[str, str] = field(default_factory=dict)
    """Names that stand there and do not say which protein is meant, with the reason."""


class Lexicon:
    """Names of proteins; small enough to be sent to every worker."""

    def __init__(self, proteins: Iterable[NamedProtein]) -> None:
        self._organisms: list[str | None] = []
        self._table: dict[str, list[Named]] = defaultdict(list)
        self._lengths: dict[str, tuple[int, ...]] = {}
        self._says_nothing: dict[tuple[int, str], str] = {}
        for protein in proteins:
            for name in protein.names:
                self._add(len(self._organisms), name)
            self._organisms.append(protein.organism)
        self._mark_shared()
        self._table = dict(self._table)

    def usable(self, protein: int, names: Iterable[ProteinName]) -> list[str]:
        """Those of a protein's names that can say which protein is meant, if need be with its organism."""
        kept = []
        for name in names:
            entries = self._table.get(_key(words_of(name.text)), [])
            if any(entry.protein == protein and entry.name == name.text and not entry.reason for entry in entries):
                kept.append(name.text)
        return kept

    def ruled_out(self) -> dict[str, list[str]]:
        """Names that are not used, by reason, sorted; a name that several proteins have stands as often."""
        reasons = {(entry.protein, entry.name): entry.reason for entry in self._entries() if entry.reason}
        by_reason: dict[str, list[str]] = defaultdict(list)
        for (_, name), reason in {**reasons, **self._says_nothing}.items():
            by_reason[reason].append(name)
        return {reason: sorted(names) for reason, names in by_reason.items()}

    def __len__(self) -> int:
        """How many names the proteins have, those that are ruled out included."""
        return len({(entry.protein, entry.name) for entry in self._entries()}) + len(self._says_nothing)

    def find(self, text: str, context: str = "") -> Found:
        """Which proteins a text names with token boundaries.

        Args:
            text: an abstract.
            context: more text, such as the title, that may say which organism is spoken of.
        """
        found = Found()
        words = words_of(text)
        first = 0
        while first < len(words):
            num_words, entries = self._longest(text, words, first)
            if entries and not _part_of_another(text, words, first, first + num_words - 1):
                self._resolve(entries, f"{context}\n{text}", found)
            first += max(1, num_words)
        for protein, names in found.proteins.items():
            found.proteins[protein] = list(dict.fromkeys(names))
        return found

    def _entries(self) -> Iterator[Named]:
        for entries in self._table.values():
            yield from entries

    def _add(self, protein: int, name: ProteinName) -> None:
        words = words_of(name.text)
        if not words:
            return
        reason = ambiguous_by_itself(name, words)
        if reason in SAYS_NOTHING:
            self._says_nothing[protein, name.text] = reason
            return
        gaps = tuple(gap(name.text, *pair) for pair in pairwise(words))
        surface = "".join(word.surface for word in words) if name.symbol else None
        entry = Named(protein, name.text, surface, gaps, reason)
        keys = [_key(words)]
        if not name.symbol and len(words[-1].key) >= MIN_PLURAL and words[-1].key.isalpha():
            keys.append(f"{keys[0]}s")
        for key in keys:
            self._table[key].append(entry)
            opening = key.partition(" ")[0]
            lengths = self._lengths.get(opening, ())
            if len(words) not in lengths:
                self._lengths[opening] = tuple(sorted({*lengths, len(words)}, reverse=True))

    def _mark_shared(self) -> None:
        for key, entries in self._table.items():
            if len({entry.protein for entry in entries}) == 1:
                continue
            proteins: dict[str | None, set[int]] = defaultdict(set)
            for entry in entries:
                proteins[self._organisms[entry.protein]].add(entry.protein)
            unknown = None in proteins
            self._table[key] = [
                entry._replace(reason="shared")
                if not entry.reason and (unknown or len(proteins[self._organisms[entry.protein]]) > 1)
                else entry
                for entry in entries
            ]

    def _longest(self, text: str, words: list[Word], first: int) -> tuple[int, list[Named]]:
        """The longest name that begins at a word: its number of words and the entries that fit; 0 where none does."""
        for num_words in self._lengths.get(words[first].key, ()):
            last = first + num_words
            if last > len(words) or not _bounded(text, words[first], words[last - 1]):
                continue
            here = words[first:last]
            entries = [entry for entry in self._table.get(_key(here), ()) if _fits(entry, text, here)]
            if entries:
                return num_words, entries
        return 0, []

    def _resolve(self, entries: list[Named], text: str, found: Found) -> None:
        """Whom the entries of one place mean: one protein, or the one of the organism that is spoken of."""
        usable = [entry for entry in entries if not entry.reason]
        if not usable:
            found.ambiguous |= {entry.name: entry.reason or "" for entry in entries}
            return
        if len({entry.protein for entry in entries}) > 1:
            here = {name for name in {self._organisms[entry.protein] for entry in entries} if name}
            spoken = {organism for organism in here if speaks_of(text, organism)}
            of_organism = Counter(self._organisms[protein] for protein in {entry.protein for entry in entries})
            usable = [
                entry
                for entry in usable
                if (organism := self._organisms[entry.protein]) in spoken and of_organism[organism] == 1
            ]
            if not usable:
                found.ambiguous |= {entry.name: "organism" for entry in entries}
        for entry in usable:
            found.proteins.setdefault(entry.protein, []).append(entry.name)


def _key(words: list[Word]) -> str:
    return " ".join(word.key for word in words)


def _bounded(text: str, first: Word, last: Word) -> bool:
    """Whether no letter or digit touches the words from outside."""
    before, after = text[first.start - 1 : first.start], text[last.end : last.end + 1]
    return not (before.isalnum() or after.isalnum())


def _fits(entry: Named, text: str, words: list[Word]) -> bool:
    """Whether gaps agree and, for a symbol, the case: as written, all capitals, or the first letter a capital.

    So ``Tnf`` of the mouse is found as ``TNF`` and ``recA`` as ``RecA``, but ``WAS`` never as ``was``.
    """
    for of_name, (before, after) in zip(entry.gaps, pairwise(words), strict=True):
        if not gaps_agree(of_name, gap(text, before, after), before, after):
            return False
    if entry.surface is None:
        return True
    written = "".join(word.surface for word in words)
    capital = entry.surface[:1].upper() + entry.surface[1:]
    if written in (entry.surface, capital):
        return True
    return written.lower() == entry.surface.lower() and _all_capitals(words)


def _all_capitals(words: list[Word]) -> bool:
    return all(word.surface.isupper() or not word.surface.isalpha() or word.is_greek for word in words)


def _part_of_another(text: str, words: list[Word], first: int, last: int) -> bool:
    return other_protein_before(text, words, first) or other_protein_follows(text, words, last)
