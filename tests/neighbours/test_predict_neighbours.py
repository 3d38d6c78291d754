"""A file of questions answered by an index: its rows, what resumes and what is refused; and facts in a model's rows."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from protein2text.answerers import AnswerConfig, Query, open_answerer
from protein2text.cli import app
from protein2text.errors import ResumeMismatch
from protein2text.generate.predict import predict
from protein2text.models.chat import PROTEIN_ID, encode_prompt, encode_text, question_messages
from protein2text.models.generation import Decoding
from protein2text.models.protein_to_text import ProteinToText
from protein2text.neighbours import index_answerer
from protein2text.neighbours.context import open_context, put_before_question
from protein2text.neighbours.facts import Fact
from protein2text.neighbours.index_folder import NeighbourIndex
from protein2text.proteins import Protein
from tests.generate.conftest import read, save_model, write
from tests.neighbours.made_index import entry, make_index

RELEASE = "2026_01"
NUM_ENTRIES = 12
EXPERIMENT, SIMILARITY = ("ECO:0000269",), ("ECO:0000250",)


def residues(number: int) -> str:
    return "".join(random.Random(f"member {number}").choices("ACDEFGHIKLMNPQRSTVWY", k=100 + number))


def relative(number: int) -> str:
    """A protein that no entry holds, with three quarters of an entry's residues."""
    rng = random.Random(f"relative {number}")
    return "".join(rng.choice("AGSTLV") if rng.random() < 0.25 else letter for letter in residues(number))


def ec(number: int) -> str:
    return f"3.2.1.{number + 1}"


def facts(number: int) -> list[Fact]:
    eco = EXPERIMENT if number % 2 else SIMILARITY
    return [Fact("ec", ec(number), None, eco), Fact("location", "Secreted", "SL-0243", eco)]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> NeighbourIndex:
    """Each sequence under one accession, and that of entry 1 under another with another EC number."""
    folder = tmp_path_factory.mktemp("index") / "small"
    entries = [entry(f"P{number:05}", residues(number), *facts(number)) for number in range(NUM_ENTRIES)]
    return make_index(folder, [*entries, entry("Q00001", residues(1), Fact("ec", "1.1.1.1", None, EXPERIMENT))])


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"), seed=1)


@pytest.fixture(scope="module")
def model(model_folder: Path) -> ProteinToText:
    return ProteinToText.from_pretrained(model_folder)


def record(name: str, sequences: list[str], question: str) -> dict[str, Any]:
    human = "<protein_sequence>\n" * len(sequences) + question
    one = len(sequences) == 1
    return {
        "long_format_id": name,
        "id": f"{name}_0" if one else [f"{name}_{place}" for place in range(len(sequences))],
        "amino_seq": sequences[0] if one else sequences,
        "conversations": [{"from": "human", "value": human}, {"from": "gpt", "value": "The truth."}],
    }


QUESTION = "What is the EC number of this protein?"


def records() -> list[dict[str, Any]]:
    """Relatives of every entry, and four questions that no homologue answers."""
    asked = [record(f"r{number}", [relative(number)], QUESTION) for number in range(NUM_ENTRIES)]
    asked.insert(3, record("unrelated", [residues(99)], QUESTION))
    asked.insert(6, record("pair", [relative(2), relative(4)], QUESTION))
    asked.insert(9, record("outside", [relative(2)], "Who discovered this protein, and why?"))
    return [*asked, record("absent", [relative(2)], "Which cofactor does it need?")]


def named(index: NeighbourIndex) -> str:
    return f"neighbours:{index.folder}"


def test_rows_have_the_published_layout_and_facts_with_their_sources(index: NeighbourIndex, tmp_path: Path) -> None:
    predict(write(tmp_path / "in.json", records()), named(index), tmp_path / "out.jsonl")
    rows = {row["long_format_id"]: row for row in read(tmp_path / "out.jsonl")}
    assert list(rows) == [asked["long_format_id"] for asked in records()]
    for asked in records():
        row = rows[asked["long_format_id"]]
        sequences = asked["amino_seq"] if isinstance(asked["amino_seq"], list) else [asked["amino_seq"]]
        assert list(row)[:4] == ["long_format_id", "Prompt", "Ground Truth", "Predicted"]
        assert row["Ground Truth"] == "The truth."
        assert row["sequence_sha256"] == [Protein("", letters).checksum for letters in sequences]
        assert row["model"] == {**index.identity, "release": RELEASE}
        assert not {"decoding", "compat", "record_seed", "read_as", "finish"} & set(row), "nothing was decoded"
        assert row["neighbours"]["release"] == RELEASE
    for number in range(NUM_ENTRIES):
        told = rows[f"r{number}"]["neighbours"]
        assert told["status"] == "answered"
        stated = {(source["accession"], fact["value"]) for fact in told["facts"] for source in fact["sources"]}
        assert stated == {(f"P{number:05}", ec(number)), *([("Q00001", "1.1.1.1")] if number == 1 else [])}
        assert ec(number) in rows[f"r{number}"]["Predicted"]
    statuses = {name: rows[name]["neighbours"]["status"] for name in ("unrelated", "pair", "outside", "absent")}
    assert statuses == {
        "unrelated": "no_homologue", "pair": "outside_grammar", "outside": "outside_grammar", "absent": "no_such_fact",
    }  # fmt: skip
    assert rows["unrelated"]["Predicted"] == f"no characterised homologue in {RELEASE}"


def test_a_prediction_goes_on_where_it_was_cut_and_with_the_same_index_alone(
    index: NeighbourIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = [record("dna", ["ACGT" * 10], QUESTION), record("letter", ["MK1"], QUESTION), {"id": "x"}]
    source, output = write(tmp_path / "in.json", [*records(), *bad]), tmp_path / "out.jsonl"
    whole = predict(source, named(index), output)
    assert (whole.answered, whole.rejected) == (len(records()), 3)
    refused = read(tmp_path / "out.jsonl.rejected.jsonl")
    assert [row["reason"] for row in refused] == ["nucleotides", "invalid_residue", "missing_key"]
    lines = output.read_bytes().splitlines(keepends=True)
    output.write_bytes(b"".join(lines[:5]) + lines[5][:40])
    monkeypatch.setattr(index_answerer, "QUERIES_AT_ONCE", 3)
    rest = predict(source, named(index), output)
    assert (rest.answered, rest.already_answered) == (len(records()) - 5, 5)
    assert output.read_bytes() == b"".join(lines), "neither the cut nor how many are searched together shows"
    other = make_index(tmp_path / "other", [entry("P1", residues(1), *facts(1))])
    with pytest.raises(ResumeMismatch, match="manifest_sha256"):
        predict(source, named(other), output)


def test_the_command_takes_an_index_and_refuses_options_of_models(index: NeighbourIndex, tmp_path: Path) -> None:
    source = write(tmp_path / "in.json", records())
    common = ["predict", "--input", str(source), "--model", named(index), "--output", str(tmp_path / "out.jsonl")]
    result = CliRunner().invoke(app, [*common, "--json"])
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout)
    assert (summary["answered"], summary["with_an_answer"], summary["searches"]) == (len(records()), NUM_ENTRIES, 1)
    for option in (["--compat"], ["--greedy"], ["--seed", "0"], ["--context", named(index)]):
        refused = CliRunner().invoke(app, [*common, *option])
        assert refused.exit_code == 2
        assert f"{option[0]}: is an option of models" in refused.stderr
    compat = CliRunner().invoke(app, [*common[:4], "m", *common[5:], "--compat", "--context", named(index)])
    assert compat.exit_code == 2
    assert "--context: changes the prompt" in compat.stderr


def test_a_protein_is_no_evidence_for_itself(index: NeighbourIndex) -> None:
    """But another entry with its sequence is: an index cannot know that the two are one protein."""
    answerer = open_answerer(named(index))
    own = [Query(str(n), str(n), QUESTION, (Protein(f"P{n:05}", residues(n)),)) for n in range(NUM_ENTRIES)]
    held_out = [
        Query(query.id, query.key, query.question, query.proteins, without=frozenset({query.proteins[0].accession}))
        for query in own
    ]
    for queries, expected in ((own, {"answered": NUM_ENTRIES}), (held_out, {"answered": 1})):
        replies = {reply.id: reply for replies in answerer.answer(queries) for reply in replies}
        statuses = [replies[query.id].details["neighbours"]["status"] for query in queries]
        assert statuses.count("answered") == expected["answered"]
    assert "1.1.1.1" in replies["1"].text
    assert ec(1) not in replies["1"].text
    (((nothing,),)) = (answerer.answer([Query("n", "n", QUESTION, ())]),)
    assert nothing[0].details["neighbours"]["status"] == "no_protein"


@pytest.mark.parametrize("budget", [330, 400])
def test_facts_stand_in_a_models_prompt_and_in_its_row(
    index: NeighbourIndex,
    model: ProteinToText,
    model_folder: Path,
    tmp_path: Path,
    budget: int,
) -> None:
    """The answer is the model's own to the prompt with them; where there are none the prompt is as it was."""
    asked = [record("a", [relative(1)], QUESTION), record("b", [residues(99)], QUESTION)]
    config = AnswerConfig(max_new_tokens=8, context=named(index), context_tokens=budget)
    predict(write(tmp_path / "in.json", asked), model_folder, tmp_path / "out.jsonl", config)
    first, second = read(tmp_path / "out.jsonl")
    told = first["context"]
    assert {key: told[key] for key in index.identity} == index.identity
    assert (told["release"], told["max_tokens"]) == (RELEASE, budget)
    possible = [
        {"kind": "ec", "value": "1.1.1.1", "accession": "Q00001", "contradicts": [ec(1)]},
        {"kind": "ec", "value": ec(1), "accession": "P00001", "contradicts": ["1.1.1.1"]},
        {"kind": "location", "value": "Secreted", "accession": "P00001", "contradicts": []},
    ]
    found = [{key: fact[key] for key in possible[0]} for fact in told["facts"]]
    assert sorted(found[:2], key=str) == sorted(possible[:2], key=str), "what is asked comes first"
    assert found[2:] == possible[2:][: budget == 400]
    assert told["num_left_out"] == (budget == 330)
    assert all(fact["evidence"] == "experimental" and 0.5 < fact["identity"] < 1 for fact in told["facts"])
    context = open_context(named(index), budget)
    query = Query("a", "a", QUESTION, (Protein("a", relative(1)),))
    (facts,) = context.about([query])
    text = context.lay_out(facts, 1, model.tokenizer, lambda text: True).text
    assert len(encode_text(model.tokenizer, text)) <= budget
    assert all(f"[{fact['accession']}]" in text and fact["value"] in text for fact in told["facts"])
    prompt = encode_prompt(model.tokenizer, put_before_question(question_messages(QUESTION, 1), text))
    assert prompt.count(PROTEIN_ID) == 1
    greedy = Decoding(max_new_tokens=8)
    assert first["Predicted"] == model.generate([prompt], [[relative(1)]], greedy)[0]
    assert (second["context"]["facts"], second["context"]["num_left_out"]) == ([], 0)
    assert second["Predicted"] == model.ask(residues(99), QUESTION, greedy).text


def test_facts_give_way_where_the_decoder_has_no_room_for_them(
    index: NeighbourIndex,
    model_folder: Path,
    tmp_path: Path,
) -> None:
    """The question itself fits, so it is asked; what a prompt without facts cannot hold stays refused."""
    words = QUESTION + " Answer in words." * 17
    asked = [record("fits", [relative(1)], words), record("too long", [relative(1)], words * 2)]
    config = AnswerConfig(max_new_tokens=8, context=named(index))
    summary = predict(write(tmp_path / "in.json", asked), model_folder, tmp_path / "out.jsonl", config)
    assert (summary.answered, summary.reasons) == (1, {"prompt_too_long": 1})
    (row,) = read(tmp_path / "out.jsonl")
    assert len(row["context"]["facts"]) + row["context"]["num_left_out"] == 3
    assert row["context"]["num_left_out"] > 0


def test_a_model_is_asked_with_facts_from_the_command_line(index: NeighbourIndex, model_folder: Path) -> None:
    common = ["ask", relative(1), "--model", str(model_folder), "--question", QUESTION, "--max-new-tokens", "8"]
    facts_of = ["--context", named(index), "--context-tokens", "330"]
    result = CliRunner().invoke(app, [*common, *facts_of, "--json"])
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert [fact["kind"] for fact in told["context"]["facts"]] == ["ec", "ec"]
    assert told["context"]["num_left_out"] == 1
    plain = CliRunner().invoke(app, [*common, "--json"])
    assert "context" not in json.loads(plain.stdout)
    refused = CliRunner().invoke(app, [*common, *facts_of[2:]])
    assert (refused.exit_code, "--context-tokens: bounds the facts" in refused.stderr) == (2, True)
    nowhere = CliRunner().invoke(app, [*common, "--context", "swissprot"])
    assert (nowhere.exit_code, "write neighbours:DIR" in nowhere.stderr) == (2, True)
