"""`protein2text checkpoint verify`: a line for each checkpoint and model of a place, and an exit code for scripts."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from protein2text.cli import app
from protein2text.models.checkpoints import write_manifest
from protein2text.train import checkpoints

runner = CliRunner()


def write_model(folder: Path, value: float) -> None:
    folder.mkdir(parents=True)
    save_file({"bridge": torch.full((2, 2), value)}, folder / "bridge.safetensors")
    (folder / "config.json").write_text("{}")
    write_manifest(folder)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder: alignment is done, instruction has two checkpoints and the beginning of a third."""
    run = tmp_path / "run"
    for stage, steps in (("alignment", (8,)), ("instruction", (10, 20))):
        for step in steps:
            state = {part: {"a": torch.ones(500)} for part in checkpoints.PARTS}
            checkpoints.save(run / stage / "checkpoints", step, state, {"validation_loss": 1.5})
    write_model(run / "alignment" / "model", 1.0)
    (run / "instruction" / "checkpoints" / ".partial-00000030").mkdir()
    (run / "instruction" / "events.jsonl").write_text("")
    (run / "evaluation").mkdir()
    return run


def verify(place: Path) -> tuple[int, list[list[str]]]:
    """Exit code, and the columns of each line."""
    result = runner.invoke(app, ["checkpoint", "verify", str(place)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, [
        [part.strip() for part in line.split("  ") if part.strip()] for line in result.stdout.splitlines()
    ]


def damage(run: Path) -> Path:
    path = run / "instruction" / "checkpoints" / "step-00000020" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    return path.parent


def test_a_good_run_has_a_line_for_each_and_exit_code_0(run: Path) -> None:
    code, lines = verify(run)
    assert code == 0
    assert [[line[0], line[1], line[3]] for line in lines[:-1]] == [
        ["ok", "step 8", "alignment/checkpoints/step-00000008"],
        ["ok", "model", "alignment/model"],
        ["unfinished", "step 30", "instruction/checkpoints/.partial-00000030"],
        ["ok", "step 10", "instruction/checkpoints/step-00000010"],
        ["ok", "step 20", "instruction/checkpoints/step-00000020"],
    ]
    assert lines[-1] == ["4 ok, 1 unfinished"]


@pytest.mark.parametrize(
    "place", [".", "instruction", "instruction/checkpoints", "instruction/checkpoints/step-00000020"]
)
def test_damage_is_named_from_wherever_one_looks(run: Path, place: str) -> None:
    damage(run)
    code, lines = verify(run / place)
    assert code == 1
    (bad,) = (line for line in lines if line[0] == "damaged")
    assert bad[1] == "step 20"
    assert bad[-1] == (
        "weights.safetensors: its SHA-256 differs from the manifest's. "
        "Use the previous good checkpoint, or copy this one again from where it was made."
    )


def test_a_copy_elsewhere_under_another_name_is_verified_too(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run / "instruction" / "checkpoints" / "step-00000020", tmp_path / "backup")
    code, lines = verify(copy)
    assert (code, lines[0][:2]) == (0, ["ok", "step 20"])
    (copy / "manifest.json").unlink()
    assert verify(copy)[0] == 1


def test_what_was_set_aside_is_told_apart_with_its_reason(run: Path) -> None:
    damage(run)
    folder = run / "instruction" / "checkpoints"
    checkpoints.newest_good(folder)
    code, lines = verify(folder)
    assert code == 1
    (aside,) = (line for line in lines if line[0] == "set aside")
    assert "its SHA-256 differs" in aside[-1]
    assert aside[-1].endswith("Training deletes it in time.")


def test_another_version_is_no_damage_but_nothing_to_use(run: Path) -> None:
    folder = run / "alignment" / "checkpoints" / "step-00000008"
    trainer = folder / "trainer.json"
    trainer.write_text(trainer.read_text().replace('"version": 1', '"version": 2'))
    write_manifest(folder)
    code, lines = verify(folder)
    assert (code, lines[0][0]) == (1, "other version")
    assert "Resume with the program that wrote it" in lines[0][-1]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"seed": 3, "num_steps": 20}, "this run ends at step 20"),
        ({"seed": 4, "num_steps": 30}, "seed=3, this run has 4"),
    ],
)
def test_a_checkpoint_that_cannot_be_the_runs_own_is_told(run: Path, settings: dict[str, int], problem: str) -> None:
    state = {part: {"a": torch.ones(5)} for part in checkpoints.PARTS}
    folder = checkpoints.save(run / "alignment" / "checkpoints", 21, state, {"settings": {"seed": 3}})
    assert verify(folder)[0] == 0, "nothing tells whose it is"
    (run / "alignment" / "settings.json").write_text(json.dumps(settings))
    code, lines = verify(folder)
    assert (code, lines[0][:2]) == (1, ["other run", "step 21"])
    assert f"trainer.json: is another run's: {'step 21, ' if 'ends' in problem else ''}{problem}" in lines[0][-1]


def test_a_model_is_verified_with_its_values(run: Path) -> None:
    write_model(run / "instruction" / "model", float("nan"))
    code, lines = verify(run / "instruction" / "model")
    assert (code, lines[0][:2]) == (1, ["damaged", "model"])
    assert "bridge is not finite everywhere" in lines[0][-1]


def test_json_holds_the_same(run: Path) -> None:
    damage(run)
    result = runner.invoke(app, ["checkpoint", "verify", str(run / "instruction"), "--json"])
    found = json.loads(result.stdout)
    assert (result.exit_code, found["bad"]) == (1, 1)
    by_step = {one["step"]: one for one in found["checkpoints"]}
    assert {step: one["state"] for step, one in by_step.items()} == {10: "ok", 20: "damaged", 30: "unfinished"}
    files = (run / "instruction" / "checkpoints" / "step-00000010").iterdir()
    assert by_step[10]["bytes"] == sum(path.stat().st_size for path in files)


def test_a_place_without_any_is_an_error_of_use(run: Path, tmp_path: Path) -> None:
    for place in (run / "evaluation", tmp_path / "nowhere"):
        result = runner.invoke(app, ["checkpoint", "verify", str(place)])
        assert result.exit_code == 2
        assert "Name a checkpoint" in result.stderr
