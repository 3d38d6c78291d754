"""Figures measured by others on 669 real Swiss-Prot answers; ours must come out near them."""

import json
import random
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean

import pytest

from protein2text.evaluate.baselines import medoid
from protein2text.evaluate.metrics import bleu, rouge_l
from protein2text.evaluate.neighbours import Neighbour, nearest


@dataclass(frozen=True)
class Answers:
    """Sequences and gold answers, entry by entry."""

    sequences: list[str]
    golds: list[str]

    @cached_property
    def neighbours(self) -> dict[str, list[Neighbour]]:
        """Neighbours of each sequence, itself among them; the search takes a while."""
        return nearest(self.sequences, self.sequences)

    def others(self, entry: int, below: float = 2.0) -> list[int]:
        """Other entries that are neighbours under an identity, the nearest first."""
        same = [other for other, text in enumerate(self.sequences) if text == self.sequences[entry] and other != entry]
        found = same if below > 1 else []
        for neighbour in self.neighbours[self.sequences[entry]]:
            if neighbour.sequence != self.sequences[entry] and neighbour.identity < below:
                found.append(self.sequences.index(neighbour.sequence))
        return found

    def scores(self, copied: list[str]) -> tuple[float, float]:
        """ROUGE-L and sacreBLEU of copied answers."""
        rouge = mean(rouge_l(text, gold) for text, gold in zip(copied, self.golds, strict=True))
        return rouge, bleu(copied, self.golds)

    def random(self, seed: int) -> list[str]:
        """Another entry's answer for each."""
        rng = random.Random(seed)
        places = range(len(self.golds))
        return [self.golds[rng.choice([other for other in places if other != entry])] for entry in places]

    def nearest(self, below: float = 2.0) -> list[str]:
        """The nearest entry's answer; a random one where nothing is near."""
        chosen = [self.others(entry, below) for entry in range(len(self.golds))]
        return [self.golds[near[0]] if near else text for near, text in zip(chosen, self.random(0), strict=True)]


@pytest.fixture(scope="module")
def answers(real_data: Path) -> Answers:
    entries = json.loads((real_data / "qa" / "microbiome_benchmark.json").read_text())
    sequences = [entry["amino_seq"] for entry in entries]
    return Answers(sequences, [entry["conversations"][1]["value"] for entry in entries])


def test_random_text_scores_what_it_is_known_to(answers: Answers) -> None:
    rouge = mean(answers.scores(answers.random(seed))[0] for seed in range(3))
    assert rouge == pytest.approx(0.144, abs=0.005)
    assert answers.scores(answers.random(0))[1] == pytest.approx(4.6, abs=1.0)


def test_a_constant_medoid_scores_what_it_is_known_to(answers: Answers) -> None:
    constant = medoid(answers.golds, random.Random(0))
    rouge, four_grams = answers.scores([constant] * len(answers.golds))
    assert rouge == pytest.approx(0.188, abs=0.02)
    assert four_grams < 4


@pytest.mark.slow
def test_copying_the_nearest_neighbour_scores_what_it_is_known_to(answers: Answers) -> None:
    rouge, four_grams = answers.scores(answers.nearest())
    assert rouge == pytest.approx(0.377, abs=0.01)
    assert four_grams == pytest.approx(28.6, abs=2.0)
    rouge, four_grams = answers.scores(answers.nearest(below=0.3))
    assert rouge == pytest.approx(0.232, abs=0.015)
    assert four_grams == pytest.approx(13.4, abs=2.0)
