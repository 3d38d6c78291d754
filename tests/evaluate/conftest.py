"""A hand-made world in which the scores of reading, guessing and copying are known."""

import random
from dataclasses import dataclass

import pytest

from protein2text.evaluate.facts import Vocabulary, parse_facts
from protein2text.evaluate.items import Corpus, Item
from protein2text.models.chat import PLACEHOLDER
from protein2text.proteins import Protein

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
LIGANDS = ("ATP", "zinc", "heme", "calcium")
PLACES = ("nucleus", "membrane", "lysosome")


def make_item(
    item_id: str,
    proteins: tuple[Protein, ...],
    question: str,
    gold: str,
    *,
    kind: str,
    facts: tuple[str, ...] | None = None,
    unit: str | None = None,
    identity: float | None = None,
) -> Item:
    return Item(
        item_id=item_id,
        kind=kind,
        proteins=proteins,
        messages=({"role": "user", "content": f"{PLACEHOLDER}\n" * len(proteins) + question},),
        question=question,
        gold=gold,
        facts=None if facts is None else parse_facts(facts),
        unit=unit or proteins[0].checksum,
        identity=identity,
    )


def make_corpus(test: list[Item], train: list[Item], split_kind: str = "by_member") -> Corpus:
    vocabulary = Vocabulary(item.facts for item in (*test, *train) if item.facts)
    return Corpus(tuple(test), tuple(train), vocabulary, split_kind, {"tool": "by hand"}, 0, len(test))


@dataclass(frozen=True)
class World:
    """Test proteins are close relatives of training proteins that share their place but never their ligand."""

    corpus: Corpus
    facts: dict[str, tuple[str, str]]
    """Ligand and place by sequence."""


def items_of(protein: Protein, ligand: str, place: str, number: int) -> list[Item]:
    other = LIGANDS[(LIGANDS.index(ligand) + 1) % len(LIGANDS)]
    claimed, gold, answer = (
        (ligand, f"Yes, it binds {ligand}.", "yes") if number % 2 else (other, f"No, it binds {ligand}.", "no")
    )
    name = protein.accession
    return [
        make_item(
            f"{name}:binds",
            (protein,),
            "What does it bind?",
            f"It binds {ligand}.",
            kind="binds",
            facts=(f"binds={ligand}",),
        ),
        make_item(
            f"{name}:place",
            (protein,),
            "Where is it?",
            f"It is in the {place}.",
            kind="location",
            facts=(f"location={place}",),
        ),
        make_item(
            f"{name}:yn",
            (protein,),
            f"Does it bind {claimed}?",
            gold,
            kind="yes_no",
            facts=(f"binds={ligand}", f"yes_no={answer}"),
        ),
    ]


def build_world(num_test: int = 24) -> World:
    rng = random.Random(0)
    facts: dict[str, tuple[str, str]] = {}
    test: list[Item] = []
    train: list[Item] = []
    for number in range(num_test):
        sequence = "".join(rng.choices(RESIDUES, k=rng.randint(90, 120)))
        mutated = "".join(rng.choice(RESIDUES) if rng.random() < 0.3 else letter for letter in sequence)
        ligand, place = LIGANDS[number % 4], PLACES[number % 3]
        facts[sequence], facts[mutated] = (ligand, place), (LIGANDS[(number + 1) % 4], place)
        train += items_of(Protein(f"TRAIN{number}", sequence), *facts[sequence], number)
        test += items_of(Protein(f"TEST{number}", mutated), *facts[mutated], number)
    return World(make_corpus(test, train), facts)


@pytest.fixture(scope="session")
def world() -> World:
    return build_world()
