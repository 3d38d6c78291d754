"""Checkpoints on disk: what is damaged is found, whatever the damage; what is unfinished does not count."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from protein2text.config import RunConfig
from protein2text.errors import CorruptCheckpoint, OtherRun, OtherVersion
from protein2text.models.checkpoints import MANIFEST, verify_manifest, write_manifest
from protein2text.train import checkpoints
from protein2text.train.checkpoint_writer import CheckpointWriter
from protein2text.train.stage_config import StageConfig
from protein2text.train.task import StageTask

CONFIG = StageConfig(epochs=1, global_batch=1, learning_rate=1, keep_checkpoints=2, keep_best=1)


def say_nothing(message: str = "", **values: Any) -> None:
    pass


def state_of(step: int) -> checkpoints.State:
    dice = torch.Generator().manual_seed(step)
    return {
        part: {"a": torch.randn(3, 5, generator=dice), "b": torch.randn(7, generator=dice)}
        for part in checkpoints.PARTS
    }


def save(folder: Path, step: int, **trainer: Any) -> Path:
    return checkpoints.save(folder, step, state_of(step), {"seed": 0, **trainer})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Checkpoints of steps 10 and 20."""
    for step in (10, 20):
        save(tmp_path, step)
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_state_and_trainer_come_back_equal(tmp_path: Path) -> None:
    found, trainer = checkpoints.load(save(tmp_path, 3, seed=5))
    assert trainer == {"version": 1, "step": 3, "seed": 5}
    for part, values in state_of(3).items():
        assert found[part].keys() == values.keys()
        assert all(torch.equal(found[part][name], value) for name, value in values.items())


def test_whoever_may_read_the_manifest_may_read_the_weights(tmp_path: Path) -> None:
    """safetensors would write them for their owner alone, and colleagues share a disk."""
    folder = save(tmp_path, 1)
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1


def truncate(path: Path, dice: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: dice.randrange(path.stat().st_size)])


def flip_a_bit(path: Path, dice: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    path.write_bytes(content)


def change_a_byte(path: Path, dice: random.Random) -> None:
    content = bytearray(path.read_bytes())
    place = dice.randrange(len(content))
    content[place] = (content[place] + dice.randrange(1, 256)) % 256
    path.write_bytes(content)


def append(path: Path, dice: random.Random) -> None:
    path.write_bytes(path.read_bytes() + dice.randbytes(dice.randrange(1, 50)))


def overwrite_a_page(path: Path, dice: random.Random) -> None:
    content = bytearray(path.read_bytes())
    begin = dice.randrange(len(content))
    page = dice.randbytes(min(64, len(content) - begin))
    content[begin : begin + len(page)] = page if page != content[begin : begin + len(page)] else b"~" * len(page)
    path.write_bytes(content)


def delete(path: Path, dice: random.Random) -> None:
    path.unlink()


def take_the_older_ones(path: Path, dice: random.Random) -> None:
    shutil.copy(path.parent.with_name("step-00000010") / path.name, path)


def swap(path: Path, dice: random.Random) -> None:
    """The whole older checkpoint under the newer one's name."""
    shutil.rmtree(path.parent)
    shutil.copytree(path.parent.with_name("step-00000010"), path.parent)


def add_a_file(path: Path, dice: random.Random) -> None:
    (path.parent / f"extra-{dice.randrange(100)}").write_bytes(dice.randbytes(5))


DAMAGES = (
    truncate, flip_a_bit, change_a_byte, append, overwrite_a_page, delete, take_the_older_ones, swap, add_a_file,
)  # fmt: skip


@pytest.mark.parametrize(
    "trials", [range(10), pytest.param(range(10, 1000), marks=pytest.mark.slow)], ids=["ten", "a thousand"]
)
def test_every_random_damage_is_found_and_the_checkpoint_before_it_used(tmp_path: Path, trials: range) -> None:
    whole = tmp_path / "whole"
    for step in (10, 20):
        save(whole, step)
    for trial in trials:
        dice, folder = random.Random(trial), tmp_path / str(trial)
        shutil.copytree(whole, folder)
        path = dice.choice(sorted((folder / "step-00000020").iterdir()))
        DAMAGES[trial % len(DAMAGES)](path, dice)
        found = checkpoints.newest_good(folder)
        assert found.folder == folder / "step-00000010", f"trial {trial}: damage to {path.name} was not found"
        assert len(found.problems) == 1
        assert "step-00000020" in found.problems[0]
        assert names(folder) == ["corrupt-step-00000020", "step-00000010"]
        assert checkpoints.newest_good(folder).problems == ()
        shutil.rmtree(folder)


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any], part: str = "exp_avg") -> None:
    """Change a part of a checkpoint and write its manifest again, as a program with a fault would."""
    values = load_file(folder / f"{part}.safetensors")
    change(values)
    save_file(values, folder / f"{part}.safetensors")
    write_manifest(folder)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda values: values.pop("a"), r"exp_avg\.safetensors: a is missing, in weights \[3, 5\]"),
        (lambda values: values.update(c=torch.zeros(1)), r"exp_avg\.safetensors: c is \[1\], in weights missing"),
        (lambda values: values.update(b=torch.zeros(6)), r"exp_avg\.safetensors: b is \[6\], in weights \[7\]"),
        (lambda values: values["a"].view(-1)[4].fill_(float("nan")), r"a is not finite everywhere"),
        (lambda values: values["b"][0].fill_(float("inf")), r"b is not finite everywhere"),
    ],
)
def test_what_training_cannot_use_is_refused_though_its_sums_are_right(
    folder: Path, change: Callable[[dict[str, torch.Tensor]], Any], problem: str
) -> None:
    rewrite(folder / "step-00000020", change)
    verify_manifest(folder / "step-00000020")
    with pytest.raises(CorruptCheckpoint, match=problem):
        checkpoints.verify(folder / "step-00000020")
    assert checkpoints.newest_good(folder).folder == folder / "step-00000010"


def test_a_checkpoint_without_one_of_its_parts_is_refused_though_its_sums_are_right(folder: Path) -> None:
    (folder / "step-00000020" / "exp_avg_sq.safetensors").unlink()
    write_manifest(folder / "step-00000020")
    with pytest.raises(CorruptCheckpoint, match=r"exp_avg_sq\.safetensors: missing, and not in the manifest either"):
        checkpoints.verify(folder / "step-00000020")


def test_a_file_that_the_disk_cannot_read_is_damage(folder: Path) -> None:
    path = folder / "step-00000020" / MANIFEST
    path.unlink()
    path.mkdir()
    found = checkpoints.newest_good(folder)
    assert found.folder == folder / "step-00000010"
    assert "manifest.json: cannot be read (Is a directory)" in found.problems[0]


def test_a_half_written_checkpoint_does_not_count(folder: Path) -> None:
    (folder / ".partial-00000030").mkdir()
    (folder / ".partial-00000030" / "weights.safetensors").write_bytes(b"half")
    assert checkpoints.newest_good(folder).folder == folder / "step-00000020"
    assert checkpoints.sweep(folder, newest=2) == [".partial-00000030"]
    assert names(folder) == ["step-00000010", "step-00000020"]


def test_none_is_found_where_all_are_damaged(folder: Path) -> None:
    for path in folder.glob("*/manifest.json"):
        path.unlink()
    found = checkpoints.newest_good(folder)
    assert found.folder is None
    assert len(found.problems) == 2


def of_another_version(folder: Path, file: str) -> None:
    path = folder / file
    path.write_text(path.read_text().replace('"version": 1', '"version": 9'))
    if file != MANIFEST:
        write_manifest(folder)


@pytest.mark.parametrize("file", ["trainer.json", MANIFEST])
def test_another_version_is_told_and_never_thrown_away(folder: Path, file: str) -> None:
    of_another_version(folder / "step-00000020", file)
    found = checkpoints.newest_good(folder)
    assert found.folder == folder / "step-00000010"
    assert "version 9, this program reads 1" in found.problems[0]
    of_another_version(folder / "step-00000010", file)
    with pytest.raises(OtherVersion, match="version 9, this program reads 1"):
        checkpoints.newest_good(folder)
    assert (folder / "step-00000010").is_dir()


@pytest.mark.parametrize(
    ("step", "seed", "problem"),
    [
        (30, 9, "trainer.json: is another run's: seed=9, this run has 3"),
        (50, 3, "trainer.json: is another run's: step 50, this run ends at step 40"),
    ],
)
def test_a_checkpoint_of_another_run_is_told_and_the_runs_own_used(
    tmp_path: Path, run_values: dict[str, Any], step: int, seed: int, problem: str
) -> None:
    task = StageTask(RunConfig.parse(run_values), "alignment", 40, {"seed": 3, "known_later": "a"})
    save(tmp_path / "own", 20, settings={"seed": 3, "no_longer_known": 1})
    for folder in ("own", "foreign"):
        save(tmp_path / folder, step, settings={"seed": seed})
    found = checkpoints.newest_good(tmp_path / "own", task)
    assert found.folder == tmp_path / "own" / "step-00000020"
    assert problem in found.problems[0]
    assert names(tmp_path / "own") == [f"corrupt-step-{step:08}", "step-00000020"]
    with pytest.raises(OtherRun, match=problem):
        checkpoints.newest_good(tmp_path / "foreign", task)
    assert names(tmp_path / "foreign") == [f"step-{step:08}"]


def test_a_file_or_a_dangling_link_of_a_checkpoints_name_is_set_aside(folder: Path) -> None:
    (folder / "step-00000099").write_text("x")
    (folder / "step-00000098").symlink_to(folder / "nowhere")
    found = checkpoints.newest_good(folder)
    assert found.folder == folder / "step-00000020"
    assert sorted(problem.split(": ", 1)[1].split(".")[0] for problem in found.problems) == [
        "step-00000098: is no folder", "step-00000099: is no folder",
    ]  # fmt: skip
    assert names(folder) == ["corrupt-step-00000098", "corrupt-step-00000099", "step-00000010", "step-00000020"]
    save(folder, 99)
    save(folder, 100)
    checkpoints.sweep(folder, newest=1)
    assert names(folder) == ["step-00000100"]


@pytest.mark.parametrize(
    ("newest", "best", "expected"),
    [(1, 0, {50}), (2, 0, {40, 50}), (2, 1, {20, 40, 50}), (1, 2, {20, 30, 50}), (9, 9, {10, 20, 30, 40, 50})],
)
def test_the_newest_and_the_best_are_kept(newest: int, best: int, expected: set[int]) -> None:
    losses = {10: 3.0, 20: 1.5, 30: 2.0, 40: None, 50: float("nan")}
    assert checkpoints.kept(losses, newest, best) == expected


def test_of_equal_losses_the_newest_is_the_best() -> None:
    assert checkpoints.kept({10: 1.0, 20: 1.0, 30: 2.0}, 1, 1) == {20, 30}


def test_the_sweep_leaves_what_somebody_reads_and_deletes_what_is_older_than_all(folder: Path) -> None:
    for step, loss in ((5, 0.1), (30, 0.5), (40, None), (50, 0.6)):
        save(folder, step, validation_loss=loss)
    (folder / "step-00000020").rename(folder / "corrupt-step-00000020")
    for name in ("corrupt-step-00000040", "corrupt-step-00000003", "notes", "step-old"):
        (folder / name).mkdir()
    deleted = checkpoints.sweep(folder, newest=2, best=1, spared=[folder / "step-00000010"])
    assert deleted == ["corrupt-step-00000003"]
    expected = ["corrupt-step-00000020", "corrupt-step-00000040", "notes", "step-00000005", "step-00000010"]
    assert names(folder) == [*expected, "step-00000040", "step-00000050", "step-old"]


def test_what_the_writer_could_not_write_surfaces_at_once(tmp_path: Path) -> None:
    blocked = tmp_path / "checkpoints"
    blocked.write_text("a file where a folder should be")
    writer = CheckpointWriter(blocked, CONFIG, say_nothing, None)
    with pytest.raises(OSError, match="checkpoints"):
        writer.write(1, state_of(1), {})


def test_the_writer_says_what_lies_on_disk_and_which_orphans_it_deleted(folder: Path) -> None:
    (folder / ".partial-00000015").mkdir()
    said: list[Any] = []
    writer = CheckpointWriter(
        folder, CONFIG, lambda message="", **values: said.append(message or values["checkpoint"]), None
    )
    writer.write(30, state_of(30), {"validation_loss": None})
    assert said == ["step-00000030", "deleted, since no finished checkpoint needs them: .partial-00000015"]
    assert names(folder) == ["step-00000020", "step-00000030"]
    trainer = json.loads((folder / "step-00000030" / "trainer.json").read_text())
    assert trainer == {"version": 1, "step": 30, "validation_loss": None}
