"""A file of questions to a file of answers: what the rows say, and what a kill, a shuffle or another bound change."""

import fcntl
import gzip
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from protein2text.answerers import AnswerConfig
from protein2text.cli import app
from protein2text.errors import ConfigError, DiskFull, MissingFile, MissingWeights, ResumeMismatch
from protein2text.generate.predict import predict
from protein2text.generate.seeds import record_seed
from protein2text.models.checkpoints import sha256_of
from protein2text.models.conversion import convert
from protein2text.models.generation import Decoding
from protein2text.models.protein_to_text import ProteinToText
from protein2text.proteins import Protein
from tests.conftest import no_file_above
from tests.generate import killed_prediction
from tests.generate.conftest import read, record, records, save_model, sequence, write

GREEDY = AnswerConfig(max_new_tokens=12, batch_tokens=700)
SAMPLED = GREEDY.model_copy(update={"temperature": 0.8, "top_p": 0.9, "seed": 3})


def test_rows_hold_the_published_keys_and_where_the_answer_comes_from(
    model: ProteinToText, model_folder: Path, tmp_path: Path
) -> None:
    asked = records(23)
    del asked[4]["conversations"][1], asked[5]["pmc_id"], asked[6]["long_format_id"]
    asked[7]["amino_seq"] = f" {asked[7]['amino_seq'].lower()}\n*"
    summary = predict(write(tmp_path / "in.json", asked), model_folder, tmp_path / "out.jsonl", GREEDY)
    rows = read(tmp_path / "out.jsonl")
    assert [row["entry"] for row in rows] == list(range(23))
    assert (summary.records, summary.answered, summary.rejected) == (23, 23, 0)
    assert not (tmp_path / "out.jsonl.rejected.jsonl").exists()
    for number, (row, given) in enumerate(zip(rows, records(23), strict=True)):
        sequences = given["amino_seq"] if isinstance(given["amino_seq"], list) else [given["amino_seq"]]
        question = given["conversations"][0]["value"].replace("<protein_sequence>\n", "")
        assert list(row)[:4] == ["long_format_id", "Prompt", "Ground Truth", "Predicted"]
        assert row["long_format_id"] == (given["id"] if number == 6 else given["long_format_id"])
        assert row["Prompt"] == question
        assert row["Ground Truth"] == (None if number == 4 else f"Truth {number}.")
        assert row["Predicted"] == model.ask([sequences], [question], Decoding(max_new_tokens=12))[0].text
        assert row["accessions"] == (given["id"] if isinstance(given["id"], list) else [given["id"]])
        assert row["sequence_sha256"] == [Protein("", letters).checksum for letters in sequences]
        assert row["model"] == {"name": "model", "manifest_sha256": sha256_of(model_folder / "manifest.json")}
        assert row["decoding"] == {"max_new_tokens": 12, "temperature": 0.0, "top_k": None, "top_p": 1.0, "seed": 0}
        assert row["record_seed"] == record_seed(0, row["long_format_id"])
        assert row["read_as"] == ["exact"] * len(sequences)
        assert row["beyond_training_length"] == [False] * len(sequences)
        assert row["finish"] in {"stop", "length"}


def test_compatibility_mode_writes_what_the_reference_wrote(golden: Path, tmp_path: Path) -> None:
    """All but two: at one step of each, two bfloat16 logits are equal to the last bit, and either may come first."""
    folder = golden / "reference-tiny"
    base, encoder = str(folder / "base-llama"), str(folder / "facebook" / "esm2_tiny")
    convert(folder / "protein2text-tiny", tmp_path / "native", base=base, encoder=encoder)
    config = AnswerConfig(compat=True, temperature=0.0, max_new_tokens=24, batch_tokens=1)
    predict(folder / "input.json", tmp_path / "native", tmp_path / "out.jsonl", config)
    recorded = json.loads((folder / "recorded.json").read_text(encoding="utf-8"))
    rows = read(tmp_path / "out.jsonl")
    differ = [number for number, row in enumerate(rows) if row["Predicted"] != recorded[number]["text"]]
    assert len(rows) == 8
    assert differ in ([], [1], [6], [1, 6])
    assert rows[0]["compat"] is True
    model = ProteinToText.from_pretrained(tmp_path / "native", compat=True)
    greedy = Decoding(max_new_tokens=24)
    given = [entry["amino_seq"] for entry in json.loads((folder / "input.json").read_text(encoding="utf-8"))]
    alone = [model.ask(sequence, row["Prompt"], greedy).text for sequence, row in zip(given, rows, strict=True)]
    assert [row["Predicted"] for row in rows] == alone


def test_a_full_disk_is_named_and_the_answers_are_kept(model_folder: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.json", records(9))
    few = GREEDY.model_copy(update={"batch_tokens": 1})
    with (
        no_file_above(3000),
        pytest.raises(DiskFull, match=f"{tmp_path}: a file reached the limit .*same command"),
    ):
        predict(source, model_folder, tmp_path / "out.jsonl", few)
    assert 0 < predict(source, model_folder, tmp_path / "out.jsonl", few).already_answered < 9


def test_order_and_bound_change_no_sampled_answer(model_folder: Path, tmp_path: Path) -> None:
    asked = records(60)
    predict(write(tmp_path / "in.json", asked), model_folder, tmp_path / "out.jsonl", SAMPLED)
    random.Random(0).shuffle(asked)
    other = SAMPLED.model_copy(update={"batch_tokens": 131})
    predict(write(tmp_path / "mixed.json", asked), model_folder, tmp_path / "mixed.jsonl", other)
    rows = read(tmp_path / "out.jsonl")
    answers, mixed = (
        {row["long_format_id"]: (row["Predicted"], row["finish"]) for row in read(tmp_path / name)}
        for name in ("out.jsonl", "mixed.jsonl")
    )
    assert mixed == answers
    assert [row["long_format_id"] for row in read(tmp_path / "mixed.jsonl")] == [row["long_format_id"] for row in asked]
    reseeded = SAMPLED.model_copy(update={"seed": 4})
    predict(tmp_path / "in.json", model_folder, tmp_path / "seed4.jsonl", reseeded)
    changed = [a["Predicted"] != b["Predicted"] for a, b in zip(rows, read(tmp_path / "seed4.jsonl"), strict=True)]
    assert sum(changed) > 40


def test_a_records_answer_can_be_had_again_with_its_seed(
    model: ProteinToText, model_folder: Path, tmp_path: Path
) -> None:
    """Two records that differ in their id alone differ in their noise; the id alone gives the noise again."""
    twins = [record(1, [3]) | {"long_format_id": name} for name in ("a", "b")]
    predict(write(tmp_path / "in.json", twins), model_folder, tmp_path / "out.jsonl", SAMPLED)
    first, second = (row["Predicted"] for row in read(tmp_path / "out.jsonl"))
    assert first != second
    predict(write(tmp_path / "b.json", twins[1:]), model_folder, tmp_path / "b.jsonl", SAMPLED)
    assert read(tmp_path / "b.jsonl")[0]["Predicted"] == second
    assert record_seed(3, "a") != record_seed(3, "b")


BAD: dict[str, tuple[Any, str, str]] = {
    "letter": ({"amino_seq": "MKT1"}, "invalid_residue", "residue 4: '1'"),
    "stop sign inside": ({"amino_seq": "MK*T"}, "invalid_residue", "residue 3"),
    "white space": ({"amino_seq": " \n"}, "empty_sequence", "0 residues"),
    "no sequence": ({"amino_seq": ""}, "missing_key", "amino_seq"),
    "null inside": ({"id": ["A", "B"], "amino_seq": ["MK", None]}, "bad_proteins", "NoneType"),
    "number": ({"amino_seq": 7}, "bad_proteins", "int"),
    "one accession for two": ({"amino_seq": ["MK", "ML"]}, "bad_proteins", "1 accessions, 2 sequences"),
    "too long": ({"amino_seq": "M" * 1023}, "too_long", "1023 residues"),
    "no key": ({"conversations": None}, "missing_key", "conversations"),
    "no turns": ({"conversations": 5}, "bad_turns", "5"),
    "gpt first": ({"conversations": [{"from": "gpt", "value": "x"}]}, "bad_turns", "one human turn"),
    "two questions": (
        {"conversations": [{"from": who, "value": "x"} for who in ("human", "gpt", "human")]},
        "bad_turns",
        "one record per question",
    ),
    "no text": ({"conversations": [{"from": "human"}]}, "bad_turns", "each with a text"),
    "two placeholders": (
        {"conversations": [{"from": "human", "value": "<protein_sequence>\n" * 2 + "x"}]},
        "bad_placeholder",
        "2 placeholders",
    ),
    "placeholder behind": (
        {"conversations": [{"from": "human", "value": "x\n<protein_sequence>"}]},
        "bad_placeholder",
        "stand first",
    ),
    "no question": ({"conversations": [{"from": "human", "value": "<protein_sequence>\n "}]}, "empty_text", "question"),
    "surrogate": ({"conversations": [{"from": "human", "value": "\ud83e"}]}, "unreadable", "surrogates"),
    "long prompt": ({"conversations": [{"from": "human", "value": "what " * 400}]}, "prompt_too_long", "512 tokens"),
    "list": (["no", "object"], "unreadable", "['no', 'object']"),
}


def test_bad_records_are_listed_with_reasons_and_the_rest_is_answered(model_folder: Path, tmp_path: Path) -> None:
    rows = [
        record(n, [n % 5]) | change if isinstance(change, dict) else change
        for n, (change, *_) in enumerate(BAD.values())
    ]
    rows.insert(3, record(100, [1]))
    rows.append(record(101, [2]))
    summary = predict(write(tmp_path / "in.json", rows), model_folder, tmp_path / "out.jsonl", GREEDY)
    assert [row["entry"] for row in read(tmp_path / "out.jsonl")] == [3, len(rows) - 1]
    refused = {row["entry"]: row for row in read(tmp_path / "out.jsonl.rejected.jsonl")}
    assert summary.rejected == len(refused) == len(BAD)
    assert sum(summary.reasons.values()) == len(BAD)
    for number, (name, (_, reason, words)) in enumerate(BAD.items()):
        row = refused[number + (number >= 3)]
        assert (row["reason"], words in row["message"]) == (reason, True), (name, row)
        assert row["place"].startswith(f"entry {row['entry']}, line "), name
        assert str(row["record"]) in row["message"]


def test_json_lines_and_gzip_are_read_and_a_broken_line_costs_only_itself(model_folder: Path, tmp_path: Path) -> None:
    lines = [json.dumps(row) for row in records(9)]
    predict(write(tmp_path / "in.json", records(9)), model_folder, tmp_path / "list.jsonl", GREEDY)
    (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress("\n\n".join([*lines[:4], lines[4][:-9], *lines[5:]]).encode()))
    summary = predict(tmp_path / "in.jsonl.gz", model_folder, tmp_path / "out.jsonl", GREEDY)
    assert summary.reasons == {"unreadable": 1}
    assert read(tmp_path / "out.jsonl.rejected.jsonl")[0]["place"] == "line 9"
    whole = {row["long_format_id"]: row["Predicted"] for row in read(tmp_path / "list.jsonl")}
    rows = read(tmp_path / "out.jsonl")
    assert [row["entry"] for row in rows] == [0, 1, 2, 3, 5, 6, 7, 8]
    assert all(row["Predicted"] == whole[row["long_format_id"]] for row in rows)


def test_a_list_cut_off_is_answered_up_to_the_cut(model_folder: Path, tmp_path: Path) -> None:
    text = json.dumps(records(5))
    (tmp_path / "in.json").write_text(text[: text.rindex('"conversations"')], encoding="utf-8")
    summary = predict(tmp_path / "in.json", model_folder, tmp_path / "out.jsonl", GREEDY)
    assert (summary.answered, summary.reasons) == (4, {"unreadable": 1})


def test_a_fasta_file_is_told_where_it_belongs(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "in.fasta").write_text(">P1\nMKV\n", encoding="utf-8")
    predict(tmp_path / "in.fasta", model_folder, tmp_path / "out.jsonl", GREEDY)
    refused = read(tmp_path / "out.jsonl.rejected.jsonl")
    assert all("protein2text ask FILE" in row["message"] for row in refused)
    assert refused


def test_a_finished_run_is_not_run_again(model_folder: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.json", records(8))
    predict(source, model_folder, tmp_path / "out.jsonl", GREEDY)
    before = (tmp_path / "out.jsonl").read_bytes()
    again = predict(source, model_folder, tmp_path / "out.jsonl", GREEDY.model_copy(update={"batch_tokens": 9}))
    assert (again.answered, again.already_answered, again.work["forward_passes"], again.work["proteins_encoded"]) == (
        0,
        8,
        0,
        0,
    )
    assert (tmp_path / "out.jsonl").read_bytes() == before


@pytest.mark.parametrize("cut", ["middle of a line", "line end", "garbage", "nothing"])
def test_a_damaged_end_is_mended(model_folder: Path, tmp_path: Path, cut: str) -> None:
    source = write(tmp_path / "in.json", records(12))
    predict(source, model_folder, tmp_path / "out.jsonl", GREEDY)
    whole = (tmp_path / "out.jsonl").read_bytes()
    lines = whole.splitlines(keepends=True)
    head = b"".join(lines[:7])
    damaged = {
        "middle of a line": head + lines[7][:-30],
        "line end": head + lines[7][:-1],
        "garbage": head + b"\0" * 99 + b"\n",
        "nothing": b"",
    }
    (tmp_path / "out.jsonl").write_bytes(damaged[cut])
    summary = predict(source, model_folder, tmp_path / "out.jsonl", GREEDY)
    assert (tmp_path / "out.jsonl").read_bytes() == whole
    assert summary.already_answered == (0 if cut == "nothing" else 7)
    assert summary.answered + summary.already_answered == 12


def test_other_settings_input_or_model_are_refused(model_folder: Path, tmp_path: Path) -> None:
    source, output = write(tmp_path / "in.json", records(4)), tmp_path / "out.jsonl"
    predict(source, model_folder, output, GREEDY)
    before = output.read_bytes()
    other_model = save_model(tmp_path / "other", seed=2)
    longer = GREEDY.model_copy(update={"max_new_tokens": 13})
    cases = [
        (source, model_folder, SAMPLED, "decoding"),
        (source, model_folder, longer, "max_new_tokens"),
        (write(tmp_path / "in2.json", records(5)), model_folder, GREEDY, "input_sha256"),
        (source, other_model, GREEDY, "manifest_sha256"),
    ]
    for path, folder, config, key in cases:
        with pytest.raises(ResumeMismatch, match=key):
            predict(path, folder, output, config)
    assert output.read_bytes() == before


def test_a_file_of_somebody_else_is_left_alone(model_folder: Path, tmp_path: Path) -> None:
    source, output = write(tmp_path / "in.json", records(2)), tmp_path / "out.jsonl"
    output.write_text("my notes\n")
    with pytest.raises(ConfigError, match=r"no header out\.jsonl\.run\.json"):
        predict(source, model_folder, output, GREEDY)
    assert output.read_text() == "my notes\n"
    output.unlink()
    predict(source, model_folder, output, GREEDY)
    with output.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another process is writing"):
            predict(source, model_folder, output, GREEDY)
    with pytest.raises(MissingFile, match=r"nowhere\.json"):
        predict(tmp_path / "nowhere.json", model_folder, output, GREEDY)


def test_the_questions_are_never_written_over(model_folder: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "q.json", records(2))
    before = source.read_bytes()
    predict(source, model_folder, tmp_path / "q.jsonl", GREEDY)
    for output in (source, tmp_path / "." / "q.json"):
        with pytest.raises(ConfigError, match="the file of questions itself"):
            predict(source, model_folder, output, GREEDY)
    with pytest.raises(ConfigError, match=r"no header q\.txt\.run\.json"):
        predict(source, model_folder, write(tmp_path / "q.txt", []), GREEDY)
    assert source.read_bytes() == before


def test_a_byte_order_mark_is_passed_over_and_an_empty_file_refused(model_folder: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.json", records(3))
    source.write_bytes(b"\xef\xbb\xbf" + source.read_bytes())
    assert predict(source, model_folder, tmp_path / "out.jsonl", GREEDY).answered == 3
    source.write_text(" \n")
    with pytest.raises(ConfigError, match="is empty"):
        predict(source, model_folder, tmp_path / "none.jsonl", GREEDY)


def test_an_answer_longer_than_the_context_is_refused_before_anything_is_written(
    model_folder: Path, tmp_path: Path
) -> None:
    source, output = write(tmp_path / "in.json", records(1)), tmp_path / "out.jsonl"
    with pytest.raises(ConfigError, match=r"max_new_tokens: 1000000 leaves no room .* window is \d+ tokens"):
        predict(source, model_folder, output, GREEDY.model_copy(update={"max_new_tokens": 1_000_000}))
    assert [path.name for path in tmp_path.iterdir()] == ["in.json"]


@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_a_killed_run_repeats_and_loses_nothing(model_folder: Path, tmp_path: Path, kills: int) -> None:
    count = 150 * kills
    source, output = write(tmp_path / "in.json", records(count)), tmp_path / "out.jsonl"
    command = [sys.executable, killed_prediction.__file__, str(source), str(model_folder), str(output)]
    num_kept = 0
    for _ in range(kills):
        process = subprocess.Popen(command)
        while num_lines(output) < num_kept + 20:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.002)
        process.kill()
        process.wait()
        num_kept = num_lines(output)
    assert 20 * kills <= num_kept < count
    rest = predict(source, model_folder, output, killed_prediction.SETTINGS)
    assert rest.already_answered == num_kept
    assert rest.answered == count - num_kept
    whole = predict(source, model_folder, tmp_path / "whole.jsonl", killed_prediction.SETTINGS)
    assert whole.answered == count
    assert output.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def num_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def test_the_command_answers_and_sums_up(model_folder: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.json", [*records(6), {"id": "P1"}])
    options = ["--input", source, "--model", model_folder, "--output", tmp_path / "out.jsonl", "--greedy"]
    result = run(*options, "--max-new-tokens", 12, "--json")
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout)
    assert (summary["records"], summary["answered"], summary["rejected"]) == (7, 6, 1)
    assert summary["proteins_encoded"] + summary["cache_hits"] == 7, "one question is about two proteins"
    assert summary["forward_passes"] >= 12
    assert summary["padded_to_useful"] >= 1
    assert f"7 records: 6 answered in {summary['seconds']:.1f} s" in result.stderr
    assert "1 rejected (1 missing_key)" in result.stderr
    assert len(read(tmp_path / "out.jsonl")) == 6


def test_exit_codes_tell_nothing_could_run_from_wrong_usage(model_folder: Path, tmp_path: Path) -> None:
    common = ["--model", model_folder, "--output", tmp_path / "out.jsonl"]
    assert run("--input", write(tmp_path / "bad.json", [{"id": 1}, 2]), *common).exit_code == 1
    assert len(read(tmp_path / "out.jsonl.rejected.jsonl")) == 2
    assert run("--input", tmp_path / "nowhere.json", *common).exit_code == 2
    assert (
        run("--input", write(tmp_path / "none.json", []), *common[:2], "--output", tmp_path / "n.jsonl").exit_code == 0
    )
    assert run(*common).exit_code == 2
    good = write(tmp_path / "good.json", [record(0, [0])])
    assert run("--input", good, "--model", tmp_path / "no-model", "--output", tmp_path / "m.jsonl").exit_code == 2
    for wrong, name in ((["--top-p", 0], "top_p"), (["--greedy", "--temperature", 1], "--temperature")):
        result = run("--input", good, *common, *wrong)
        assert result.exit_code == 2
        assert name in result.stderr


def test_every_sequence_of_the_sample_is_distinct() -> None:
    assert len({sequence(number) for number in range(22)}) == 22


def test_a_moved_base_is_named_and_given_back(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "before", seed=2)
    asked = write(tmp_path / "in.json", records(3))
    expected = predict(asked, folder, tmp_path / "expected.jsonl", GREEDY)
    (tmp_path / "before" / "decoder").rename(tmp_path / "moved")
    with pytest.raises(MissingWeights, match="--base FOLDER"):
        predict(asked, folder, tmp_path / "out.jsonl", GREEDY)
    elsewhere = GREEDY.model_copy(update={"base": str(tmp_path / "moved")})
    found = predict(asked, folder, tmp_path / "out.jsonl", elsewhere)
    assert found.answered == expected.answered == 3
    assert read(tmp_path / "out.jsonl") == read(tmp_path / "expected.jsonl")
