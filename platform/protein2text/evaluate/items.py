"""Items of an evaluation: one question (or description) about one or two proteins, with its gold answer."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from protein2text.evaluate.facts import POLARITY_KIND, Facts, Polarity, Vocabulary, asked_facts, polarity
from protein2text.proteins import Protein


@dataclass(frozen=True)
class Item:
    """One question about its proteins; ``facts`` is None when nothing is known about the gold facts."""

    item_id: str
    kind: str
    proteins: tuple[Protein, ...]
    messages: tuple[dict[str, str], ...]
    """The prompt: every turn but the gold answer."""
    question: str
    """The last user turn without placeholders."""
    gold: str
    facts: Facts | None
    unit: str
    """What the bootstrap resamples: the cluster of the item's first protein, else its sequence."""
    identity: float | None
    """Highest identity (0 to 1) of its proteins to a training protein; None when the search found no hit."""

    @property
    def num_residues(self) -> int:
        """Residues of all its proteins."""
        return sum(len(protein) for protein in self.proteins)

    @property
    def polarity(self) -> Polarity | None:
        """Gold yes or no of a closed question; None for an open one."""
        if self.facts is not None and POLARITY_KIND in self.facts:
            (value,) = self.facts[POLARITY_KIND]
            return "yes" if value == "yes" else "no"
        return polarity(self.gold) if self.kind == POLARITY_KIND else None

    @property
    def is_open_with_facts(self) -> bool:
        """Whether exact-fact accuracy applies."""
        return self.polarity is None and bool(self.facts) and bool(asked_facts(self.facts or {}))


@dataclass(frozen=True)
class Corpus:
    """What an evaluation reads: test items, training items for baselines and swaps, and the facts' vocabulary."""

    test: tuple[Item, ...]
    train: tuple[Item, ...]
    vocabulary: Vocabulary
    split_kind: str
    """``by_member`` claims recall of known families, ``by_cluster`` generalisation, ``temporal`` neither."""
    split_card: dict[str, Any]
    num_mixed: int
    """Records whose proteins lie in different splits, dropped."""
    num_test_before_draw: int

    @property
    def test_proteins(self) -> Iterator[Protein]:
        """Of all test items, as often as they occur."""
        return (protein for item in self.test for protein in item.proteins)
