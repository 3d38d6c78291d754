"""Scores by group of items: kind of question, identity to training, length."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from protein2text.evaluate.items import Item
from protein2text.evaluate.scores import LABELS, Matrix, Statistics, primary_metric

IDENTITY_BINS = (
    (0.0, "below 30 %"),
    (0.3, "30-40 %"),
    (0.4, "40-50 %"),
    (0.5, "50-70 %"),
    (0.7, "70-90 %"),
    (0.9, "90 % and above"),
)
"""Lower ends."""
NO_HIT = "no hit"
LENGTH_BINS = ((1, "up to 512"), (513, "513-1,022"), (1023, "1,023-2,048"), (2049, "above 2,048"))
"""Lower ends, in residues."""


def identity_bin(item: Item) -> str:
    """Bin of the item's highest measured identity to a training protein."""
    if item.identity is None:
        return NO_HIT
    return [name for floor, name in IDENTITY_BINS if item.identity >= floor][-1]


def length_bin(item: Item) -> str:
    """Bin of the item's longest protein."""
    longest = max(len(protein) for protein in item.proteins)
    return [name for floor, name in LENGTH_BINS if longest >= floor][-1]


@dataclass(frozen=True)
class Grouping:
    """A way to divide the items: title and first column of its table, the group of an item, and their order."""

    title: str
    heading: str
    of: Callable[[Item], str]
    order: tuple[str, ...] = ()
    """Groups of fixed order; others follow by name."""


GROUPINGS = (
    Grouping("By kind of question", "Kind", lambda item: item.kind),
    Grouping(
        "By highest identity to a training protein",
        "Identity",
        identity_bin,
        (NO_HIT, *(name for _, name in IDENTITY_BINS)),
    ),
    Grouping("By length", "Residues", length_bin, tuple(name for _, name in LENGTH_BINS)),
)


def build_groups(
    items: Sequence[Item], grouping: Grouping, matrices: Mapping[str, Matrix], statistics: Statistics
) -> dict[str, Any]:
    """One table: per group its size, metric, every row's estimate, true minus swapped, and a verdict of its own."""
    names = [grouping.of(item) for item in items]
    rank = {name: place for place, name in enumerate(grouping.order)}
    groups = []
    for name in sorted(set(names), key=lambda name: (rank.get(name, len(rank)), name)):
        chosen = np.array([other == name for other in names])
        members = [item for item, keep in zip(items, chosen, strict=True) if keep]
        metric = primary_metric(members)
        difference = statistics.difference(matrices["true"][metric], matrices["swapped"][metric], chosen)
        groups.append(
            {
                "group": name,
                "num_items": len(members),
                "metric": metric,
                "rows": {row: statistics.estimate(matrices[row][metric], chosen) for row in LABELS},
                "difference": difference,
                "outcome": statistics.judge(difference, metric).outcome,
            }
        )
    return {"title": grouping.title, "heading": grouping.heading, "groups": groups}
