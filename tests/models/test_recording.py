"""``protein2text record`` on a stand-in clone: what it keeps is what the oracle computes, and `parity` takes it."""

import json
import pickle
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from safetensors.torch import load_file
from typer.testing import CliRunner

from protein2text.cli import app
from protein2text.errors import RecordError, RecordingStopped
from protein2text.models.parity import STAGES
from protein2text.models.recording import find_python
from protein2text.models.recording_inputs import Checkpoints, default_records, read_records
from protein2text.proteins import clean_sequence
from tests.models.conftest import relative_error
from tests.models.plain_reference import LETTERS
from tests.models.recordings import Recording, Shape
from tests.models.recordings import record as write_recording
from tests.models.stand_in_clone import write_clone

NUM_TOKENS = 12


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Random checkpoints, and what the plain oracle computes with them."""
    shape = Shape(encoder_layers=3, depth=1, lengths=(1, 40, 17), num_tokens=NUM_TOKENS)
    places = write_recording(tmp_path_factory.mktemp("oracle"), shape, seed=4)
    (places.encoder / "vocab.txt").write_text("\n".join(LETTERS))
    config = places.published / "config.json"
    named = {**json.loads(config.read_text()), "mm_protein_encoder": f"facebook/{places.encoder.name}"}
    config.write_text(json.dumps(named))
    return places


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return write_clone(tmp_path / "clone")


def command(oracle: Recording, clone: Path, output: Path, *more: str, **changed: str) -> list[str]:
    options = {
        "weights": str(oracle.published), "base": str(oracle.base), "encoder": str(oracle.encoder),
        "output": str(output), "input": str(oracle.folder / "input.json"), "python": sys.executable,
        "max-new-tokens": str(NUM_TOKENS), **changed,
    }  # fmt: skip
    return ["record", str(clone), *(word for name, value in options.items() for word in (f"--{name}", value)), *more]


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(app, command(*arguments))


def error_line(result: Result) -> str:
    assert "Traceback" not in result.stderr
    return str(result.stderr.strip().splitlines()[-1])


def test_it_keeps_what_the_oracle_computes_and_parity_takes_it(oracle: Recording, clone: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    result = run(oracle, clone, output)
    assert result.exit_code == 0, result.output
    assert f"next: protein2text parity {output}" in result.stderr
    assert f"torch {torch.__version__.split('+')[0]}" in result.stderr
    theirs, ours = load_file(oracle.folder / "recorded.safetensors"), load_file(output / "recorded.safetensors")
    inputs = json.loads((output / "input.json").read_text())
    assert len(ours) == len(theirs) == 6 * len(inputs)
    for entry in inputs:
        for stage in (*STAGES, "input_ids"):
            kept, wanted = ours[f"{entry['long_format_id']}.{stage}"], theirs[f"{entry['id']}.{stage}"]
            assert kept.dtype == wanted.dtype
            assert relative_error(kept, wanted) < (1e-2 if stage == "last_logits" else 1e-6)
        assert ours[f"{entry['long_format_id']}.generated_ids"][0] == theirs[f"{entry['id']}.generated_ids"][0]
    texts, oracle_texts = (json.loads((at / "recorded.json").read_text()) for at in (output, oracle.folder))
    assert [text["prompt"] for text in texts] == [text["prompt"] for text in oracle_texts]
    assert [text["long_format_id"] for text in texts] == [text["long_format_id"] for text in oracle_texts]
    checked = CliRunner().invoke(app, ["parity", str(output)])
    assert checked.exit_code == 0, checked.output
    assert "parity holds" in checked.stdout


@pytest.mark.slow
def test_without_questions_it_asks_eight_of_its_own(oracle: Recording, clone: Path, tmp_path: Path) -> None:
    lengths = [len(entry["amino_seq"]) for entry in default_records()]
    assert len(lengths) == 8
    assert (min(lengths), max(lengths) > 1022) == (1, True)
    arguments = command(oracle, clone, tmp_path / "out", "--copy", "--json")
    at = arguments.index("--input")
    result = CliRunner().invoke(app, arguments[:at] + arguments[at + 2 :])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["recorded_now"] == 8
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_symlink()]
    checked = CliRunner().invoke(app, ["parity", str(tmp_path / "out"), "--json"])
    assert checked.exit_code == 0, checked.output
    assert [row["num_residues"] for row in json.loads(checked.stdout)["records"]] == lengths


def test_on_the_golden_checkpoint_it_keeps_what_the_reference_recorded(
    golden: Path, clone: Path, tmp_path: Path
) -> None:
    folder = golden / "reference-tiny"
    places = Recording(folder, folder / "base-llama", folder / "facebook" / "esm2_tiny", folder / "protein2text-tiny")
    result = CliRunner().invoke(app, command(places, clone, tmp_path / "out", **{"max-new-tokens": "24"}))
    assert result.exit_code == 0, result.output
    theirs, ours = (load_file(at / "recorded.safetensors") for at in (folder, tmp_path / "out"))
    assert len(ours) == len(theirs)
    for entry in json.loads((folder / "input.json").read_text()):
        for stage in (*STAGES, "input_ids"):
            kept, wanted = ours[f"{entry['long_format_id']}.{stage}"], theirs[f"{entry['id']}.{stage}"]
            assert kept.dtype == wanted.dtype
            assert relative_error(kept, wanted) < (1e-9 if stage == "input_ids" else 1e-2)
    texts, wanted_texts = (json.loads((at / "recorded.json").read_text()) for at in (tmp_path / "out", folder))
    assert [text["prompt"] for text in texts] == [text["prompt"] for text in wanted_texts]


def test_an_environment_in_the_clone_is_found_as_the_link_it_is(clone: Path) -> None:
    """What a link leads to is the Python that the environment was made from, which has none of its libraries."""
    for name in ("protein2text_env", ".venv"):
        python = clone / name / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.symlink_to(sys.executable)
        assert find_python(clone, None) == python


def test_a_killed_recording_goes_on_where_it_stopped(oracle: Recording, clone: Path, tmp_path: Path) -> None:
    output, sequences = tmp_path / "out", [r["amino_seq"] for r in read_records(oracle.folder / "input.json")]
    (clone / "evaluation" / "kill").write_text(sequences[1])
    killed = run(oracle, clone, output)
    assert killed.exit_code == 1
    assert "stopped after 1 of 3 records, which are kept: signal 9" in error_line(killed)
    assert not (output / "recorded.safetensors").exists()
    (clone / "evaluation" / "kill").unlink()
    resumed = run(oracle, clone, output, "--json")
    assert resumed.exit_code == 0, resumed.output
    assert json.loads(resumed.stdout)["recorded_now"] == 2
    finished = run(oracle, clone, output, "--json")
    assert json.loads(finished.stdout)["recorded_now"] == 0
    asked = (clone / "evaluation" / "asked.txt").read_text().split()
    assert asked == [sequences[0], sequences[1], sequences[1], sequences[2]]
    assert CliRunner().invoke(app, ["parity", str(output)]).exit_code == 0
    other = CliRunner().invoke(app, command(oracle, clone, output, **{"max-new-tokens": "3"}))
    assert other.exit_code == 1
    assert f"max_new_tokens={NUM_TOKENS}, now max_new_tokens=3" in error_line(other)


def test_the_clone_sees_none_of_our_paths_and_no_hub(
    oracle: Recording, clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,2")
    assert run(oracle, clone, tmp_path / "out").exit_code == 0
    seen = json.loads((clone / "evaluation" / "environment.json").read_text())
    assert "PYTHONPATH" not in seen
    assert (seen["CUDA_VISIBLE_DEVICES"], seen["HF_HUB_OFFLINE"]) == ("", "1")
    assert "a library that prints" in (tmp_path / "out" / "record.log").read_text()


SLOW = pytest.mark.slow
PROGRAM, BUILDER = Path("evaluation", "inference_model.py"), Path("evaluation", "model", "builder.py")


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        (PROGRAM, "def eval_model(", "def answer(", "has no eval_model; looked for predict_data, eval_model"),
        pytest.param(
            PROGRAM, "top_p, num_beams", "nucleus, num_beams", "missing a required argument: 'nucleus'", marks=SLOW
        ),
        pytest.param(
            PROGRAM, "import signal", "import no_such_module", "does not import (ModuleNotFoundError", marks=SLOW
        ),
        pytest.param(PROGRAM, "HERE = ", "raise SystemExit(0)\nHERE = ", "it ended without an error", marks=SLOW),
        pytest.param(
            PROGRAM, 'sample["amino_seq"], temp', 'sample["amino_seq"] + "A", temp', "was given another sequence",
            marks=SLOW,
        ),
        (BUILDER, "mm_resampler", "pooling", "gives no latents; looked for get_protein_encoder(), get_model().mm_res"),
        pytest.param(
            BUILDER, "def get_protein_encoder", "def encoder", "has no method get_protein_encoder", marks=SLOW
        ),
        pytest.param(
            BUILDER, "self.lm_head(torch", "self.lm_head.forward(torch", "its last_logits never passed", marks=SLOW
        ),
    ],
)  # fmt: skip
def test_a_clone_that_differs_is_told_what_was_looked_for(
    oracle: Recording, clone: Path, tmp_path: Path, file: Path, old: str, new: str, told: str
) -> None:
    text = (clone / file).read_text()
    assert old in text
    (clone / file).write_text(text.replace(old, new))
    result = run(oracle, clone, tmp_path / "out")
    assert result.exit_code == 1
    assert "stopped after 0 of 3 records" in error_line(result)
    assert told in error_line(result)


def test_what_is_missing_is_named_before_anything_is_written(oracle: Recording, clone: Path, tmp_path: Path) -> None:
    output, empty = tmp_path / "out", tmp_path / "empty"
    empty.mkdir()
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho cannot start >&2\nexit 3\n")
    broken.chmod(0o755)
    bare = tmp_path / "bare"
    bare.write_text('#!/bin/sh\necho \'{"python": "3.10.1", "torch": "2.4.0"}\'\n')
    bare.chmod(0o755)
    cases: list[tuple[list[str], str]] = [
        (command(oracle, tmp_path / "nowhere", output), "nowhere/evaluation/inference_model.py does not exist"),
        (command(oracle, empty, output), "empty/evaluation/inference_model.py does not exist"),
        (command(oracle, clone, output, python=str(tmp_path / "absent")), "absent does not exist"),
        (command(oracle, clone, output, python=str(broken)), "ended with status 3: cannot start"),
        (command(oracle, clone, output, python=str(bare)), "has no transformers, safetensors; run"),
        (command(oracle, clone, output, python=str(oracle.folder / "input.json")), "does not run as a Python"),
        (command(oracle, clone, output, weights=str(empty)), "empty/config.json does not exist"),
        (command(oracle, clone, output, base=str(empty)), "the decoder (--base)"),
        (command(oracle, clone, output, encoder=str(empty)), "the encoder (--encoder)"),
        (command(oracle, clone, output, input=str(empty / "q.json")), "q.json does not exist"),
    ]
    for arguments, told in cases:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2, result.output
        assert told in error_line(result)
    unnamed = command(oracle, clone, output)
    at = unnamed.index("--python")
    result = CliRunner().invoke(app, unnamed[:at] + unnamed[at + 2 :])
    assert result.exit_code == 2
    assert "clone/.venv/bin/python or " in error_line(result)
    assert not output.exists()


def test_an_output_is_no_url(oracle: Recording, clone: Path, workdir: Path) -> None:
    result = run(oracle, clone, Path("s3://bucket/out"))
    assert result.exit_code == 2
    assert "s3:/bucket/out: output: is a URL" in error_line(result)
    assert not (workdir / "s3:").exists()


def test_an_output_that_is_something_else_is_left_alone(oracle: Recording, clone: Path, tmp_path: Path) -> None:
    shutil.copytree(oracle.folder, tmp_path / "mine")
    before = sorted(tmp_path.joinpath("mine").rglob("*"))
    result = run(oracle, clone, tmp_path / "mine")
    assert result.exit_code == 2
    assert "exists and is no recording" in error_line(result)
    assert sorted(tmp_path.joinpath("mine").rglob("*")) == before


def entry(**changed: Any) -> dict[str, Any]:
    human = {"from": "human", "value": "<protein_sequence>\nWhat is it?"}
    return {"id": "P1", "amino_seq": "MKV", "conversations": [human], **changed}


@pytest.mark.parametrize(
    ("records", "told"),
    [
        ([entry(), entry()], "'P1' stands 2 times"),
        ([entry(amino_seq="MJK")], "residue 2: 'J'"),
        ([entry(amino_seq=" ")], "0 residues"),
        ([entry(amino_seq=None)], "amino_seq: None"),
        ([entry(id=7)], "long_format_id: 7"),
        ([entry(conversations=[])], "conversations: []"),
        ([entry(conversations=[{"value": "<protein_sequence>\n "}])], "conversations"),
        ([entry(conversations=[{"value": "Is <protein_sequence> like it?"}])], "may stand once"),
        (["MKV"], "an object is expected"),
        ([], "at least 1 record"),
        ({"id": "P1"}, "a list"),
    ],
)
def test_a_record_that_cannot_be_asked_is_named(tmp_path: Path, records: Any, told: str) -> None:
    path = tmp_path / "questions.json"
    path.write_text(json.dumps(records))
    with pytest.raises(RecordError) as caught:
        read_records(path)
    assert told in str(caught.value)


def test_a_question_alone_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "questions.json"
    path.write_text(json.dumps([entry(amino_seq="mk\nv*", protein="kept")]))
    (record,) = read_records(path)
    assert (record["long_format_id"], record["amino_seq"], record["protein"]) == ("P1", "MKV", "kept")
    assert record["conversations"][1] == {"from": "gpt", "value": ""}
    assert all(clean_sequence(own["amino_seq"], record="own") == own["amino_seq"] for own in default_records())


@pytest.mark.parametrize(
    ("mode", "folder", "name"),
    [
        ("resampler", "checkpoint", "protein2text-checkpoint"),
        ("resampler", "My-Protein2Text", "My-Protein2Text"),
        (True, "protein2text-old", "resampler-protein2text-old"),
        (True, "protein2text-resampler", "protein2text-resampler"),
    ],
)
def test_a_checkpoint_is_called_what_the_reference_can_read(
    oracle: Recording, tmp_path: Path, mode: object, folder: str, name: str
) -> None:
    """Its loader wants ``protein2text`` in a folder's name, and takes the kind from it where the flag says only yes."""
    shutil.copytree(oracle.published, tmp_path / folder)
    arguments = tmp_path / folder / "model_args.json"
    arguments.write_text(json.dumps({**json.loads(arguments.read_text()), "mm_use_resampler_gca": mode}))
    assert Checkpoints.find(tmp_path / folder, oracle.base, oracle.encoder).weights_name == name


def test_the_error_survives_a_process_border() -> None:
    error = RecordingStopped("out", 1, 3, "signal 9")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
