from pathlib import Path
from typing import Any

import pytest

from protein2text.data.records import Record, iter_local, make_record
from protein2text.errors import MissingFile, ProteinToTextError, RecordError
from protein2text.evaluate.corpus import DESCRIPTION_KIND, OTHER_KIND, draw, load_corpus
from protein2text.evaluate.evaluation_config import EvaluationConfig
from protein2text.evaluate.items import Corpus
from protein2text.models.chat import DESCRIPTION_REQUESTS
from protein2text.proteins import Protein
from tests.evaluate.conftest import World
from tests.evaluate.stored import question_record, write_corpus, write_sample_world, write_sides

A, B, C, D = (Protein(name, name * 12) for name in "ACDE")
CONFIG = EvaluationConfig()
SIDES = [
    {"accession": "A", "split": "train", "cluster": "one"},
    {"accession": "C", "split": "test", "cluster": "two", "max_identity": 0.45},
    {"accession": "D", "split": "test", "cluster": "three", "max_identity": 0.9},
    {"accession": "E", "split": "validation", "cluster": "four"},
]


def load(folder: Path, records: list[Record], sides: list[dict[str, Any]] = SIDES, **settings: Any) -> Corpus:
    rows = iter_local([write_corpus(folder / "corpus", records)])
    return load_corpus(rows, write_sides(folder / "split", sides), CONFIG.model_copy(update=settings))


def ask(name: str, proteins: list[Protein], question: str = "What does it bind?", **known: Any) -> Record:
    return question_record(name, proteins, question, known.pop("answer", "It binds ATP."), **known)


def test_questions_of_test_proteins_are_the_items_and_mixed_ones_belong_to_nobody(tmp_path: Path) -> None:
    records = [ask("a", [A]), ask("b", [B]), ask("bc", [B, C]), ask("ab", [A, B]), ask("d", [D])]
    records.append(make_record("B", [B], source="made", text="Binds ATP."))
    corpus = load(tmp_path, records)
    assert [item.item_id for item in corpus.test] == ["b", "bc"]
    assert [item.item_id for item in corpus.train] == ["a"]
    assert corpus.num_mixed == 1


def test_an_item_carries_its_cluster_identity_and_prompt(tmp_path: Path) -> None:
    known = {"question_kind": "binds", "facts": ["binds=ATP"]}
    pair, single = load(tmp_path, [ask("bc", [B, C], **known), ask("b", [B]), ask("a", [A])]).test
    assert pair.identity == pytest.approx(0.9)  # the nearer of its two proteins
    assert single.identity == pytest.approx(0.45)
    assert (pair.unit, single.unit) == ("two", "two")
    assert pair.question == single.question == "What does it bind?"
    assert pair.messages == ({"role": "user", "content": "<protein_sequence>\n<protein_sequence>\nWhat does it bind?"},)
    assert pair.gold == "It binds ATP."
    assert (pair.kind, pair.facts) == ("binds", {"binds": frozenset({"atp"})})
    assert single.facts is None


def test_descriptions_are_items_where_there_are_no_questions(tmp_path: Path) -> None:
    records = [make_record(p.accession, [p], source="made", text=f"About {p.accession}.") for p in (A, B, C)]
    corpus = load(tmp_path, records)
    assert [(item.item_id, item.kind, item.gold) for item in corpus.test] == [
        ("C", DESCRIPTION_KIND, "About C."),
        ("D", DESCRIPTION_KIND, "About D."),
    ]
    assert corpus.test[0].question in DESCRIPTION_REQUESTS


def test_a_frequent_wording_is_a_kind_where_none_is_given(tmp_path: Path) -> None:
    records = [ask(f"b{n}", [B]) for n in range(5)] + [ask("c", [C], question="Why?"), ask("a", [A])]
    assert {item.kind for item in load(tmp_path, records).test} == {"What does it bind?", OTHER_KIND}


def test_a_draw_does_not_depend_on_order_and_changes_with_the_seed(world: World) -> None:
    items = list(world.corpus.test)
    drawn = draw(items, 10, 0)
    assert len(drawn) == 10
    assert {item.item_id for item in draw(items[::-1], 10, 0)} == {item.item_id for item in drawn}
    assert draw(items, 10, 1) != drawn
    assert draw(items, None, 0) == draw(items, 1000, 0) == items


def test_the_draw_is_told(tmp_path: Path) -> None:
    corpus = load(tmp_path, [ask(f"b{n}", [B]) for n in range(9)] + [ask("a", [A])], max_items=4)
    assert (len(corpus.test), corpus.num_test_before_draw) == (4, 9)


def test_a_split_without_test_records_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="test side"):
        load(tmp_path, [ask("a", [A])])


def test_a_protein_that_the_split_does_not_know_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ProteinToTextError, match="UNKNOWN"):
        load(tmp_path, [ask("u", [Protein("UNKNOWN", "MK")])])


def test_bad_records_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"b, facts: .*'ATP'"):
        load(tmp_path / "facts", [ask("b", [B], facts=["ATP"])])
    unanswered = ask("b", [B])
    assert unanswered["messages"] is not None
    unanswered["messages"].pop()
    with pytest.raises(RecordError, match="b, messages: 1 turns"):
        load(tmp_path / "turns", [unanswered])


def test_the_sample_world_is_read_whole(tmp_path: Path) -> None:
    data = write_sample_world(tmp_path)
    corpus = load_corpus(iter_local(data["corpus"]), data["split"], CONFIG)
    assert {item.kind for item in corpus.test} == {"binds", "kind", "location", "process", "yes_no", "pair"}
    assert all(item.polarity is not None for item in corpus.test if item.kind in {"yes_no", "pair"})
    assert all(item.is_open_with_facts for item in corpus.test if item.kind not in {"yes_no", "pair"})
    held_out = {item.unit for item in corpus.test}
    assert not held_out & {item.unit for item in corpus.train}
