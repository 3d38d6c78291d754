import random

from protein2text.evaluate.baselines import NeighbourCopy, OtherText, Prior, medoid
from protein2text.evaluate.items import Item
from protein2text.evaluate.metrics import rouge_l
from protein2text.evaluate.neighbours import Neighbour, nearest
from protein2text.proteins import Protein
from tests.evaluate.conftest import World, make_item


def test_the_nearest_neighbour_is_the_sequence_it_was_mutated_from(world: World) -> None:
    queries = [item.proteins[0].sequence for item in world.corpus.test]
    targets = [item.proteins[0].sequence for item in world.corpus.train]
    found = nearest(queries, targets)
    for query, target in zip(queries, targets, strict=True):
        assert found[query][0].sequence == target
        same = sum(a == b for a, b in zip(query, target, strict=True)) / len(query)
        assert abs(found[query][0].identity - same) < 0.1
    assert nearest(["ACDEFGHIKL"], [])["ACDEFGHIKL"] == []


def single(name: str, kind: str, question: str, gold: str, facts: tuple[str, ...] | None = None) -> Item:
    return make_item(name, (Protein(name, f"SEQ{name[0]}"),), question, gold, kind=kind, facts=facts)


def test_copying_takes_the_nearest_record_of_the_same_question() -> None:
    train = [
        single("A1", "binds", "Which ligand?", "It binds ATP."),
        single("A2", "process", "Why?", "For growth."),
        single("B1", "binds", "Which ligand?", "It binds zinc."),
        single("B2", "location", "Where?", "In the nucleus."),
    ]
    near = {"SEQT": [Neighbour("SEQB", 0.6), Neighbour("SEQA", 0.4)]}
    copier = NeighbourCopy(train, near)
    facts = ("binds=heme",)
    assert copier.answer(single("T", "binds", "What does it bind?", "?", facts)) == "It binds zinc."
    assert copier.answer(single("T", "location", "Where?", "?", facts)) == "In the nucleus."
    assert copier.answer(single("T", "process", "Why?", "?", facts)) == "For growth."
    assert copier.answer(single("T", "kind", "What is it?", "?", facts)) is None
    assert NeighbourCopy(train, {}).answer(single("T", "binds", "What?", "?", facts)) is None


def test_free_text_is_copied_from_the_nearest_protein_whatever_it_answers() -> None:
    train = [
        single("A1", "why", "Why?", "of the farther one"),
        single("B1", "function", "What does it do?", "a same kind"),
        single("B2", "description", "Describe it.", "another kind"),
    ]
    copier = NeighbourCopy(train, {"SEQT": [Neighbour("SEQB", 0.6), Neighbour("SEQA", 0.4)]})
    assert copier.answer(single("T", "function", "Its function?", "?")) == "a same kind"
    assert copier.answer(single("T", "description", "Describe it.", "?")) == "another kind"
    assert copier.answer(single("T", "why", "Why?", "?")) in {"a same kind", "another kind"}


def test_a_yes_is_copied_only_from_the_same_wording() -> None:
    train = [
        single("A1", "yes_no", "Does it bind zinc?", "Yes, it binds zinc.", ("yes_no=yes",)),
        single("B1", "yes_no", "Does it bind ATP?", "No, it binds zinc.", ("yes_no=no",)),
    ]
    copier = NeighbourCopy(train, {"SEQT": [Neighbour("SEQB", 0.6), Neighbour("SEQA", 0.4)]})
    assert copier.answer(single("T", "yes_no", "Does it bind zinc?", "Yes.", ("yes_no=yes",))) == "Yes, it binds zinc."
    assert copier.answer(single("T", "yes_no", "Does it bind heme?", "Yes.", ("yes_no=yes",))) is None


def test_a_pair_is_copied_from_the_nearest_pair_in_either_order() -> None:
    def pair(name: str, first: str, second: str, gold: str) -> Item:
        return make_item(name, (Protein("P", first), Protein("Q", second)), "Same?", gold, kind="pair")

    train = [pair("one", "AA", "CC", "far"), pair("two", "DD", "AA", "near"), pair("three", "DD", "EE", "half")]
    hits = {"TT": [Neighbour("AA", 0.9)], "SS": [Neighbour("DD", 0.9), Neighbour("CC", 0.5)]}
    assert NeighbourCopy(train, hits).answer(pair("test", "TT", "SS", "?")) == "near"


def test_the_prior_is_the_most_frequent_assertion_in_its_most_frequent_words() -> None:
    golds = ["It binds ATP.", "Binds ATP.", "Binds ATP.", "It binds zinc.", "It binds zinc."]
    train = [
        single(f"A{number}", "binds", "Which?", gold, (f"binds={'ATP' if 'ATP' in gold else 'zinc'}",))
        for number, gold in enumerate(golds)
    ]
    train += [single(f"B{number}", "yes_no", "Is it?", f"No, {number}.", ("yes_no=no",)) for number in range(3)]
    train += [single(f"C{number}", "yes_no", "Is it?", "Yes.", ("yes_no=yes",)) for number in range(2)]
    prior = Prior(train, 0)
    assert prior.answer(single("T", "binds", "?", "?")) == "Binds ATP."
    assert prior.answer(single("T", "yes_no", "?", "?")).startswith("No")  # most frequent polarity, not wording
    assert prior.answer(single("T", "never seen", "?", "?")) != ""
    assert Prior([], 0).answer(single("T", "binds", "?", "?")) == ""


def test_the_medoid_of_free_texts_is_the_most_central_one() -> None:
    texts = ["a b c d", "a b c e", "a b c d e", "x y z", "a q"]
    assert medoid(texts, random.Random(0)) == max(texts, key=lambda text: sum(rouge_l(text, other) for other in texts))
    many = [f"{number} words" for number in range(400)]
    assert medoid(many, random.Random(0)) in many


def test_a_random_text_is_anothers_and_repeats() -> None:
    train = [single(f"A{number}", "binds", "Which?", f"text {number}") for number in range(50)]
    item = single("T", "binds", "?", "?")
    assert OtherText(train, 0).answer(item) == OtherText(train, 0).answer(item)
    assert len({OtherText(train, seed).answer(item) for seed in range(20)}) > 5
    assert OtherText([], 0).answer(item) is None
