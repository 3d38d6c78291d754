"""The command line: help that teaches, one clear line per error, exit codes 0, 1 and 2."""

import inspect
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray._private.node
import typer.main
from typer.testing import CliRunner

from protein2text import __version__
from protein2text.cli import app
from protein2text.cli_common import RAY_TIMED_OUT
from protein2text.config import load_run, presets
from protein2text.doctor import examine
from protein2text.errors import MissingFile
from protein2text.termination import leave_on_termination
from tests.conftest import no_file_above

COMMANDS = (
    ("demo",),
    ("demo-real",),
    ("data", "sample"),
    ("data", "ingest"),
    ("data", "literature"),
    ("data", "qa"),
    ("data", "split"),
    ("data", "report"),
    ("data", "export"),
    ("index", "build"),
    ("index", "update"),
    ("index", "embed"),
    ("index", "calibration"),
    ("encoder", "list"),
    ("encoder", "export"),
    ("train",),
    ("checkpoint", "verify"),
    ("evaluate",),
    ("predict",),
    ("record",),
    ("report",),
    ("register",),
    ("serve",),
    ("ask",),
    ("doctor",),
)
CLOSED_PORT = "http://127.0.0.1:9"

runner = CliRunner()


def words(text: str) -> str:
    """Text without the borders and line breaks of a help page."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


def error_line(stderr: str) -> str:
    lines = stderr.strip().splitlines()
    assert "Traceback" not in stderr
    assert len(lines) == 1, stderr
    return lines[0]


def test_help_names_every_command_and_teaches_by_example() -> None:
    for words_of_command in COMMANDS:
        result = runner.invoke(app, [*words_of_command, "--help"])
        assert result.exit_code == 0
        text = words(result.stdout)
        assert f"Usage: root {' '.join(words_of_command)}" in text
        assert "Example" in text
        assert f"protein2text {' '.join(words_of_command)}" in text
    top = words(runner.invoke(app, ["--help"]).stdout)
    assert all(command[0] in top for command in COMMANDS)


def test_help_answers_within_a_second_of_processor_time() -> None:
    started = os.times()
    done = subprocess.run([sys.executable, "-m", "protein2text.cli", "--help"], capture_output=True, check=True)
    ended = os.times()
    assert done.returncode == 0
    assert (ended.children_user + ended.children_system) - (started.children_user + started.children_system) < 1.0


def test_version_and_an_empty_command_line() -> None:
    assert runner.invoke(app, ["--version"]).stdout.strip() == __version__
    assert runner.invoke(app, []).exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["train"],
        ["train", "tiny", "--no-such-option"],
        ["train", "tiny", "--stage", "pretraining"],
        ["data", "ingest", "--output", "corpus"],
        ["data", "ingest", "x.tsv"],
        ["data", "literature", "--proteins", "x.tsv"],
        ["data", "split", "corpus", "--output", "s", "--test-share", "7"],
        ["ask"],
        ["ask", "MKV", "--model", "folder", "--url", "http://127.0.0.1:9"],
        ["ask", "MKV", "--context", "neighbours:index"],
        ["serve", "--port", "many"],
        ["serve", "--port", "99999"],
        ["parity", "folder", "--device", "tpu"],
    ],
)
def test_wrong_usage_exits_2(workdir: Path, arguments: list[str]) -> None:
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert list(workdir.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["train", "absent.yaml"], ["absent.yaml does not exist", "starter, tiny"]),
        (["evaluate", "absent.yaml"], ["absent.yaml does not exist"]),
        (["register", "absent.yaml"], ["absent.yaml does not exist"]),
        (["serve", "--run", "nowhere"], ["nowhere/run.yaml does not exist"]),
        (["demo-real", "nowhere"], ["nowhere/uniprot/human_function.tsv does not exist", "Name the folder"]),
        (["ask", "absent.fasta"], ["absent.fasta does not exist", "Give a FASTA file"]),
        (["ask", "MKV", "MAJK"], ["PROTEIN 2", "residue 3", "'J'", "ACDEFGHIKLMNPQRSTVWYXBZUO"]),
        (["ask", ""], ["0 residues"]),
        (["ask", "ATGGCCAAGTTCGACGTTAA"], ["all 20 letters", "Translate it first"]),
        (["ask", "p12345"], ["an accession", "a sequence is needed", "uniprotkb/P12345.fasta"]),
        (["data", "sample", "/proc/nowhere"], ["/proc/nowhere", "No such file", "name another"]),
        (["ask", "-"], ["standard input", "0 residues"]),
    ],
)
def test_bad_input_is_one_line_and_exit_2(workdir: Path, arguments: list[str], parts: list[str]) -> None:
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2, result.output
    line = error_line(result.stderr)
    assert all(part in line for part in parts), line
    assert result.stdout == ""


def test_an_unknown_key_names_file_section_and_nearest_key(workdir: Path) -> None:
    (workdir / "mine.yaml").write_text("extends: tiny\nname: mine\nalignment: {epoch: 3}\n")
    result = runner.invoke(app, ["train", "mine.yaml"])
    assert result.exit_code == 2
    line = error_line(result.stderr)
    assert all(part in line for part in ("mine.yaml", "alignment", "'epoch'", "did you mean 'epochs'"))


@pytest.mark.parametrize(
    "text",
    [
        f"extends: [{'[a],' * 2000}]\n",
        f"extends: {'[' * 2000}{']' * 2000}\n",
        f"extends: {'folder/' * 2000}\n",
        f"extends: tiny\nname: {'a b' * 2000}\n",
        f"extends: tiny\n? {'a' * 9000}\n: 3\n",
        f"extends: tiny\nname: mine\nscaling: {{num_workers: [{'1,' * 2000}]}}\n",
    ],
    ids=["list", "nested", "path", "value", "key", "checked"],
)
def test_a_long_value_is_shortened_in_the_error(workdir: Path, text: str) -> None:
    (workdir / "mine.yaml").write_text(text)
    result = runner.invoke(app, ["train", "mine.yaml"])
    assert result.exit_code == 2
    assert len(error_line(result.stderr)) < 1000


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("alignment: {lr: 1e-3}", "did you mean 'learning_rate'?"),
        ("instruction: {batch_size: 8}", "did you mean 'global_batch'?"),
        ("epochs: 3", "did you mean 'alignment.epochs' or 'instruction.epochs'?"),
        ("lr: 1e-3", "did you mean 'alignment.learning_rate' or 'instruction.learning_rate'?"),
        ("model: {decoder: {lora: {r: 8}}}", "did you mean 'rank'?"),
    ],
)
def test_a_key_by_its_usual_name_or_outside_its_section_is_told_ours(workdir: Path, text: str, meant: str) -> None:
    (workdir / "mine.yaml").write_text(f"extends: tiny\nname: mine\n{text}\n")
    assert meant in error_line(runner.invoke(app, ["train", "mine.yaml"]).stderr)


def test_a_corpus_is_no_checkpoint(workdir: Path) -> None:
    (workdir / "corpus").mkdir()
    (workdir / "corpus" / "card.json").write_text("{}")
    result = runner.invoke(app, ["checkpoint", "verify", "corpus"])
    assert result.exit_code == 2
    line = error_line(result.stderr)
    assert "corpus: DIR: holds card.json, so it is data" in line
    assert "Name a checkpoint" in line


def test_no_service_is_one_line_and_exit_1() -> None:
    result = runner.invoke(app, ["ask", "MKV", "--url", CLOSED_PORT])
    assert result.exit_code == 1
    assert CLOSED_PORT in error_line(result.stderr)


@pytest.mark.parametrize(("number", "said"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_a_signal_is_one_line_and_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals, said: str
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("protein2text.doctor.examine", lambda folder: signal.raise_signal(number))
    leave_on_termination()
    try:
        result = runner.invoke(app, ["doctor"])
    finally:
        leave_on_termination()  # what came is forgotten
        signal.signal(signal.SIGTERM, before)
    assert result.exit_code == 128 + number
    assert result.stdout == ""
    assert said in error_line(result.stderr)


def test_a_ray_that_does_not_come_up_is_one_line_and_exit_1(monkeypatch: pytest.MonkeyPatch) -> None:
    assert RAY_TIMED_OUT in inspect.getsource(ray._private.node).replace('"\n                        "', "")

    def starved(folder: Path) -> None:
        raise Exception(f"The current {RAY_TIMED_OUT}.")

    monkeypatch.setattr("protein2text.doctor.examine", starved)
    result = runner.invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "Let other work end" in error_line(result.stderr)
    assert "ulimit" not in result.stderr
    with no_file_above(10**6):
        told = runner.invoke(app, ["doctor"])
    assert "raise `ulimit -f`, now 1000000 bytes" in error_line(told.stderr)


def test_an_error_wrapped_twice_by_ray_is_one_line(local_ray: str, monkeypatch: pytest.MonkeyPatch) -> None:
    @ray.remote
    def refuse() -> None:
        raise MissingFile("corpus/card.json", "a corpus", "Ingest it first.")

    def wrapped(folder: Path) -> None:
        try:
            ray.get(refuse.remote())
        except ray.exceptions.RayTaskError as error:
            raise SystemError from error

    monkeypatch.setattr("protein2text.doctor.examine", wrapped)
    result = runner.invoke(app, ["doctor"])
    assert result.exit_code == 2
    assert "corpus/card.json does not exist" in error_line(result.stderr)


def test_verbose_adds_the_traceback(workdir: Path) -> None:
    result = runner.invoke(app, ["--verbose", "train", "absent.yaml"])
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert result.stderr.strip().splitlines()[-1].startswith("protein2text: ")


def test_doctor_says_the_same_as_json_and_as_text(tmp_path: Path) -> None:
    expected = examine(tmp_path)
    as_json = runner.invoke(app, ["doctor", "--json", "--output", str(tmp_path)])
    assert as_json.exit_code == (0 if expected.healthy else 1)
    found = json.loads(as_json.stdout)
    assert [finding["name"] for finding in found["findings"]] == [finding.name for finding in expected.findings]
    as_text = runner.invoke(app, ["doctor", "--output", str(tmp_path)])
    assert all(finding.name in as_text.stdout for finding in expected.findings)


def test_data_sample_writes_the_files_that_ingest_reads(workdir: Path) -> None:
    result = runner.invoke(app, ["data", "sample", "world", "--seed", "3"])
    assert (result.exit_code, result.stdout.strip()) == (0, "world")
    assert {path.name for path in (workdir / "world").iterdir()} >= {"proteins.tsv", "questions.json", "assignment.tsv"}


def test_the_demo_run_is_where_serve_looks_for_it() -> None:
    from protein2text.cli import DEMO_RUN
    from protein2text.demo_plans import sample_demo

    assert sample_demo(DEMO_RUN.parent).config.folder == DEMO_RUN.absolute()


def test_an_exported_encoder_loads_as_fair_esm_and_has_the_same_weights(tmp_path: Path) -> None:
    import torch

    from protein2text.models.encoder_weights import load_encoder
    from protein2text.models.model_config import EncoderConfig

    path = tmp_path / "new" / "tiny.pt"
    result = runner.invoke(app, ["encoder", "export", "preset:tiny/esm2", str(path), "--json"])
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == {"output": str(path), "bytes": path.stat().st_size}
    exported, original = (load_encoder(EncoderConfig(source=source)) for source in (str(path), "preset:tiny/esm2"))
    assert all(torch.equal(tensor, exported.state_dict()[name]) for name, tensor in original.state_dict().items())
    for arguments, code, fragment in (
        (["preset:tiny/esm2", str(tmp_path / "tiny.bin")], 2, "does not end in .pt"),
        (["preset:tiny/llama", str(path)], 1, "does not describe an ESM-2"),
        (["owner/name", str(path)], 1, "without a revision"),
    ):
        result = runner.invoke(app, ["encoder", "export", *arguments])
        assert (result.exit_code, fragment in words(result.stderr)) == (code, True), result.stderr


def test_listed_encoders_are_those_that_the_presets_name() -> None:
    listed = {
        row["name"]: row for row in json.loads(runner.invoke(app, ["encoder", "list", "--json"]).stdout)["encoders"]
    }
    for preset in presets():
        source = load_run(preset).model.encoder.source
        assert source.removeprefix("facebook/") in listed
    assert (listed["esm2_t33_650M_UR50D"]["width"], listed["esm2_t33_650M_UR50D"]["licence"]) == (1280, "mit")


WRITING = {
    ("data", "sample"): ["{}"],
    ("data", "ingest"): ["two.fasta", "--output", "{}"],
    ("data", "split"): ["corpus", "--output", "{}"],
    ("data", "literature"): ["--proteins", "two.fasta", "--articles", "articles", "--output", "{}"],
    ("data", "qa"): ["literature", "--output", "{}"],
    ("data", "report"): ["corpus", "--output", "{}.html"],
    ("data", "export"): ["corpus", "--output", "{}.json"],
    ("demo",): ["--output", "{}"],
    ("demo-real",): ["data", "--output", "{}"],
    ("embed",): ["two.fasta", "--model", "tiny", "--output", "{}"],
    ("evaluate",): ["tiny", "--output", "{}"],
    ("predict",): ["--input", "questions.json", "--model", "model", "--output", "{}.jsonl"],
    ("convert",): ["published", "--base", "llama", "--encoder", "esm2", "--output", "{}"],
    ("export",): ["model", "--output", "{}"],
    ("rehearse",): ["--preset", "tiny", "--output", "{}"],
    ("encoder", "export"): ["preset:tiny/esm2", "{}.pt"],
    ("index", "build"): ["two.fasta", "--output", "{}"],
}
"""Every command that writes where it is told, and what must stand before the place for that to be looked at."""
OTHER_OUTPUTS = {
    ("doctor",): "measures the disk of a folder",
    ("record",): "looks for a clone first: tests/models/test_recording.py",
    ("index", "calibration"): "makes no folder: tests/neighbours/test_cli_calibration.py",
}


@pytest.fixture
def two_proteins(workdir: Path) -> Path:
    (workdir / "two.fasta").write_text(">P1 one\nMKV\n>P2 two\nMKL\n")
    for name in ("uniprot/human_function.tsv", "qa/microbiome_benchmark.json"):
        (workdir / "data" / name).parent.mkdir(parents=True)
        (workdir / "data" / name).touch()
    return workdir


def test_each_output_is_known_here() -> None:
    def leaves(command: Any, names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        for name, inner in getattr(command, "commands", {}).items():
            yield from leaves(inner, (*names, name))
        if {"output", "plot"} & {parameter.name for parameter in command.params}:
            yield names

    assert set(leaves(typer.main.get_command(app), ())) == {*WRITING, *OTHER_OUTPUTS}


@pytest.mark.parametrize("command", WRITING, ids=" ".join)
def test_an_output_named_by_a_url_is_refused_before_anything_is_done(
    two_proteins: Path, command: tuple[str, ...]
) -> None:
    arguments = [argument.format("s3://bucket/out") for argument in WRITING[command]]
    result = runner.invoke(app, [*command, *arguments])
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.stderr
    told = result.stderr.strip().splitlines()[-1]
    assert re.search("is a URL|is no folder; name one on a local or shared disk", told)
    assert sorted(path.name for path in two_proteins.iterdir()) == ["data", "two.fasta"]


def test_a_runs_output_is_no_url(workdir: Path) -> None:
    (workdir / "mine.yaml").write_text("extends: tiny\nname: mine\noutput: s3://bucket/runs\n")
    result = runner.invoke(app, ["train", "mine.yaml"])
    assert result.exit_code == 2
    assert "mine.yaml: output: 's3://bucket/runs' is no folder; name one on a local" in error_line(result.stderr)
