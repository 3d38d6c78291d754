"""What the model is shown: the true protein, and three inputs under which a model that reads must get worse.

*Swapped* is the primary control: a natural protein of similar length with another answer, so that the input stays like
those of training. *Shuffled* residues and *no* protein are unlike anything trained on and stand beside it.
"""

import itertools
import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from protein2text.evaluate.facts import Facts, Vocabulary, asked_facts
from protein2text.evaluate.items import Item
from protein2text.evaluate.metrics import rouge_l
from protein2text.models.chat import PLACEHOLDER
from protein2text.proteins import Protein

Control = Literal["true", "swapped", "shuffled", "none"]
CONTROLS: tuple[Control, ...] = ("true", "swapped", "shuffled", "none")

NEAREST_LENGTHS = 8
"""A swap is drawn from this many eligible candidates of the most similar length."""
MAX_CANDIDATES = 4000
"""Candidates considered for swaps; more training proteins than this are thinned by a seeded draw."""
MAX_TEXT_OVERLAP = 0.5
"""Free text counts as another answer below this ROUGE-L to the item's own."""


@dataclass(frozen=True)
class Request:
    """One prompt for the model. ``accessions`` name the proteins really shown."""

    item_id: str
    control: Control
    messages: tuple[dict[str, str], ...]
    sequences: tuple[str, ...]
    accessions: tuple[str, ...]


class Swapper:
    """Finds for an item other proteins, of similar length, for which its gold answer is wrong.

    Where gold facts are known they decide. Otherwise the other protein comes from a record that asks the same kind of
    question and has another answer and another cluster; for a yes/no question it must be the same wording.
    """

    def __init__(self, items: Sequence[Item], vocabulary: Vocabulary, seed: int) -> None:
        self._vocabulary, self._seed = vocabulary, seed
        rng = random.Random(f"{seed}/swap-candidates")
        self._items = list(items) if len(items) <= MAX_CANDIDATES else rng.sample(list(items), MAX_CANDIDATES)
        known: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        proteins: dict[str, Protein] = {}
        for item in self._items:
            if len(item.proteins) == 1 and item.facts:
                proteins.setdefault(item.proteins[0].sequence, item.proteins[0])
                for kind, values in asked_facts(item.facts).items():
                    known[item.proteins[0].sequence][kind] |= values
        self._known = [
            (protein, {kind: frozenset(names) for kind, names in known[sequence].items()})
            for sequence, protein in proteins.items()
        ]

    def swap(self, item: Item) -> tuple[Protein, ...] | None:
        """Proteins for the swapped input; None when no candidate has another answer."""
        if len(item.proteins) == 1 and asked_facts(item.facts or {}):
            return self._choose(
                item, [((protein,), None) for protein, facts in self._known if self._answer_differs(item, facts)]
            )
        has_facts = item.polarity is not None or bool(item.facts)
        others = [other for other in self._items if self._item_differs(item, other)]
        return self._choose(item, [(other.proteins, None if has_facts else other.gold) for other in others])

    def _answer_differs(self, item: Item, facts: Facts) -> bool:
        asked = asked_facts(item.facts or {})
        if any(kind not in facts for kind in asked):
            return False
        if item.polarity is None:
            return all(not values & facts[kind] for kind, values in asked.items())
        claims = self._vocabulary.mentioned(item.question)
        claimed = {kind: claims.get(kind, frozenset()) for kind in asked}
        if not any(claimed.values()):
            return False
        holds = all(values <= facts[kind] for kind, values in claimed.items())
        return holds != (item.polarity == "yes")

    def _item_differs(self, item: Item, other: Item) -> bool:
        if other.kind != item.kind or len(other.proteins) != len(item.proteins) or other.item_id == item.item_id:
            return False
        if {protein.sequence for protein in item.proteins} & {protein.sequence for protein in other.proteins}:
            return False
        if item.polarity is not None:
            return other.question == item.question and other.polarity not in {None, item.polarity}
        if item.facts and other.facts:
            other_facts = asked_facts(other.facts)
            return all(not values & other_facts.get(kind, values) for kind, values in asked_facts(item.facts).items())
        return other.unit != item.unit and other.gold != item.gold

    def _choose(
        self, item: Item, eligible: Sequence[tuple[tuple[Protein, ...], str | None]]
    ) -> tuple[Protein, ...] | None:
        """Draw among the nearest in length; a candidate with free text must also differ in its words."""

        def order(candidate: tuple[tuple[Protein, ...], str | None]) -> tuple[float, list[str]]:
            pairs = zip(item.proteins, candidate[0], strict=True)
            return sum(abs(math.log(len(mine) / len(other))) for mine, other in pairs), [
                p.accession for p in candidate[0]
            ]

        different = (
            proteins
            for proteins, text in sorted(eligible, key=order)
            if text is None or rouge_l(text, item.gold) < MAX_TEXT_OVERLAP
        )
        nearest = list(itertools.islice(different, NEAREST_LENGTHS))
        rng = random.Random(f"{self._seed}/{item.item_id}/swapped")
        return rng.choice(nearest) if nearest else None


def shuffled(sequence: str, key: str) -> str:
    """The same residues in an order drawn from the key."""
    residues = list(sequence)
    random.Random(key).shuffle(residues)
    return "".join(residues)


def build_requests(items: Sequence[Item], swapper: Swapper, seed: int) -> list[Request]:
    """Four prompts per item; an item without an eligible swap has no swapped one and leaves the paired comparison."""
    requests = []
    for item in items:
        swap = swapper.swap(item)
        requests.append(_request(item, "true", item.proteins))
        if swap is not None:
            requests.append(_request(item, "swapped", swap))
        mixed = tuple(
            Protein(protein.accession, shuffled(protein.sequence, f"{seed}/{item.item_id}/{place}"))
            for place, protein in enumerate(item.proteins)
        )
        requests.append(_request(item, "shuffled", mixed))
        requests.append(_request(item, "none", ()))
    return requests


def _request(item: Item, control: Control, proteins: tuple[Protein, ...]) -> Request:
    messages = item.messages if proteins else tuple(_without_protein(turn) for turn in item.messages)
    return Request(
        item.item_id, control, messages, tuple(p.sequence for p in proteins), tuple(p.accession for p in proteins)
    )


def _without_protein(turn: dict[str, str]) -> dict[str, str]:
    """A turn without its placeholders: "no protein" is a prompt that never mentions one, not a blank one."""
    return {**turn, "content": turn["content"].replace(f"{PLACEHOLDER}\n", "").replace(PLACEHOLDER, "").strip()}
