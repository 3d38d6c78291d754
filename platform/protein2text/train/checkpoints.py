"""Training checkpoints: whole tensors by parameter name, so that any number of workers can go on from them. No pickle.

    checkpoints/step-00000200/weights.safetensors       float32 weights of the trainable parameters
                              exp_avg.safetensors       Adam's first moments
                              exp_avg_sq.safetensors    Adam's second moments
                              trainer.json              step, place in the plan, settings, seed
                              manifest.json             SHA-256 of each file, written last

What counts is what lies on disk under a valid manifest; a folder without one was never finished.
"""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from protein2text.errors import CorruptCheckpoint
from protein2text.models.checkpoints import verify_manifest, write_manifest

logger = logging.getLogger(__name__)

PARTS = ("weights", "exp_avg", "exp_avg_sq")
TRAINER = "trainer.json"
TRAINER_VERSION = 1
_FINISHED, _PARTIAL, _CORRUPT = "step-", ".partial-", "corrupt-"

State = dict[str, dict[str, Tensor]]
"""``weights``, ``exp_avg`` and ``exp_avg_sq``, each a tensor by parameter name."""


@dataclass(frozen=True)
class Found:
    """The newest good checkpoint and what was wrong with newer ones."""

    folder: Path | None
    problems: tuple[str, ...]


def save(checkpoints: Path, step: int, state: Mapping[str, Mapping[str, Tensor]], trainer: Mapping[str, Any]) -> Path:
    """Write the checkpoint after ``step`` optimizer steps; it appears under its name only when it is whole."""
    folder, partial = checkpoints / f"{_FINISHED}{step:08}", checkpoints / f"{_PARTIAL}{step:08}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for part in PARTS:
        save_file({name: tensor.contiguous() for name, tensor in state[part].items()}, partial / f"{part}.safetensors")
    (partial / TRAINER).write_text(json.dumps({"version": TRAINER_VERSION, "step": step, **trainer}, indent=1))
    write_manifest(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return folder


def newest_good(checkpoints: Path) -> Found:
    """Verify checkpoints from the newest back until one is whole; damaged ones are set aside under another name."""
    problems = []
    for folder in sorted(checkpoints.glob(f"{_FINISHED}*"), reverse=True):
        try:
            verify_manifest(folder)
        except CorruptCheckpoint as error:
            problems.append(str(error))
            aside = folder.with_name(_CORRUPT + folder.name)
            shutil.rmtree(aside, ignore_errors=True)
            folder.rename(aside)
        else:
            return Found(folder, tuple(problems))
    return Found(None, tuple(problems))


def load(folder: Path) -> tuple[State, dict[str, Any]]:
    """State and trainer of a verified checkpoint.

    Raises:
        CorruptCheckpoint: written by another version of this program.
    """
    trainer = json.loads((folder / TRAINER).read_text())
    if trainer["version"] != TRAINER_VERSION:
        problem = f"version {trainer['version']}, this program reads {TRAINER_VERSION}"
        raise CorruptCheckpoint(str(folder), TRAINER, problem, "Resume with the program that wrote it.")
    return {part: load_file(folder / f"{part}.safetensors") for part in PARTS}, trainer


def sweep(checkpoints: Path, keep: int) -> None:
    """Delete all but the newest ``keep`` checkpoints, and unfinished ones."""
    finished = sorted(checkpoints.glob(f"{_FINISHED}*"), reverse=True)
    for folder in [*finished[keep:], *checkpoints.glob(f"{_PARTIAL}*")]:
        shutil.rmtree(folder, ignore_errors=True)
