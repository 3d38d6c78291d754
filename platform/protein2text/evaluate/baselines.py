"""Answers that need no model: copying, the most frequent answer, any other protein's text."""

import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from protein2text.evaluate.items import Item
from protein2text.evaluate.metrics import rouge_l
from protein2text.evaluate.neighbours import Neighbour

MEDOID_SAMPLE = 300
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
        self._answers = {
            kind: _typical(items, random.Random(f"{seed}/prior/{kind}")) for kind, items in by_kind.items()
        }
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
    if count > 1:
        texts = Counter(item.gold for item in items if content(item) == most)
        return min(texts.items(), key=lambda pair: (-pair[1], pair[0]))[0]
    return medoid(sorted({item.gold for item in items}), rng)


def medoid(texts: Sequence[str], rng: random.Random) -> str:
    """The text with the highest mean ROUGE-L to the others, among ``MEDOID_SAMPLE`` drawn ones."""
    sample = rng.sample(texts, MEDOID_SAMPLE) if len(texts) > MEDOID_SAMPLE else texts
    sums = [0.0] * len(sample)
    for (i, one), (j, other) in itertools.combinations(enumerate(sample), 2):  # the F-measure is symmetric
        overlap = rouge_l(one, other)
        sums[i] += overlap
        sums[j] += overlap
    return max(zip(sums, sample, strict=True))[1]


class NeighbourCopy:
    """Copies the answer of the training record whose proteins are the nearest, among records of the same question.

    Same means: of the same kind where gold facts are known; of the same wording for a yes or no, which means nothing
    for another question; for free text any record, since all of them tell of the protein, a same kind before others.
    For two proteins both of a training pair must be neighbours; the pair with the smallest sum of ranks is copied.
    """

    def __init__(self, train: Sequence[Item], neighbours: dict[str, list[Neighbour]]) -> None:
        self._neighbours = neighbours
        self._records: dict[int, dict[tuple[str, ...], list[Item]]] = defaultdict(lambda: defaultdict(list))
        for item in train:
            sequences = tuple(sorted(protein.sequence for protein in item.proteins))
            self._records[len(sequences)][sequences].append(item)

    def answer(self, item: Item) -> str | None:
        """The copied answer; None when no training record of this question is about neighbours."""
        records = self._records[len(item.proteins)]
        for sequences in self._ranked(item, records):
            usable = [record for record in records.get(sequences, ()) if _same_question(item, record)]
            if usable:
                return min(usable, key=lambda record: _strangeness(item, record)).gold
        return None

    def _ranked(self, item: Item, records: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
        """Training sequences (or pairs of them) near the item's, the nearest first."""
        ranks = [
            {neighbour.sequence: rank for rank, neighbour in enumerate(self._neighbours.get(protein.sequence, ()))}
            for protein in item.proteins
        ]
        if len(ranks) == 1:
            return [(sequence,) for sequence in ranks[0]]
        sums: dict[tuple[str, ...], int] = {}
        for sequences in records:
            for order in itertools.permutations(sequences):
                pairs = list(zip(ranks, order, strict=True))
                if all(sequence in rank for rank, sequence in pairs):
                    total = sum(rank[sequence] for rank, sequence in pairs)
                    sums[sequences] = min(total, sums.get(sequences, total))
        return sorted(sums, key=lambda sequences: (sums[sequences], sequences))


def _same_question(item: Item, record: Item) -> bool:
    if item.polarity is not None:
        return record.question == item.question
    return record.kind == item.kind or not item.is_open_with_facts


def _strangeness(item: Item, record: Item) -> tuple[bool, bool, str]:
    """Orders a neighbour's records: the same wording first, then the same kind."""
    return record.question != item.question, record.kind != item.kind, record.item_id


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
