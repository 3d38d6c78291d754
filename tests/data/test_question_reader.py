"""`data.readers.qa_json`: published questions as their files have them, and what makes one unusable."""

import json
import re
from pathlib import Path

import pytest

from protein2text.data.readers.entries import Place
from protein2text.data.readers.formats import READERS, read_entries
from protein2text.errors import RecordError
from tests.data.read_in_process import read


def test_published_questions(real_data: Path) -> None:
    path = real_data / "qa" / "protein2text_sample.json"
    source = json.loads(path.read_text())
    records, refused = read(path)
    assert [record["record_id"] for record in records] == [row["long_format_id"] for row in source[:2]]
    assert records[0]["messages"] == [
        {"role": "user", "content": source[0]["conversations"][0]["value"]},
        {"role": "assistant", "content": source[0]["conversations"][1]["value"]},
    ]
    assert json.loads(records[1]["provenance"] or "")["pmc"] == source[1]["pmc_id"]
    (error,) = refused
    assert isinstance(error, RecordError)
    assert error.reason == "truncated"
    assert error.record == "Q9HC52_27"
    assert "backslash" in str(error)


def test_benchmark_questions_lose_only_their_references(real_data: Path) -> None:
    path = real_data / "qa" / "microbiome_benchmark.json"
    source = {row["long_format_id"]: row for row in json.loads(path.read_text())}
    records, refused = read(path)
    assert not refused
    assert len(records) == len(source) == 669
    for record in records:
        row = source[record["record_id"]]
        assert record["messages"] is not None
        question, answer = (turn["content"] for turn in record["messages"])
        assert question == row["conversations"][0]["value"]
        assert "PubMed:" not in answer
        assert "{ECO" not in answer
        raw = row["conversations"][1]["value"]
        if "PubMed" not in raw and "similarity)" not in raw and "(Probable)" not in raw:
            assert answer == " ".join(raw.split())
        assert record["question_kind"] is None
        assert record["facts"] is None


QUESTION = {
    "long_format_id": "P1_0",
    "id": "P1",
    "protein": "One",
    "pmc_id": ["PMC1"],
    "amino_seq": "MKV",
    "conversations": [
        {"from": "human", "value": "<protein_sequence>\nWhat is it?"},
        {"from": "gpt", "value": "It is an enzyme."},
    ],
}


def conversation(human: str, gpt: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": human}, {"from": "gpt", "value": gpt}]


def write_questions(path: Path, *changes: dict[str, object]) -> Path:
    path.write_text(json.dumps([{**QUESTION, **change} for change in changes]))
    return path


def test_question_about_two_proteins(tmp_path: Path) -> None:
    two = {
        "id": ["P1", "P2"],
        "protein": ["One", "Two"],
        "amino_seq": ["MKV", "MKL"],
        "conversations": conversation("<protein_sequence>\n<protein_sequence>\nAre they alike?", "Yes, both: ATP."),
        "question_kind": "pair",
        "facts": ["binds=ATP", "yes_no=yes"],
    }
    records, refused = read(write_questions(tmp_path / "qa.json", two))
    assert not refused
    assert [protein["accession"] for protein in records[0]["proteins"]] == ["P1", "P2"]
    assert records[0]["question_kind"] == "pair"
    assert records[0]["facts"] == ["binds=ATP", "yes_no=yes"]


def test_missing_facts_differ_from_none(tmp_path: Path) -> None:
    records, _ = read(write_questions(tmp_path / "qa.json", {"facts": []}, {}))
    assert [record["facts"] for record in records] == [[], None]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"conversations": conversation("<protein_sequence>\nWhat?", "It is critical to\\")}, "truncated"),
        ({"conversations": conversation("<protein_sequence>\nWhat?", 'It is "critical')}, "truncated"),
        ({"conversations": conversation("<protein_sequence>\nWhat?", "It binds (ATP.")}, "truncated"),
        ({"conversations": conversation("<protein_sequence>\nWhat?", "It binds ATP).")}, "truncated"),
        ({"conversations": conversation("<protein_sequence>\nWhat?", " \n")}, "empty_text"),
        ({"conversations": conversation("<protein_sequence>\n", "It binds.")}, "empty_text"),
        ({"conversations": conversation("What is it?", "It binds.")}, "bad_placeholder"),
        ({"conversations": conversation("<protein_sequence>\n<protein_sequence>\nSame?", "Yes.")}, "bad_placeholder"),
        ({"conversations": conversation("<protein_sequence>\nIs <protein_sequence> it?", "Yes.")}, "bad_placeholder"),
        ({"conversations": QUESTION["conversations"][:1]}, "bad_turns"),  # type: ignore[index]
        ({"conversations": None}, "bad_turns"),
        ({"id": ["P1", "P2"]}, "bad_proteins"),
        ({"id": ["P1", "P2", "P3"], "amino_seq": ["M", "M", "M"]}, "bad_proteins"),
        ({"amino_seq": ""}, "empty_sequence"),
        ({"amino_seq": "MKJ"}, "invalid_residue"),
        ({"amino_seq": "M" * 11}, "too_long"),
        ({"id": " "}, "no_accession"),
    ],
)
def test_unusable_question_is_refused_with_its_reason(tmp_path: Path, change: dict[str, object], reason: str) -> None:
    records, refused = read(write_questions(tmp_path / "qa.json", change, {"long_format_id": "good"}), max_residues=10)
    assert [record["record_id"] for record in records] == ["good"]
    (error,) = refused
    assert isinstance(error, RecordError)
    assert error.reason == reason
    assert len(str(error)) > 40, "an error says value, place, limit and remedy"


def test_escaped_quotes_are_mended_and_said_so(tmp_path: Path) -> None:
    change = {"conversations": conversation("<protein_sequence>\nWhat is this protein\\'s role?", "It\\'s an enzyme.")}
    records, _ = read(write_questions(tmp_path / "qa.json", change, {}))
    messages = records[0]["messages"]
    assert messages is not None
    assert messages[0]["content"].endswith("this protein's role?")
    assert messages[1]["content"] == "It's an enzyme."
    assert json.loads(records[0]["provenance"] or "")["mended"] is True
    assert "mended" not in json.loads(records[1]["provenance"] or "")


def test_json_that_breaks_off_keeps_what_came_before(tmp_path: Path) -> None:
    path = tmp_path / "cut.json"
    whole = json.dumps([QUESTION, {**QUESTION, "long_format_id": "P1_1"}], indent=1)
    path.write_text(whole[:-20])
    records, refused = read(path)
    assert [record["record_id"] for record in records] == ["P1_0"]
    assert len(refused) == 1
    assert "nothing after it can be read" in str(refused[0])
    path.write_text(whole.rstrip("]\n"))
    records, refused = read(path)
    assert len(records) == 2
    assert "not closed" in str(refused[0])


def test_a_second_list_in_a_file_counts_as_not_read_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "two.json"
    path.write_text(2 * json.dumps([QUESTION]))
    whole, rest = read_entries(str(path), "json")
    assert whole.problem is None
    assert json.loads(whole.raw) == QUESTION
    assert rest.reason == "cut_short"
    assert "text after the end of the list is not read" in str(rest.problem)


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(json.dumps({**QUESTION, "long_format_id": f"P1_{n}"}) + "\n" for n in range(3)))
    records, refused = read(path)
    assert [record["record_id"] for record in records] == ["P1_0", "P1_1", "P1_2"]
    assert not refused


def test_what_python_reads_as_json_but_is_no_text_is_refused(tmp_path: Path) -> None:
    nan = [{"amino_seq": float("nan")}, {"conversations": conversation("<protein_sequence>\nWhat?", float("nan"))}]  # type: ignore[arg-type]
    path = write_questions(tmp_path / "qa.json", *nan)
    for entry in read_entries(str(path), "json"):
        with pytest.raises(ValueError, match="it holds NaN, which is no JSON; write null"):
            READERS["json"].parse(entry.raw, Place("qa.json", entry.place, 10))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"conversations": [None, None]}, r"conversations: turns from \[None, None\]; one human turn"),
        ({"conversations": [{"from": "human", "value": 5}, {"from": "gpt"}]}, "human turn: value 5; a text is needed"),
        ({"amino_seq": 1.5}, "amino_seq: 1.5; a text is needed"),
        ({"question_kind": {"a": 1}}, r"question_kind: \{'a': 1\}; a text is needed"),
        ({"facts": [None]}, "facts: None; a text is needed"),
        ({"licence": ["CC BY"]}, r"licence: \['CC BY'\]; a text is needed"),
    ],
)
def test_a_questions_field_of_another_kind_is_named(tmp_path: Path, change: dict[str, object], said: str) -> None:
    _, (error,) = read(write_questions(tmp_path / "qa.json", change))
    assert re.search(said, str(error))
