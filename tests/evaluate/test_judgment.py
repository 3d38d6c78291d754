"""Readers and guessers as plain functions: the table and the verdict must tell them apart."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from protein2text.evaluate.controls import Request, Swapper, build_requests
from protein2text.evaluate.evaluation_config import EvaluationConfig
from protein2text.evaluate.groups import identity_bin, length_bin
from protein2text.evaluate.items import Corpus
from protein2text.evaluate.judgment import Judgment, collect, judge_answers
from protein2text.evaluate.report import build_report
from protein2text.evaluate.scores import score_answer
from protein2text.proteins import Protein
from tests.evaluate.conftest import World, build_world, make_corpus, make_item

CONFIG = EvaluationConfig(resamples=1000)
Answer = Callable[[Request], str]


def reader(world: World) -> Answer:
    """Knows the facts of every natural sequence; guesses when shown anything else."""

    def answer(request: Request) -> str:
        question = request.messages[-1]["content"]
        facts = world.facts.get(request.sequences[0]) if request.sequences else None
        ligand, place = facts or ("ATP", "nucleus")
        if "Does it bind" in question:
            return f"Yes, it binds {ligand}." if f"bind {ligand}?" in question else f"No, it binds {ligand}."
        return f"It binds {ligand}." if "What" in question else f"It is in the {place}."

    return answer


def guesser(request: Request) -> str:
    question = request.messages[-1]["content"]
    if "Does it bind" in question:
        return "No, it binds ATP."
    return "It binds ATP." if "What" in question else "It is in the nucleus."


def judged(corpus: Corpus, answer: Answer, config: EvaluationConfig = CONFIG) -> Judgment:
    requests: Sequence[Request] = build_requests(
        corpus.test, Swapper((*corpus.test, *corpus.train), corpus.vocabulary, 0), 0
    )
    return judge_answers(corpus, collect(requests, [answer(request) for request in requests]), config)


def mean(judgment: Judgment, row: str, metric: str) -> float:
    return next(found for found in judgment.rows if found.name == row).estimates[metric].mean


def test_a_reader_reads(world: World) -> None:
    judgment = judged(world.corpus, reader(world))
    assert judgment.verdict.outcome == "reads the protein"
    assert judgment.primary == "facts"
    assert (
        mean(judgment, "true", "facts") == mean(judgment, "true", "yes_no") == mean(judgment, "true", "rouge_l") == 1.0
    )
    assert mean(judgment, "swapped", "facts") == mean(judgment, "swapped", "yes_no") == 0.0
    # Shuffled or absent, it guesses: ligands cycle through four, places through three.
    assert mean(judgment, "shuffled", "facts") == mean(judgment, "none", "facts") == pytest.approx((1 / 4 + 1 / 3) / 2)


def test_baselines_score_what_the_world_was_built_for(world: World) -> None:
    judgment = judged(world.corpus, guesser)
    assert mean(judgment, "neighbour", "facts") == 0.5  # the place of its relative is right, the ligand never
    assert mean(judgment, "prior", "facts") == pytest.approx((1 / 4 + 1 / 3) / 2)
    assert 0.1 < mean(judgment, "random", "facts") < 0.5
    row = next(row for row in judgment.rows if row.name == "neighbour")
    assert row.num_fallback == sum(item.kind == "yes_no" for item in world.corpus.test) - shared_wording(world)


def shared_wording(world: World) -> int:
    """Yes/no items whose relative was asked in the same words; only those can be copied."""
    asked = {item.item_id.removeprefix("TRAIN"): item.question for item in world.corpus.train if item.kind == "yes_no"}
    test = {item.item_id.removeprefix("TEST"): item.question for item in world.corpus.test if item.kind == "yes_no"}
    return sum(asked[key] == question for key, question in test.items())


def test_a_guesser_does_not_read(world: World) -> None:
    verdict = judged(world.corpus, guesser, CONFIG.model_copy(update={"delta": 0.2})).verdict
    assert verdict.outcome == "does not read the protein"
    assert verdict.difference.mean == 0.0


def test_few_equal_answers_do_not_rule_out_a_small_effect(world: World) -> None:
    verdict = judged(world.corpus, guesser).verdict
    assert verdict.outcome == "cannot tell"
    assert verdict.units_needed is not None
    assert 100 < verdict.units_needed < 250


def test_a_reader_of_few_proteins_cannot_be_told(world: World) -> None:
    full, few = reader(world), {item.proteins[0].sequence for item in world.corpus.test[:3]}

    def answer(request: Request) -> str:
        return full(request) if set(request.sequences) & few else guesser(request)

    verdict = judged(world.corpus, answer).verdict
    assert verdict.outcome == "cannot tell"
    assert verdict.units_needed is not None
    assert verdict.units_needed > 24


def test_few_proteins_never_give_a_verdict() -> None:
    world = build_world(num_test=6)
    verdict = judged(world.corpus, reader(world)).verdict
    assert verdict.outcome == "cannot tell"
    assert verdict.units_needed == CONFIG.min_units


def test_questions_of_one_cluster_are_one_unit(world: World) -> None:
    clustered = [
        dataclasses.replace(item, unit=f"cluster {number // 9}") for number, item in enumerate(world.corpus.test)
    ]
    judgment = judged(make_corpus(clustered, list(world.corpus.train), "by_cluster"), reader(world))
    assert judgment.unit == "clusters"
    assert judgment.verdict.difference.num_units == 8
    assert judgment.verdict.outcome == "cannot tell"


def test_free_text_is_judged_by_rouge(world: World) -> None:
    def stripped(items: Sequence) -> list:
        return [dataclasses.replace(item, facts=None) for item in items if item.kind == "binds"]

    corpus = make_corpus(stripped(world.corpus.test), stripped(world.corpus.train))
    judgment = judged(corpus, reader(world))
    assert judgment.primary == "rouge_l"
    assert {group["metric"] for table in judgment.groups for group in table["groups"]} == {"rouge_l"}
    assert np.isnan(judgment.matrices["true"]["facts"]).all()


def test_items_without_a_swap_leave_the_comparison(world: World) -> None:
    lonely = make_item(
        "lonely", world.corpus.test[0].proteins, "Why?", "Because.", kind="why", facts=("reason=because",)
    )
    corpus = make_corpus([*world.corpus.test, lonely], list(world.corpus.train))
    judgment = judged(corpus, reader(world))
    assert "lonely" not in judgment.answers["swapped"]
    assert "lonely" in judgment.answers["true"]
    swapped = next(row for row in judgment.rows if row.name == "swapped")
    assert swapped.difference is not None
    assert swapped.difference.num_items == sum(item.is_open_with_facts for item in world.corpus.test)


def test_a_closed_answer_without_yes_or_no_is_wrong_and_counted(world: World) -> None:
    closed = next(item for item in world.corpus.test if item.kind == "yes_no")
    assert score_answer(closed, "Perhaps.", world.corpus.vocabulary)["yes_no"] == 0.0
    row = next(row for row in judged(world.corpus, lambda request: "Perhaps.").rows if row.name == "true")
    assert row.num_unparsed == sum(item.polarity is not None for item in world.corpus.test)
    assert row.estimates["yes_no"].mean == 0.0


def test_every_group_shows_its_own_metric_and_size(world: World) -> None:
    tables = {table["heading"]: table["groups"] for table in judged(world.corpus, reader(world)).groups}
    kinds = {group["group"]: group for group in tables["Kind"]}
    assert {name: group["metric"] for name, group in kinds.items()} == {
        "binds": "facts",
        "location": "facts",
        "yes_no": "yes_no",
    }
    assert all(group["difference"].mean == 1.0 for group in kinds.values())
    assert [group["group"] for group in tables["Identity"]] == ["no hit"]
    assert [group["group"] for group in tables["Residues"]] == ["up to 512"]


def test_a_kind_that_is_not_read_is_named_beside_one_that_is(world: World) -> None:
    full = reader(world)

    def answer(request: Request) -> str:
        return guesser(request) if "Does it bind" in request.messages[-1]["content"] else full(request)

    judgment = judged(world.corpus, answer)
    outcomes = {group["group"]: group["outcome"] for group in judgment.groups[0]["groups"]}
    assert judgment.verdict.outcome == outcomes["binds"] == outcomes["location"] == "reads the protein"
    assert outcomes["yes_no"] == "cannot tell"
    report = build_report(judgment, world.corpus, CONFIG, model={"name": "m"}, data={})
    assert "Not on every kind of question: yes_no (cannot tell)." in report["notices"]


@pytest.mark.parametrize(
    ("identity", "name"),
    [
        (None, "no hit"),
        (0.0, "below 30 %"),
        (0.2999, "below 30 %"),
        (0.3, "30-40 %"),
        (0.55, "50-70 %"),
        (1.0, "90 % and above"),
    ],
)
def test_identities_are_binned_at_their_lower_ends(world: World, identity: float | None, name: str) -> None:
    assert identity_bin(dataclasses.replace(world.corpus.test[0], identity=identity)) == name


@pytest.mark.parametrize(
    ("length", "name"), [(1, "up to 512"), (512, "up to 512"), (513, "513-1,022"), (5000, "above 2,048")]
)
def test_lengths_are_binned_by_the_longest_protein(length: int, name: str) -> None:
    proteins = (Protein("A", "A"), Protein("B", "A" * length))
    assert length_bin(make_item("a", proteins, "Q?", "A.", kind="k")) == name


def test_groups_stand_in_the_order_of_their_scale(world: World) -> None:
    identities = [0.95, None, 0.1, 0.45]
    items = [dataclasses.replace(item, identity=identities[n % 4]) for n, item in enumerate(world.corpus.test)]
    judgment = judged(make_corpus(items, list(world.corpus.train)), guesser)
    assert [group["group"] for group in judgment.groups[1]["groups"]] == [
        "no hit",
        "below 30 %",
        "40-50 %",
        "90 % and above",
    ]
