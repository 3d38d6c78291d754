"""Scores of every answer, and the table over controls and baselines with paired intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from protein2text.evaluate.bootstrap import Estimate, estimate
from protein2text.evaluate.evaluation_config import EvaluationConfig
from protein2text.evaluate.facts import Vocabulary, names_exactly, polarity
from protein2text.evaluate.items import Item
from protein2text.evaluate.metrics import bleu, rouge_l
from protein2text.evaluate.verdict import Verdict, judge

Answers = Mapping[str, str]
"""Answer text by item id; an item that a row cannot answer is absent."""

METRICS = {"facts": "exact-fact accuracy", "yes_no": "yes/no accuracy", "rouge_l": "ROUGE-L"}
"""Per-item metrics, 0 to 1, with their names in words."""

LABELS = {
    "true": "model, true protein",
    "swapped": "model, swapped protein",
    "shuffled": "model, shuffled residues",
    "none": "model, no protein",
    "neighbour": "copy of the nearest training neighbour",
    "prior": "question only: typical training answer",
    "random": "random other protein's text",
}
"""Rows of every table, in order; of an index on trial they say "index" where these say "model"."""

Matrix = dict[str, NDArray[np.float64]]
"""Scores ``(N,)`` by metric; NaN where the metric does not apply or there is no answer."""


@dataclass(frozen=True)
class Statistics:
    """How intervals are made: the configured resampling over the items' units."""

    units: NDArray[np.int64]
    """``(N,)`` integer of each item's unit."""
    unit: str
    """What a unit is, plural: "clusters" or "proteins"."""
    config: EvaluationConfig

    @classmethod
    def of(cls, items: Sequence[Item], config: EvaluationConfig) -> Self:
        """Number the items' units, and tell clusters from single sequences."""
        _, numbers = np.unique([item.unit for item in items], return_inverse=True)
        clustered = any(item.unit != item.proteins[0].checksum for item in items)
        return cls(np.asarray(numbers, dtype=np.int64), "clusters" if clustered else "proteins", config)

    def judge(self, difference: Estimate, metric: str) -> Verdict:
        """The verdict on a difference true minus swapped; see ``verdict.judge``."""
        config = self.config
        return judge(difference, metric=METRICS[metric], delta=config.delta, min_units=config.min_units, unit=self.unit)

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
    subject: str = "model",
) -> list[Row]:
    """Rows in the order of ``LABELS``; ``num_fallback`` by row name, ``subject`` is what their labels call model."""
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
                label=label.replace("model", subject),
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
