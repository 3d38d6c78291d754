"""Instruction tuning begins with the run's own alignment, a folder or a registered version, and says with which."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from protein2text.cli import app
from protein2text.config import RunConfig
from protein2text.errors import ConfigError, CorruptCheckpoint, DiskFull, MissingFile, ResumeMismatch
from protein2text.models.checkpoints import MANIFEST, sha256_of, write_manifest
from protein2text.train.before_start import refuse_early
from protein2text.train.run import train_stage
from protein2text.train.start import keep_start, resolve_start
from protein2text.train.task import StageTask
from tests.conftest import no_file_above


def beginning_with(run_values: dict[str, Any], start: str, **changes: Any) -> RunConfig:
    instruction = run_values["instruction"] | {"start": start, "max_steps": 2}
    return RunConfig.parse(run_values | {"instruction": instruction, "name": "second"} | changes)


@pytest.fixture
def aligned(train_on: Any, two_workers: Any, run_values: dict[str, Any]) -> StageTask:
    """An alignment of four steps, of a run named ``first``."""
    alignment = run_values["alignment"] | {"epochs": 1}
    task: StageTask = train_on(two_workers, RunConfig.parse(run_values | {"name": "first", "alignment": alignment}))
    return task


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"instruction": {"start": "models:/tiny@nobody"}}, "models:/tiny@nobody"),
        ({"instruction": {"start": "/nowhere/model"}}, "/nowhere/model does not exist"),
        ({"model": {"encoder": {"layer": 9}}}, "encoder.layer: 9 selects layer 9"),
        ({"checkpoint_store": {"url": "nowhere://bucket"}}, "checkpoint_store.url"),
    ],
)
def test_what_the_second_stage_lacks_is_told_before_the_first_is_trained(
    run_config: RunConfig, tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    run_config.save(tmp_path / "run.yaml")
    values = {"extends": str(tmp_path / "run.yaml"), **changes}
    (tmp_path / "changed.yaml").write_text(json.dumps(values))
    for command in (["train"], ["train", "--dry-run"]):
        result = CliRunner().invoke(app, [*command, str(tmp_path / "changed.yaml")])
        assert result.exit_code == 2, result.output
        assert named in result.stderr
        assert not (run_config.folder / "alignment").exists()


def test_a_stage_that_has_nothing_to_train_on_is_told_before_the_first_is_trained(
    run_values: dict[str, Any], tmp_path: Path
) -> None:
    """Of a corpus its card says what it holds: here no questions."""
    corpora = []
    for number, corpus in enumerate(2 * run_values["data"]["corpus"]):
        corpora.append(shutil.copytree(corpus, tmp_path / f"corpus-{number}"))
        card = json.loads((corpora[-1] / "card.json").read_text())
        card["counts"] = {"descriptions": 4 * number, "questions": 0}
        (corpora[-1] / "card.json").write_text(json.dumps(card))
    config = RunConfig.parse(run_values | {"data": run_values["data"] | {"corpus": [str(path) for path in corpora]}})
    refuse_early(config, ("alignment",))
    with pytest.raises(ConfigError, match="instruction is trained on questions, and no corpus has any"):
        refuse_early(config, ("alignment", "instruction"))


def test_registering_what_is_not_trained_yet_says_what_to_run(run_config: RunConfig, tmp_path: Path) -> None:
    run_config.save(tmp_path / "run.yaml")
    result = CliRunner().invoke(app, ["register", str(tmp_path / "run.yaml"), "--stage", "alignment"])
    assert result.exit_code == 2
    assert "Train the stage to its end: `protein2text train RUN --stage alignment`" in result.stderr


def test_a_folder_is_begun_with_where_it_lies(aligned: StageTask, run_values: dict[str, Any]) -> None:
    folder = aligned.folder / "model"
    config = beginning_with(run_values, str(folder))
    start = resolve_start(config, "instruction")
    assert keep_start(config, "instruction", start) == folder
    assert resolve_start(config, "alignment") is None
    with pytest.raises(ResumeMismatch, match=r"second/instruction.* instruction\.start="):
        resolve_start(RunConfig.parse(run_values | {"name": "second"}), "instruction")


def test_a_run_that_is_moved_goes_on_with_its_own_alignment(
    aligned: StageTask, run_values: dict[str, Any], tmp_path: Path
) -> None:
    config = RunConfig.parse(run_values | {"name": "first"})
    keep_start(config, "instruction", start := resolve_start(config, "instruction"))
    shutil.move(run_values["output"], tmp_path / "elsewhere")
    moved = RunConfig.parse(run_values | {"name": "first", "output": str(tmp_path / "elsewhere")})
    assert start is not None
    begun = resolve_start(moved, "instruction")
    assert begun is not None
    assert Path(begun.folder) == tmp_path / "elsewhere" / "first" / "alignment" / "model"
    assert begun.manifest_sha256 == start.manifest_sha256


def test_another_model_in_the_place_of_the_one_begun_with_is_refused(
    aligned: StageTask, run_values: dict[str, Any], tmp_path: Path
) -> None:
    """Given by its folder, and the run's own alignment: whole models both times."""
    own = RunConfig.parse(run_values | {"name": "second"})
    for folder, config in (
        (tmp_path / "copy", beginning_with(run_values, str(tmp_path / "copy"), name="third")),
        (own.folder / "alignment" / "model", own),
    ):
        shutil.copytree(aligned.folder / "model", folder)
        keep_start(config, "instruction", start := resolve_start(config, "instruction"))
        assert resolve_start(config, "instruction") == start
        (folder / "README.md").write_text("another model")
        write_manifest(folder)
        with pytest.raises(ResumeMismatch) as caught:
            resolve_start(config, "instruction")
        sums = (sha256_of(model / MANIFEST) for model in (aligned.folder / "model", folder))
        for digest in sums:
            assert f"instruction.start={folder} with manifest {digest}" in str(caught.value)


def test_a_record_of_the_start_that_names_another_model_is_not_followed(
    aligned: StageTask, run_values: dict[str, Any], tmp_path: Path
) -> None:
    folder = aligned.folder / "model"
    config = beginning_with(run_values, str(folder))
    keep_start(config, "instruction", start := resolve_start(config, "instruction"))
    record = config.folder / "instruction" / "start.json"
    good = json.loads(record.read_text())
    shutil.copytree(folder, tmp_path / "other")
    record.write_text(json.dumps(good | {"folder": str(tmp_path / "other")}))
    assert resolve_start(config, "instruction") == start
    record.write_text(json.dumps(good | {"manifest_sha256": "00"}))
    with pytest.raises(ResumeMismatch, match="with manifest 00, now"):
        resolve_start(config, "instruction")


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "null", "{}"])
def test_a_damaged_record_of_the_start_says_what_to_do(run_values: dict[str, Any], text: str) -> None:
    config = RunConfig.parse(run_values)
    record = config.folder / "instruction" / "start.json"
    record.parent.mkdir(parents=True)
    record.write_text(text)
    with pytest.raises(CorruptCheckpoint, match=r"small/instruction: start\.json: .*\. Remove it: "):
        resolve_start(config, "instruction")


def test_a_model_of_another_shape_is_refused_with_the_key_that_differs(
    aligned: StageTask, run_values: dict[str, Any]
) -> None:
    model = run_values["model"] | {"bridge": run_values["model"]["bridge"] | {"depth": 2}}
    config = beginning_with(run_values, str(aligned.folder / "model"), model=model)
    with pytest.raises(ConfigError, match=r"second: model\.bridge\.depth: 2, but .*/first/alignment/model.* has 1"):
        resolve_start(config, "instruction")


def test_what_is_not_there_is_named(run_values: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"nowhere does not exist.* the model that instruction tuning begins with"):
        resolve_start(beginning_with(run_values, str(tmp_path / "nowhere")), "instruction")
    with pytest.raises(MissingFile, match="models:/unknown/3 does not exist"):
        resolve_start(beginning_with(run_values, "models:/unknown/3"), "instruction")


def test_alignment_has_no_start_to_choose(run_values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="alignment: unknown key 'start'"):
        RunConfig.parse(run_values | {"alignment": run_values["alignment"] | {"start": "models:/tiny/1"}})


def test_a_disk_that_takes_no_more_is_named(run_config: RunConfig) -> None:
    folder = run_config.folder / "alignment"
    with no_file_above(1), pytest.raises(DiskFull, match=f"{folder}: a file reached the limit"):
        train_stage(run_config, "alignment")
