"""Training checkpoints: whole tensors by parameter name, so that any number of workers can go on from them. No pickle.

    checkpoints/step-00000200/weights.safetensors       float32 weights of the trainable parameters
                              exp_avg.safetensors       Adam's first moments
                              exp_avg_sq.safetensors    Adam's second moments
                              trainer.json              step, place in the plan, settings, seed, validation loss
                              manifest.json             SHA-256 of each file, written last

What counts is what lies on disk under a valid manifest; a folder without one was never finished.
"""

import json
import math
import re
import shutil
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from protein2text.errors import CorruptCheckpoint, OtherRun, OtherVersion
from protein2text.models.checkpoints import MANIFEST, verify_manifest, write_manifest
from protein2text.train.settings import Settings, first_difference
from protein2text.train.task import StageTask

PARTS = ("weights", "exp_avg", "exp_avg_sq")
TRAINER = "trainer.json"
TRAINER_VERSION = 1
FILES = (*(f"{part}.safetensors" for part in PARTS), TRAINER)
"""What a checkpoint holds beside its manifest."""
PARTIAL, CORRUPT = ".partial-", "corrupt-"
"""What stands before the name of one that is being written, and of one that was set aside."""
FOREIGN = (OtherVersion, OtherRun)
"""What is wrong with a whole checkpoint that is somebody else's."""
REMEDY = "Use the checkpoint before it, or copy this one again from where it was made."
_STEP = re.compile(r"(\.partial-|corrupt-step-|step-)(\d{8,})")

State = dict[str, dict[str, Tensor]]
"""``weights``, ``exp_avg`` and ``exp_avg_sq``, each a tensor by parameter name."""


@dataclass(frozen=True)
class Found:
    """The newest good checkpoint and what was wrong with newer ones."""

    folder: Path | None
    problems: tuple[str, ...]


def name_of(step: int) -> str:
    """Name of the finished checkpoint after ``step`` optimizer steps."""
    return f"step-{step:08}"


def step_in(name: str, kind: str = "step-") -> int | None:
    """The step in the name of a checkpoint of a kind (finished, ``PARTIAL``, or ``CORRUPT``); None in other names."""
    match = _STEP.fullmatch(name)
    return int(match[2]) if match and match[1].startswith(kind) else None


def finished(checkpoints: Path) -> dict[int, Path]:
    """Finished checkpoints by step, oldest first; whether they are good is not looked at."""
    steps = {step_in(folder.name): folder for folder in checkpoints.glob("step-*") if folder.is_dir()}
    return {step: steps[step] for step in sorted(step for step in steps if step is not None)}


def save(checkpoints: Path, step: int, state: Mapping[str, Mapping[str, Tensor]], trainer: Mapping[str, Any]) -> Path:
    """Write the checkpoint after ``step`` optimizer steps; it appears under its name only when it is whole."""
    folder, partial = checkpoints / name_of(step), checkpoints / f"{PARTIAL}{step:08}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)

    def write(part: str) -> None:
        save_file({name: tensor.contiguous() for name, tensor in state[part].items()}, partial / f"{part}.safetensors")

    with ThreadPoolExecutor() as pool:  # writing releases the GIL
        list(pool.map(write, PARTS))
    (partial / TRAINER).write_text(json.dumps({"version": TRAINER_VERSION, "step": step, **trainer}, indent=1))
    write_manifest(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return folder


def verify(folder: Path) -> dict[str, Any]:
    """Check a checkpoint byte by byte, then that its parts belong together and hold numbers that training can use.

    Returns:
        What its ``trainer.json`` says.

    Raises:
        MissingFile: no such folder.
        CorruptCheckpoint: any byte differs from what was written, a part is missing, weights and moments are not of the
            same names and shapes, a value is not finite, or the folder bears another step's name.
        OtherVersion: written by another version of this program.
    """
    try:
        manifest = verify_manifest(folder)
        if json.dumps(manifest, indent=2) != (folder / MANIFEST).read_text():
            raise CorruptCheckpoint(str(folder), MANIFEST, "is not as it was written", REMEDY)
        if missing := sorted(set(FILES) - set(manifest["files"])):
            raise CorruptCheckpoint(str(folder), missing[0], "missing, and not in the manifest either", REMEDY)
        trainer = _trainer(folder)
        _refuse_unequal_parts(folder)
    except OSError as error:
        file = Path(error.filename or folder).name
        raise CorruptCheckpoint(str(folder), file, f"cannot be read ({error.strerror or error})", REMEDY) from error
    named = _STEP.fullmatch(folder.name)
    if named and int(named[2]) != trainer["step"]:
        problem = f"says step {trainer['step']}, the folder's name says {int(named[2])}"
        raise CorruptCheckpoint(str(folder), TRAINER, problem, REMEDY)
    return trainer


def refuse_other_runs(
    folder: Path, trainer: Mapping[str, Any], settings: Settings, num_steps: int | None = None
) -> None:
    """Compare what a verified checkpoint's ``trainer.json`` says with the stage whose own it should be.

    Args:
        folder: the checkpoint.
        trainer: what its file says.
        settings: of the stage.
        num_steps: of the stage, where it is known.

    Raises:
        OtherRun: a setting that both have differs, or its step is beyond the stage's last one.
    """
    remedy = "Move it away, or resume the run that wrote it."
    saved = trainer.get("settings") or {}
    if key := first_difference(saved, settings):
        problem = f"is another run's: {key}={json.dumps(saved[key])}, this run has {json.dumps(settings[key])}"
        raise OtherRun(str(folder), TRAINER, problem, remedy)
    if num_steps is not None and trainer["step"] > num_steps:
        problem = f"is another run's: step {trainer['step']}, this run ends at step {num_steps}"
        raise OtherRun(str(folder), TRAINER, problem, remedy)


def newest_good(checkpoints: Path, task: StageTask | None = None) -> Found:
    """Verify checkpoints from the newest back until one is good; those that are not are set aside under another name.

    Args:
        checkpoints: the folder of checkpoints.
        task: the stage whose own they must be; without it that is not looked at.

    Raises:
        OtherVersion, OtherRun: none is good, and at least one is of another version or run: nothing is touched, nothing
            begins anew.
    """
    named = [path for path in checkpoints.glob("step-*") if step_in(path.name) is not None and not path.is_dir()]
    bad = {path: CorruptCheckpoint(str(checkpoints), path.name, "is no folder", REMEDY) for path in named}
    good = None
    for folder in reversed(finished(checkpoints).values()):
        try:
            trainer = verify(folder)
            if task is not None:
                refuse_other_runs(folder, trainer, task.settings, task.num_steps)
        except CorruptCheckpoint as error:
            bad[folder] = error
        else:
            good = folder
            break
    if good is None and (foreign := [problem for problem in bad.values() if isinstance(problem, FOREIGN)]):
        raise foreign[0]
    for folder in bad:
        aside = folder.with_name(CORRUPT + folder.name)
        _remove(aside)
        folder.rename(aside)
    return Found(good, tuple(map(str, bad.values())))


def load(folder: Path) -> tuple[State, dict[str, Any]]:
    """State and trainer of a verified checkpoint.

    Raises:
        OtherVersion: written by another version of this program.
    """
    trainer = _trainer(folder)
    return {part: load_file(folder / f"{part}.safetensors") for part in PARTS}, trainer


def kept(losses: Mapping[int, float | None], newest: int, best: int) -> set[int]:
    """Which steps to keep.

    Args:
        losses: validation loss by step; None, or not a number, where it is unknown, which is never the best.
        newest: how many of the newest.
        best: how many of the lowest loss; of equal ones the newest.
    """
    known = {step: loss for step, loss in losses.items() if loss is not None and math.isfinite(loss)}
    ranked = sorted(known, key=lambda step: (known[step], -step))
    return {*sorted(losses)[-newest:], *ranked[:best]}


def sweep(checkpoints: Path, newest: int, best: int = 0, *, spared: Collection[Path] = ()) -> list[str]:
    """Delete checkpoints that are not ``kept``, unfinished ones, and those set aside that are older than all kept ones.

    Args:
        spared: finished checkpoints to leave alone, since somebody reads them.

    Returns:
        Names of the unfinished ones and those set aside that were deleted.
    """
    folders = finished(checkpoints)
    keep = kept({step: _loss(folder) for step, folder in folders.items()}, newest, best)
    for step, folder in folders.items():
        if step not in keep and folder not in spared:  # under another name first: a kill leaves no half of a checkpoint
            shutil.rmtree(checkpoints / f"{PARTIAL}{step:08}", ignore_errors=True)
            shutil.rmtree(folder.rename(checkpoints / f"{PARTIAL}{step:08}"))
    aside = {folder: step_in(folder.name, CORRUPT) for folder in checkpoints.glob(f"{CORRUPT}*")}
    old = [folder for folder, step in aside.items() if step is not None and keep and step < min(keep)]
    orphans = sorted([*old, *checkpoints.glob(f"{PARTIAL}*")])
    for folder in orphans:
        _remove(folder)
    return [folder.name for folder in orphans]


def _remove(path: Path) -> None:
    """Delete a folder, or the file or link that bears a folder's name, if there is one."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def loss_in(trainer: str | bytes) -> float | None:
    """The newest validation loss when a checkpoint was written, from its ``trainer.json``; None where it is unknown."""
    try:
        loss = json.loads(trainer).get("validation_loss")
    except (ValueError, AttributeError):
        return None
    return float(loss) if isinstance(loss, int | float) else None


def _loss(folder: Path) -> float | None:
    try:
        return loss_in((folder / TRAINER).read_bytes())
    except OSError:
        return None


def _trainer(folder: Path) -> dict[str, Any]:
    try:
        trainer: dict[str, Any] = json.loads((folder / TRAINER).read_text())
        version, _ = trainer["version"], int(trainer["step"])
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptCheckpoint(str(folder), TRAINER, f"cannot be read ({error!r})", REMEDY) from None
    if version != TRAINER_VERSION:
        problem = f"version {version}, this program reads {TRAINER_VERSION}"
        remedy = "Resume with the program that wrote it, or move the checkpoints away to begin anew."
        raise OtherVersion(str(folder), TRAINER, problem, remedy)
    return trainer


def _refuse_unequal_parts(folder: Path) -> None:
    """Weights and both moments hold the same names and shapes, all finite."""
    shapes = {part: finite_shapes(folder / f"{part}.safetensors") for part in PARTS}
    wanted = shapes["weights"]
    for part, found in shapes.items():
        if odd := sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name)):
            problem = f"{odd[0]} is {found.get(odd[0], 'missing')}, in weights {wanted.get(odd[0], 'missing')}"
            raise CorruptCheckpoint(str(folder), f"{part}.safetensors", problem, REMEDY)


def finite_shapes(path: Path) -> dict[str, list[int]]:
    """Shape by name of the tensors of a file, all of which are looked at, one in memory at a time.

    Raises:
        CorruptCheckpoint: it is no safetensors file, or a value is not finite.
    """
    shapes: dict[str, list[int]] = {}
    try:
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118  no mapping
                tensor = file.get_tensor(name)
                if not torch.isfinite(tensor).all():
                    raise CorruptCheckpoint(str(path.parent), path.name, f"{name} is not finite everywhere", REMEDY)
                shapes[name] = list(tensor.shape)
    except SafetensorError as error:
        raise CorruptCheckpoint(str(path.parent), path.name, f"cannot be read ({error})", REMEDY) from None
    return shapes
