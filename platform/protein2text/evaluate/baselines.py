"""Answers that need no model: copying, the most frequent answer, any other protein's text."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import permutations

from protein2text.evaluate.items import Item
from protein2text.evaluate.metrics import rouge_l
from protein2text.evaluate.neighbors import Hit

MEDOID_SAMPLE = 150
"""Training answers compared with each other to find the most central text."""


class Prior:
    """The most frequent training answer to each kind of question: what the question alone gives away.

    Frequency counts what is asserted (yes or no, or the gold facts), then wording. Free text is seldom repeated; there
    the medoid stands in: the training answer with the highest mean ROUGE-L to the others.
    """

    def __init__(self, train: Sequence[Item], seed: int) -> None:
        by_kind: dict[str, list[Item]] = defaultdict(list)
        for item in train:
            by_kind[item.kind].append(item)
        self._answers = {kind: _typical(items, random.Random(f"{seed}/prior/{kind}")) for kind, items in by_kind.items()}
        self._any = _typical(train, random.Random(f"{seed}/prior")) if train else ""

    def answer(self, item: Item) -> str:
        """The kind's typical answer; that of all training records for a kind never seen."""
        return self._answers.get(item.kind, self._any)


def _typical(items: Sequence[Item], rng: random.Random) -> str:
    def content(item: Item) -> str:
        if item.polarity is not None:
            return item.polarity
        return repr(sorted((kind, sorted(values)) for kind, values in item.facts.items())) if item.facts else item.gold

    frequency = Counter(content(item) for item in items)
    most, count = min(frequency.items(), key=lambda pair: (-pair[1], pair[0]))
    texts = Counter(item.gold for item in items if content(item) == most)
    if count > 1:
        return min(texts.items(), key=lambda pair: (-pair[1], pair[0]))[0]
    sample = sorted(texts_of := {item.gold for item in items})
    sample = rng.sample(sample, MEDOID_SAMPLE) if len(texts_of) > MEDOID_SAMPLE else sample
    return max(sample, key=lambda text: (sum(rouge_l(text, other) for other in sample), text))


class Neighbor:
    """Copies the answer of the training record whose proteins are the nearest, among records of the same question.

    A yes/no answer is copied only from a record with the same wording, since it means nothing for another question.
    For two proteins, a training pair scores the summed bits of its better pairing, and both must be hits.
    """

    def __init__(self, train: Sequence[Item], hits: dict[str, list[Hit]]) -> None:
        self._hits = hits
        self._records: dict[tuple[str, tuple[str, ...]], list[Item]] = defaultdict(list)
        for item in train:
            self._records[item.kind, _sorted_sequences(item)].append(item)

    def answer(self, item: Item) -> str | None:
        """The copied answer; None when no training record of this question is among the hits."""
        for sequences in self._ranked(item):
            usable = [
                record for record in self._records.get((item.kind, sequences), ())
                if item.polarity is None or record.question == item.question
            ]
            if usable:
                return min(usable, key=lambda record: (record.question != item.question, record.item_id)).gold
        return None

    def _ranked(self, item: Item) -> list[tuple[str, ...]]:
        found = [{hit.sequence: hit.bits for hit in self._hits.get(protein.sequence, ())} for protein in item.proteins]
        if len(found) == 1:
            return [(sequence,) for sequence in found[0]]
        bits: dict[tuple[str, ...], float] = {}
        for kind, sequences in self._records:
            if kind != item.kind or len(sequences) != len(found):
                continue
            sums = [
                sum(hits[sequence] for hits, sequence in zip(found, order, strict=True))
                for order in permutations(sequences)
                if all(sequence in hits for hits, sequence in zip(found, order, strict=True))
            ]
            if sums:
                bits[sequences] = max(sums)
        return sorted(bits, key=lambda sequences: (-bits[sequences], sequences))


def _sorted_sequences(item: Item) -> tuple[str, ...]:
    return tuple(sorted(protein.sequence for protein in item.proteins))


class OtherText:
    """The gold answer of another protein, drawn at random among training records of the same kind."""

    def __init__(self, train: Sequence[Item], seed: int) -> None:
        self._seed = seed
        self._by_kind: dict[str, list[Item]] = defaultdict(list)
        for item in train:
            self._by_kind[item.kind].append(item)
        self._all = list(train)

    def answer(self, item: Item) -> str | None:
        """The drawn text; None when training holds no record."""
        pool = self._by_kind.get(item.kind) or self._all
        return random.Random(f"{self._seed}/{item.item_id}/random").choice(pool).gold if pool else None
