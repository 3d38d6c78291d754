from collections import Counter

import pytest

from protein2text.evaluate.controls import Swapper, build_requests, shuffled
from protein2text.evaluate.facts import Vocabulary
from protein2text.evaluate.items import Item
from protein2text.models.chat import PLACEHOLDER
from protein2text.proteins import Protein
from tests.evaluate.conftest import World, make_item


def swapper_of(*items: Item, seed: int = 0) -> Swapper:
    return Swapper(items, Vocabulary(item.facts for item in items if item.facts), seed)


def test_a_swap_is_a_natural_protein_for_which_the_gold_answer_is_wrong(world: World) -> None:
    corpus = world.corpus
    swapper = Swapper((*corpus.test, *corpus.train), corpus.vocabulary, 0)
    for item in corpus.test:
        swap = swapper.swap(item)
        assert swap is not None
        ligand, place = world.facts[swap[0].sequence]
        mine = world.facts[item.proteins[0].sequence]
        if item.kind == "binds":
            assert ligand != mine[0]
        elif item.kind == "location":
            assert place != mine[1]
        else:
            assert (f"bind {ligand}?" in item.question) != (item.polarity == "yes")


def test_a_swap_is_of_similar_length() -> None:
    item = make_item("a", (Protein("A", "A" * 100),), "Q?", "It binds ATP.", kind="binds", facts=("binds=ATP",))
    others = [
        make_item(
            str(length),
            (Protein(f"L{length}", "C" * length),),
            "Q?",
            "It binds zinc.",
            kind="binds",
            facts=("binds=zinc",),
        )
        for length in range(20, 400, 10)
    ]
    lengths = Counter()
    for seed in range(40):
        swap = swapper_of(item, *others, seed=seed).swap(item)
        assert swap is not None
        lengths[len(swap[0])] += 1
    assert len(lengths) > 3  # drawn, not always the same
    assert 65 <= min(lengths) <= max(lengths) <= 145


def test_free_text_is_swapped_for_other_words_of_another_cluster() -> None:
    def text(name: str, gold: str, unit: str) -> Item:
        return make_item(name, (Protein(name, "ACDEFG" + name),), "What?", gold, kind="function", unit=unit)

    item = text("A", "It cuts cellulose into pieces.", "one")
    near = text("C", "It cuts cellulose into small pieces.", "two")
    same_cluster = text("D", "Transports iron across the membrane.", "one")
    good = text("E", "Transports copper across the membrane.", "two")
    assert swapper_of(item, near, same_cluster).swap(item) is None
    swap = swapper_of(item, near, same_cluster, good).swap(item)
    assert swap is not None
    assert swap[0].accession == "E"


def test_pairs_are_swapped_for_pairs_with_the_other_answer() -> None:
    def pair(name: str, answer: str, question: str = "Same?") -> Item:
        proteins = (Protein(f"{name}1", f"AC{name}"), Protein(f"{name}2", f"DE{name}"))
        return make_item(name, proteins, question, f"{answer.title()}.", kind="pair", facts=(f"yes_no={answer}",))

    item, alike, other, elsewhere = pair("F", "yes"), pair("G", "yes"), pair("H", "no"), pair("I", "no", "Bound?")
    assert swapper_of(item, alike, elsewhere).swap(item) is None
    swap = swapper_of(item, alike, elsewhere, other).swap(item)
    assert swap is not None
    assert [protein.accession for protein in swap] == ["H1", "H2"]


def test_shuffling_keeps_the_composition_and_repeats() -> None:
    sequence = "MKTAYIAKQRQISFVKSHFSRQ" * 3
    mixed = shuffled(sequence, "key")
    assert mixed != sequence
    assert Counter(mixed) == Counter(sequence)
    assert mixed == shuffled(sequence, "key") != shuffled(sequence, "other key")


def test_no_protein_means_a_prompt_without_placeholder(world: World) -> None:
    corpus = world.corpus
    requests = build_requests(corpus.test, Swapper((*corpus.test, *corpus.train), corpus.vocabulary, 0), 0)
    assert Counter(request.control for request in requests) == dict.fromkeys(
        ("true", "swapped", "shuffled", "none"), len(corpus.test)
    )
    for request in requests:
        content = request.messages[-1]["content"]
        assert content.count(PLACEHOLDER) == len(request.sequences) == (request.control != "none")
        assert content.endswith("?")
        assert not content.startswith("\n")


@pytest.mark.parametrize("order", [1, -1])
def test_controls_do_not_depend_on_the_order_of_items(world: World, order: int) -> None:
    corpus = world.corpus
    swapper = Swapper((*corpus.test, *corpus.train)[::order], corpus.vocabulary, 0)
    requests = {(r.item_id, r.control): r.accessions for r in build_requests(corpus.test, swapper, 0)}
    reference = Swapper((*corpus.test, *corpus.train), corpus.vocabulary, 0)
    assert requests == {(r.item_id, r.control): r.accessions for r in build_requests(corpus.test, reference, 0)}
