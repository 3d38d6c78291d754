"""Instruction tuning begins with the run's own alignment, a folder or a registered version, and says with which."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from protein2text import registry
from protein2text.cli import app
from protein2text.config import RunConfig
from protein2text.errors import ConfigError, MissingFile, ResumeMismatch
from protein2text.models.checkpoints import MANIFEST, sha256_of
from protein2text.train.run import train_stage
from protein2text.train.start import keep_start, resolve_start
from protein2text.train.task import StageTask

pytestmark = pytest.mark.usefixtures("local_ray")


def beginning_with(run_values: dict[str, Any], start: str, **changes: Any) -> RunConfig:
    instruction = run_values["instruction"] | {"start": start, "max_steps": 2}
    return RunConfig.parse(run_values | {"instruction": instruction, "name": "second"} | changes)


@pytest.fixture
def aligned(train_on: Any, two_workers: Any, run_values: dict[str, Any]) -> StageTask:
    """An alignment of four steps, of a run named ``first``."""
    alignment = run_values["alignment"] | {"epochs": 1}
    task: StageTask = train_on(two_workers, RunConfig.parse(run_values | {"name": "first", "alignment": alignment}))
    return task


def test_a_registered_alignment_is_begun_with_and_named_wherever_the_run_is(
    aligned: StageTask, run_values: dict[str, Any], tmp_path: Path
) -> None:
    """The alias moves while the run lasts; the run stays with the version that it began with."""
    database = f"sqlite:///{tmp_path}/registry.db"
    tracking = {"experiment": "test", "uri": database, "model_name": "tiny"}
    first = tmp_path / "first.yaml"
    RunConfig.parse(aligned.config.model_dump(mode="json") | {"tracking": tracking}).save(first)
    command = ["register", str(first), "--stage", "alignment", "--json"]
    answer = CliRunner().invoke(app, command, catch_exceptions=False)
    assert json.loads(answer.stdout) == {"name": "tiny", "version": "1", "alias": "aligned"}
    client = registry.connect(database)
    assert client.get_model_version("tiny", "1").tags["stage"] == "alignment"

    config = beginning_with(run_values, "models:/tiny@aligned", tracking=tracking)
    result = train_stage(config, "instruction")

    folder = config.folder / "instruction"
    start = json.loads((folder / "start.json").read_text())
    assert start["version"] == "models:/tiny/1"
    assert start["manifest_sha256"] == sha256_of(aligned.folder / "model" / MANIFEST)
    assert json.loads((folder / "model" / "run.json").read_text())["start"] == "models:/tiny/1"
    assert client.get_run(result.mlflow_run_id).data.tags["start"] == "models:/tiny/1"
    client.set_registered_model_alias("tiny", "aligned", "1")
    client.delete_registered_model_alias("tiny", "aligned")
    assert train_stage(config, "instruction") == result, "what was resolved once is not looked up again"


def test_a_folder_is_begun_with_where_it_lies(aligned: StageTask, run_values: dict[str, Any]) -> None:
    folder = aligned.folder / "model"
    config = beginning_with(run_values, str(folder))
    start = resolve_start(config, "instruction")
    assert keep_start(config, "instruction", start) == folder
    assert resolve_start(config, "alignment") is None
    with pytest.raises(ResumeMismatch, match=r"second/instruction.* instruction\.start="):
        resolve_start(RunConfig.parse(run_values | {"name": "second"}), "instruction")


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
