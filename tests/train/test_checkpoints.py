"""Checkpoints on disk: what is damaged is found, whatever the damage; what is unfinished does not count."""

import random
from pathlib import Path

import pytest
import torch

from protein2text.errors import CorruptCheckpoint
from protein2text.models.checkpoints import verify_manifest
from protein2text.train import checkpoints


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Checkpoints of steps 10 and 20."""
    for step in (10, 20):
        values = {"a": torch.randn(3, 5), "b": torch.randn(7)}
        checkpoints.save(tmp_path, step, dict.fromkeys(checkpoints.PARTS, values), {"seed": 0})
    return tmp_path


def test_state_and_trainer_come_back_equal(tmp_path: Path) -> None:
    state = {part: {"layer.weight": torch.randn(4, 6)} for part in checkpoints.PARTS}
    found, trainer = checkpoints.load(checkpoints.save(tmp_path, 3, state, {"seed": 5}))
    assert trainer == {"version": 1, "step": 3, "seed": 5}
    assert all(torch.equal(found[part]["layer.weight"], state[part]["layer.weight"]) for part in checkpoints.PARTS)


@pytest.mark.parametrize("trial", range(10))
def test_every_random_damage_is_found(folder: Path, trial: int) -> None:
    dice = random.Random(trial)
    path = dice.choice(sorted((folder / "step-00000020").iterdir()))
    content = bytearray(path.read_bytes())
    match trial % 5:
        case 0:
            content = content[: dice.randrange(len(content))]
        case 1:
            content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        case 2:
            content += b"\0"
        case 3:
            begin = dice.randrange(len(content) - 8)
            content[begin : begin + 8] = bytes(8) if any(content[begin : begin + 8]) else b"x" * 8
    if trial % 5 == 4:
        path.unlink()
    else:
        path.write_bytes(content)
    found = checkpoints.newest_good(folder)
    assert found.folder == folder / "step-00000010"
    assert len(found.problems) == 1
    assert "step-00000020" in found.problems[0]
    assert checkpoints.newest_good(folder).problems == ()


def test_a_half_written_checkpoint_does_not_count(folder: Path) -> None:
    (folder / ".partial-00000030").mkdir()
    (folder / ".partial-00000030" / "weights.safetensors").write_bytes(b"half")
    assert checkpoints.newest_good(folder).folder == folder / "step-00000020"
    checkpoints.sweep(folder, keep=2)
    assert not (folder / ".partial-00000030").exists()


def test_only_the_newest_are_kept(folder: Path) -> None:
    checkpoints.save(folder, 30, {part: {"a": torch.zeros(1)} for part in checkpoints.PARTS}, {})
    checkpoints.sweep(folder, keep=2)
    assert [path.name for path in sorted(folder.iterdir())] == ["step-00000020", "step-00000030"]


def test_none_is_found_where_all_are_damaged(folder: Path) -> None:
    for path in folder.glob("*/manifest.json"):
        path.unlink()
    found = checkpoints.newest_good(folder)
    assert found.folder is None
    assert len(found.problems) == 2


def test_another_version_is_refused(folder: Path) -> None:
    trainer = folder / "step-00000020" / "trainer.json"
    trainer.write_text(trainer.read_text().replace('"version": 1', '"version": 9'))
    with pytest.raises(CorruptCheckpoint, match="SHA-256 differs"):
        verify_manifest(trainer.parent)
    with pytest.raises(CorruptCheckpoint, match="version 9, this program reads 1"):
        checkpoints.load(trainer.parent)
