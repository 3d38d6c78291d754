"""Exact and near duplicates among accepted pairs, within one protein and across proteins (R11, R15)."""

import hashlib
import re
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from protein2text.data.qa.folding import fold
from protein2text.data.qa.rules import QaRules
from protein2text.data.qa.terms import terms
from protein2text.data.qa.wording import yes_or_no

BANDS, ROWS = 12, 5
"""Of the locality-sensitive index, which finds likeness across proteins: one of 0.8 is missed once in 120 times, one of
0.9 once in 50,000. Within a protein all are compared."""

_WORD = re.compile(r"\w+")
_MIX = np.frombuffer(hashlib.shake_128(b"bands").digest(BANDS * ROWS * 8), dtype="<u8").reshape(
    BANDS, ROWS
) | np.uint64(1)
"""Odd factors that make one key of the rows of a band."""
_PROTEIN_BITS = 32


@dataclass(frozen=True)
class Verdict:
    """What the pairs before it say about a pair."""

    reason: str | None
    """``duplicate`` or ``near_duplicate``, of a pair about the same protein; None when it stays."""
    message: str | None
    """Names the pair that was there first; None when it stays."""
    flags: tuple[str, ...]
    """``duplicate_across`` or ``near_duplicate_across`` where a pair about another protein was there first."""


@dataclass(frozen=True)
class Fingerprint:
    """What of a pair is compared."""

    words: bytes
    """Digest of the words, whatever their case and the punctuation: equal in exact duplicates."""
    shingles: frozenset[int]
    """Hashes of neighboring lemmas: their Jaccard similarity tells near duplicates."""
    facts: int
    """Hash of what must be equal in near duplicates: numbers, named things, negations, yes or no."""


def fingerprint(question: str, answer: str) -> Fingerprint:
    """Read a pair; the same on every machine and in every process."""
    asked, answered = terms(question), terms(answer)
    shingles = {
        zlib.crc32(f"{side} {one} {other}".encode())
        for side, found in (("q", asked), ("a", answered))
        for one, other in pairwise(["^", *found.sequence, "$"])
    }
    both = asked | answered
    facts = (
        sorted(both.named | both.rare),
        sorted(both.numbers, key=str),
        both.sequence.count("not"),
        yes_or_no(answer),
    )
    words = "\n".join(" ".join(_WORD.findall(fold(text).casefold())) for text in (question, answer))
    return Fingerprint(
        hashlib.blake2b(words.encode(), digest_size=16).digest(),
        frozenset(shingles),
        int.from_bytes(hashlib.blake2b(repr(facts).encode(), digest_size=7).digest(), "little"),
    )


def similarity(one: frozenset[int], other: Iterable[int], num_other: int) -> float:
    """Jaccard similarity of two sets; the second as its distinct members and their number."""
    shared = len(one.intersection(other))
    return shared / (len(one) + num_other - shared)


class Duplicates:
    """Takes the accepted pairs of a whole corpus, one after the other; the same order gives the same verdicts.

    Within one protein a duplicate is refused. Across proteins it is true of both as often as not, so it stays and is
    flagged; `widespread` tells which pairs stand for so many proteins that they say little about any of them.
    """

    def __init__(self, rules: QaRules) -> None:
        from datasketch import MinHash  # it brings half of scipy, which workers that take fingerprints go without

        self.rules = rules
        self._minhash = MinHash(BANDS * ROWS, hashfunc=int, scheme="affine32")
        self._buckets: dict[int, int | list[int]] = {}
        """Band key to the texts that share it; nearly always one."""
        self._text_of: dict[bytes, int] = {}
        self._shingles: list[bytes] = []
        self._facts: list[int] = []
        self._parent: list[int] = []
        """Of each text, one that it is a near duplicate of, or itself."""
        self._accessions: dict[str, int] = {}
        self._texts_of: dict[tuple[int, int], list[int]] = {}
        """Protein and facts to the texts that stand for it."""
        self._pairs: dict[int, str] = {}
        """Text and protein, in one number, to the pair that stays."""

    def compare(self, pair_id: str, accession: str, read: Fingerprint) -> Verdict:
        """Compare a pair with all before it, and remember it if it stays.

        Args:
            pair_id: names the pair in messages and in `widespread`.
            accession: of its protein.
            read: the `fingerprint` of the pair, as ``check_generated`` accepted it.
        """
        protein = self._accessions.setdefault(accession, len(self._accessions))
        same = self._text_of.get(read.words)
        if same is not None and (first := self._pairs.get(_key(same, protein))):
            return Verdict("duplicate", f"the same as {first}", ())
        own = self._alike(read, self._texts_of.get((protein, read.facts), ()))
        if own:
            share, text = own[0]
            limit = f"below {self.rules.similarity:.0%} is another pair"
            return Verdict("near_duplicate", f"{share:.0%} similar to {self._pairs[_key(text, protein)]}; {limit}", ())
        bands = self._bands(read)
        near = [text for _, text in self._alike(read, self._candidates(bands)) if text != same]
        text = self._remember(read, bands) if same is None else same
        self._pairs[_key(text, protein)] = pair_id
        self._texts_of.setdefault((protein, read.facts), []).append(text)
        for other in near:
            low, high = sorted((self._root(text), self._root(other)))
            self._parent[high] = low
        if same is not None:
            return Verdict(None, None, ("duplicate_across",))
        return Verdict(None, None, ("near_duplicate_across",) if near else ())

    def widespread(self) -> dict[str, int]:
        """Accepted pairs that stand, in the same or nearly the same words, for more than ``max_proteins`` proteins.

        Returns:
            Pair id to the number of proteins; ask after the last pair, for the flag ``many_proteins``.
        """
        mask = (1 << _PROTEIN_BITS) - 1
        roots = [self._root(text) for text in range(len(self._parent))]
        proteins = Counter(
            key >> _PROTEIN_BITS for key in {_key(roots[key >> _PROTEIN_BITS], key & mask) for key in self._pairs}
        )
        counted = ((pair_id, proteins[roots[key >> _PROTEIN_BITS]]) for key, pair_id in self._pairs.items())
        return {pair_id: count for pair_id, count in counted if count > self.rules.max_proteins}

    def _candidates(self, bands: list[int]) -> set[int]:
        """Texts that share a band, most of which are nearly alike."""
        candidates: set[int] = set()
        for band in bands:
            found = self._buckets.get(band, ())
            candidates.update((found,) if isinstance(found, int) else found)
        return candidates

    def _alike(self, read: Fingerprint, texts: Iterable[int]) -> list[tuple[float, int]]:
        """Similarity and number of those texts that nearly equal one, the most similar first."""
        alike = []
        for text in texts:
            if self._facts[text] == read.facts:
                other = memoryview(self._shingles[text]).cast("I")
                share = similarity(read.shingles, other, len(other))
                if share >= self.rules.similarity:
                    alike.append((share, text))
        return sorted(alike, key=lambda found: (-found[0], found[1]))

    def _bands(self, read: Fingerprint) -> list[int]:
        """Keys of the index. They hold the facts: else thousands of answers of one form would share a bucket."""
        self._minhash.clear()
        self._minhash.update_batch(sorted(read.shingles))
        rows = self._minhash.hashvalues.reshape(BANDS, ROWS).astype(np.uint64)
        keys = (rows * _MIX).sum(axis=1, dtype=np.uint64) ^ np.uint64(read.facts)
        return [int(key) for key in keys.tolist()]

    def _remember(self, read: Fingerprint, bands: list[int]) -> int:
        text = len(self._parent)
        self._parent.append(text)
        self._text_of[read.words] = text
        self._shingles.append(np.fromiter(read.shingles, dtype=np.uint32).tobytes())
        self._facts.append(read.facts)
        for band in bands:
            found = self._buckets.setdefault(band, text)
            if isinstance(found, list):
                found.append(text)
            elif found != text:
                self._buckets[band] = [found, text]
        return text

    def _root(self, text: int) -> int:
        while self._parent[text] != text:
            self._parent[text] = self._parent[self._parent[text]]
            text = self._parent[text]
        return text


def _key(text: int, protein: int) -> int:
    return text << _PROTEIN_BITS | protein
