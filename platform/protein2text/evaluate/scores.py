"""Scores of every answer, and the table over controls and baselines with paired intervals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protein2text.evaluate.bootstrap import Estimate, estimate
from protein2text.evaluate.evaluation_config import EvaluationConfig
from protein2text.evaluate.facts import Vocabulary, names_exactly, polarity
from protein2text.evaluate.items import Item
from protein2text.evaluate.metrics import bleu, rouge_l

Answers = Mapping[str, str]
"""Answer text by item id; an item that a row cannot answer is absent."""

METRICS = {"facts": "exact-fact accuracy", "yes_no": "yes/no accuracy", "rouge_l": "ROUGE-L"}
"""Per-item metrics, 0 to 1, with their names in words."""

LABELS = {
    "true": "model, true protein",
    "swapped": "model, swapped protein",
    "shuffled": "model, shuffled residues",
    "none": "model, no protein",
    "neighbor": "copy of the nearest training neighbour",
    "prior": "question only: typical training answer",
    "random": "random other protein's text",
}
"""Rows of every table, in order."""

Matrix = dict[str, NDArray[np.float64]]
"""Scores ``(N,)`` by metric; NaN where the metric does not apply or there is no answer."""


@dataclass(frozen=True)
class Statistics:
    """How intervals are made: the configured resampling over the items' units."""

    units: NDArray[np.int64]
    config: EvaluationConfig

    def difference(
        self, values: NDArray[np.float64], others: NDArray[np.float64], chosen: NDArray[np.bool_] | None = None
    ) -> Estimate:
        """Values minus others, paired by item, over the items that have both and are chosen."""
        return self.estimate(values - others, chosen, limits=(-1.0, 1.0))

    def estimate(
        self,
        values: NDArray[np.float64],
        chosen: NDArray[np.bool_] | None = None,
        limits: tuple[float, float] = (0.0, 1.0),
    ) -> Estimate:
        """Mean and interval over the items that have a value and are chosen."""
        keep = ~np.isnan(values) if chosen is None else ~np.isnan(values) & chosen
        return estimate(
            values[keep],
            self.units[keep],
            resamples=self.config.resamples,
            confidence=self.config.confidence,
            seed=self.config.seed,
            limits=limits,
        )


def unit_numbers(items: Sequence[Item]) -> NDArray[np.int64]:
    """``(N,)`` integer of each item's unit."""
    _, numbers = np.unique([item.unit for item in items], return_inverse=True)
    return np.asarray(numbers, dtype=np.int64)


def score(items: Sequence[Item], answers: Answers, vocabulary: Vocabulary) -> Matrix:
    """Score one row of the table, item by item."""
    matrix = {metric: np.full(len(items), np.nan) for metric in METRICS}
    for place, item in enumerate(items):
        if item.item_id in answers:
            for metric, value in score_answer(item, answers[item.item_id], vocabulary).items():
                matrix[metric][place] = value
    return matrix


def score_answer(item: Item, answer: str, vocabulary: Vocabulary) -> dict[str, float]:
    """The metrics that apply to an item: facts for open questions with known ones, yes/no for closed, ROUGE-L always.

    An answer to a closed question that opens with neither yes nor no is wrong.
    """
    scores = {"rouge_l": rouge_l(answer, item.gold)}
    if item.polarity is not None:
        scores["yes_no"] = float(polarity(answer) == item.polarity)
    elif item.is_open_with_facts and item.facts is not None:
        scores["facts"] = float(names_exactly(vocabulary.asserted(answer), item.facts))
    return scores


def primary_metric(items: Sequence[Item]) -> str:
    """What the verdict is about: facts if any item has them, else yes/no, else ROUGE-L."""
    if any(item.is_open_with_facts for item in items):
        return "facts"
    return "yes_no" if any(item.polarity is not None for item in items) else "rouge_l"


@dataclass(frozen=True)
class Row:
    """One line of the main table. ``difference`` is true minus this row on the primary metric, paired by item."""

    name: str
    label: str
    estimates: dict[str, Estimate]
    bleu: float
    difference: Estimate | None
    num_answers: int
    num_fallback: int
    """Answers of the neighbour row that are the typical answer, for want of a neighbour."""
    num_unparsed: int
    """Closed questions whose answer opens with neither yes nor no."""
    num_empty: int


def build_rows(
    items: Sequence[Item],
    answers: Mapping[str, Answers],
    matrices: Mapping[str, Matrix],
    statistics: Statistics,
    num_fallback: Mapping[str, int],
) -> list[Row]:
    """Rows in the order of ``LABELS``; ``num_fallback`` by row name."""
    primary = primary_metric(items)
    rows = []
    for name, label in LABELS.items():
        given = answers[name]
        answered = [item for item in items if item.item_id in given]
        closed = [item for item in answered if item.polarity is not None]
        paired = None if name == "true" else statistics.difference(matrices["true"][primary], matrices[name][primary])
        rows.append(
            Row(
                name=name,
                label=label,
                estimates={metric: statistics.estimate(matrices[name][metric]) for metric in METRICS},
                bleu=bleu([given[item.item_id] for item in answered], [item.gold for item in answered]),
                difference=paired,
                num_answers=len(answered),
                num_fallback=num_fallback.get(name, 0),
                num_unparsed=sum(polarity(given[item.item_id]) is None for item in closed),
                num_empty=sum(not given[item.item_id].strip() for item in answered),
            )
        )
    return rows


Group = Callable[[Item], str | None]
"""Names the group of an item; None leaves it out."""

IDENTITY_BINS = (
    (0.9, "90 % and above"),
    (0.7, "70-90 %"),
    (0.5, "50-70 %"),
    (0.4, "40-50 %"),
    (0.3, "30-40 %"),
    (0.0, "below 30 %"),
)
LENGTH_BINS = ((512, "up to 512"), (1022, "513-1,022"), (2048, "1,023-2,048"))


def identity_bin(item: Item) -> str:
    """Bin of the item's highest measured identity to a training protein."""
    if item.identity is None:
        return "no hit"
    return next(name for floor, name in IDENTITY_BINS if item.identity >= floor)


def length_bin(item: Item) -> str:
    """Bin of the item's longest protein, in residues."""
    longest = max(len(protein) for protein in item.proteins)
    return next((name for limit, name in LENGTH_BINS if longest <= limit), "above 2,048")


def build_groups(
    items: Sequence[Item], group: Group, matrices: Mapping[str, Matrix], statistics: Statistics
) -> list[dict[str, Any]]:
    """Per group: its size, its metric, every row's estimate, and true minus swapped, all as plain values."""
    names = [group(item) for item in items]
    tables = []
    for name in sorted({name for name in names if name is not None}):
        chosen = np.array([other == name for other in names])
        members = [item for item, keep in zip(items, chosen, strict=True) if keep]
        metric = primary_metric(members)
        tables.append(
            {
                "group": name,
                "num_items": len(members),
                "metric": metric,
                "rows": {row: statistics.estimate(matrices[row][metric], chosen) for row in LABELS},
                "difference": statistics.difference(matrices["true"][metric], matrices["swapped"][metric], chosen),
            }
        )
    return tables
