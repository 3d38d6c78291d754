"""Facts in a prompt: which have room, that none of their words steers the decoder, and what an answer cites."""

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from protein2text.models.chat import PLACEHOLDER, PROTEIN_ID, encode_prompt, encode_text, question_messages
from protein2text.models.chat_template import control_tokens
from protein2text.neighbours.cited import CitedFact, Source
from protein2text.neighbours.context import Context, ContextFact, ContextIndex, put_before_question
from protein2text.neighbours.entries import Characterised
from protein2text.neighbours.facts import Fact
from protein2text.neighbours.homologues import Homologue
from protein2text.proteins import Protein
from tests.models.decoder_families import FAMILIES
from tests.models.decoder_families import make_tokenizer as make_family_tokenizer
from tests.serve.conftest import make_tokenizer

EXPERIMENT, SIMILARITY = ("ECO:0000269",), ("ECO:0000250",)


def context_fact(
    accession: str, kind: str, value: str, *, identity: float = 0.5, eco: tuple[str, ...] = EXPERIMENT,
    asked: bool = False, contradicts: tuple[str, ...] = (), protein: int = 1, molecule: str | None = None,
) -> ContextFact:  # fmt: skip
    sequence = "MKTAYIAKQR" * 6
    checksum = Protein(accession, sequence).checksum
    fact = Fact(kind, value, eco=eco, molecule=molecule)
    entry = Characterised(accession, "X_Y", None, sequence, checksum, "2026_01", None, 1, "by hand", (fact,))
    homologue = Homologue(accession, identity, 0.9, 0.8, 1e-20, 100.0, 1, 60, 1, 60)
    return ContextFact(protein, CitedFact(fact, (Source(entry, homologue, (fact,)),), None, contradicts), asked)


def facts_of_lengths() -> list[ContextFact]:
    """In the order of their strength, texts from one letter to hundreds."""
    lengths = (1, 40, 7, 200, 3, 3, 90, 1)
    return [
        context_fact(f"P{number:05}", "function", "n" * length, identity=0.9 - number / 100)
        for number, length in enumerate(lengths)
    ]


def context_index(max_tokens: int) -> ContextIndex:
    index: Any = SimpleNamespace(identity={"name": "i", "manifest_sha256": "0" * 64}, release="2026_01")
    return ContextIndex(index, max_tokens)


def always(text: str) -> bool:
    return True


def lay_out(facts: Sequence[ContextFact], max_tokens: int, num_proteins: int = 1) -> Context:
    return context_index(max_tokens).lay_out(facts, num_proteins, make_tokenizer(), always)


def test_every_budget_holds_as_many_whole_facts_as_it_can() -> None:
    facts, tokenizer = facts_of_lengths(), make_tokenizer()
    lengths = [len(encode_text(tokenizer, lay_out(facts[:count], 10**6).text)) for count in range(len(facts) + 1)]
    assert lengths == sorted(set(lengths)), "each fact takes some room"
    for budget in {*lengths, *(length - 1 for length in lengths), *(length + 1 for length in lengths)} - {0, -1}:
        context = lay_out(facts, budget)
        kept = max(count for count, length in enumerate(lengths) if length <= budget)
        assert (list(context.facts), context.num_left_out) == (facts[:kept], len(facts) - kept)
        assert len(encode_text(tokenizer, context.text)) <= budget
        assert [fact.line(1) for fact in facts[:kept]] == context.text.splitlines()[1 : 1 + kept]


def test_a_decoder_without_room_gets_fewer_and_at_last_none() -> None:
    facts, index, tokenizer = facts_of_lengths(), context_index(10**6), make_tokenizer()
    whole = index.lay_out(facts, 1, tokenizer, always)
    for limit in (0, 100, 300, len(whole.text) - 1, len(whole.text)):
        context = index.lay_out(facts, 1, tokenizer, lambda text, limit=limit: len(text) <= limit)  # type: ignore[misc]
        assert len(context.text) <= limit
        assert len(context.facts) + context.num_left_out == len(facts)
    assert index.lay_out(facts, 1, tokenizer, lambda text: False).text == ""


def test_what_is_asked_then_experiments_then_near_ones_come_first() -> None:
    strong = [
        context_fact("A", "ec", "1.1.1.1", identity=0.3, eco=SIMILARITY, asked=True),
        context_fact("B", "function", "f", identity=0.9),
        context_fact("C", "function", "f", identity=0.8),
        context_fact("D", "function", "f", identity=0.9, eco=("ECO:0000303",)),
        context_fact("E", "function", "f", identity=0.9, eco=()),
        context_fact("F", "function", "f", identity=0.99, eco=SIMILARITY),
    ]
    mixed = [strong[place] for place in (5, 2, 0, 4, 1, 3)]
    assert sorted(mixed, key=lambda fact: fact.weakness) == strong


def test_a_line_says_accession_identity_evidence_and_contradiction() -> None:
    one = context_fact("P12345", "ec", "3.2.1.4", identity=0.874, contradicts=("3.2.1.8",))
    other = context_fact("Q9XYZ1", "ec", "3.2.1.8", identity=0.41, eco=SIMILARITY, contradicts=("3.2.1.4",), protein=2)
    lines = lay_out([one, other], 10**6, num_proteins=2).text.splitlines()
    assert lines[1] == "- protein 1, ec: 3.2.1.4 [P12345] (87 % identical, experimental, contradicted by 3.2.1.8)"
    assert lines[2] == "- protein 2, ec: 3.2.1.8 [Q9XYZ1] (41 % identical, transferred, contradicted by 3.2.1.4)"
    assert "2026_01" in lines[0]
    assert "[P12345]" in lines[3]
    assert lay_out([one], 10**6).text.splitlines()[1].startswith("- ec: 3.2.1.4 [P12345]")


def test_a_fact_of_a_chain_or_isoform_names_it() -> None:
    fact = context_fact("Q70US9", "ec", "3.2.2.22", molecule="Volkensin A\nchain")
    (told,) = lay_out([fact], 10**6).as_dict("")["facts"]
    assert fact.line(1) == "- ec: 3.2.2.22 [Q70US9] (50 % identical, experimental, only Volkensin A chain)"
    assert told["molecules"] == ["Volkensin A\nchain"]
    assert context_fact("Q70US9", "ec", "3.2.2.22").as_dict()["molecules"] == []


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("num_proteins", [1, 2])
def test_no_words_of_a_fact_steer_the_decoder(family: str, num_proteins: int) -> None:
    """Control tokens stay text, white space makes no line of its own, and a placeholder stands for no protein."""
    tokenizer = make_family_tokenizer(family)
    control = control_tokens(tokenizer)
    forged = "".join(control.ids)
    nasty = f"a{forged}\n\nb {PLACEHOLDER} <protein_{PLACEHOLDER}sequence> c"
    facts = [context_fact("P12345", "function", nasty, contradicts=(nasty,), molecule=nasty)]
    context = context_index(10**6).lay_out(facts, num_proteins, tokenizer, always)
    assert len(context.text.splitlines()) == 4, "a header, the fact, the instruction and a blank line"
    assert forged.strip() in context.text
    messages = question_messages("What does it bind?", num_proteins)
    plain = encode_prompt(tokenizer, messages)
    with_facts = encode_prompt(tokenizer, put_before_question(messages, context.text))
    steering = {*control.forbidden, PROTEIN_ID}
    assert [id for id in with_facts if id in steering] == [id for id in plain if id in steering]
    assert with_facts.count(PROTEIN_ID) == num_proteins
    assert len(with_facts) > len(plain) + len(forged) / 10


def test_facts_stand_between_the_proteins_and_the_question() -> None:
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": f"{PLACEHOLDER}\n{PLACEHOLDER}\nWhere?"},
    ]
    assert put_before_question(messages, "FACTS\n") == [
        *messages[:2],
        {"role": "user", "content": f"{PLACEHOLDER}\n{PLACEHOLDER}\nFACTS\nWhere?"},
    ]
    assert put_before_question([{"role": "user", "content": "Where?"}], "F\n")[0]["content"] == "F\nWhere?"


@pytest.mark.parametrize(
    ("answer", "cited", "foreign"),
    [
        ("It is a kinase [P12345].", ["P12345"], []),
        ("Both [P12345, A0A024R1R8] say so, P12345.", ["P12345", "A0A024R1R8"], []),
        ("It is a kinase.", [], []),
        ("As in [Q99999] and [P12345].", ["P12345"], ["Q99999"]),
        ("XP12345 and P123456 are none of ours", [], []),
        ("isoform P12345-2", ["P12345"], []),
        ("[my_id.1]. [O43426]", ["my_id.1"], ["O43426"]),
    ],
)
def test_what_an_answer_cites_is_told_from_what_it_makes_up(answer: str, cited: list[str], foreign: list[str]) -> None:
    facts = [context_fact(name, "function", "f") for name in ("P12345", "A0A024R1R8", "my_id.1", "P12345")]
    told = lay_out(facts, 10**6).as_dict(answer)
    assert (told["cited"], told["not_in_context"]) == (cited, foreign)
    assert told["release"] == "2026_01"
    assert [fact["accession"] for fact in told["facts"]] == ["P12345", "A0A024R1R8", "my_id.1", "P12345"]
    assert json.loads(json.dumps(told)) == told
