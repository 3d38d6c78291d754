"""What state checkpoints and models are in: those of a run, a stage, or a single one. Nothing is changed."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from protein2text.errors import ConfigError, CorruptCheckpoint, MissingFile, OtherRun, OtherVersion
from protein2text.models.checkpoints import MANIFEST, verify_manifest
from protein2text.train.checkpoints import (
    CORRUPT,
    FILES,
    PARTIAL,
    finite_shapes,
    refuse_other_runs,
    step_in,
    verify,
)
from protein2text.train.settings import SETTINGS, Settings

INNER_FOLDERS = ("alignment", "instruction", "checkpoints", "model")
"""Where a run keeps what can be verified."""
MODEL_FILES = ("bridge.safetensors", "bases.json", MANIFEST)
DATA_CARDS = ("card.json", "split.json")
"""One of these lies in every corpus, literature folder and split."""
State = Literal["ok", "damaged", "other version", "other run", "set aside", "unfinished"]

_STATES: dict[type[CorruptCheckpoint], State] = {OtherVersion: "other version", OtherRun: "other run"}


@dataclass(frozen=True)
class Examined:
    """One checkpoint or model, and what is wrong with it and to be done about it, if anything."""

    path: str
    step: int | None
    """None for a model."""
    bytes: int
    state: State
    problem: str = ""

    @property
    def good(self) -> bool:
        """Whether it can be used, or is no checkpoint yet."""
        return self.state in ("ok", "unfinished")


def examine(place: Path) -> Iterator[Examined]:
    """Verify every checkpoint and model of a place, one after the other.

    Args:
        place: a checkpoint, a folder of them, a stage's or a run's folder, or a model folder.

    Raises:
        MissingFile: there is no such folder, or nothing in it that could be verified.
        ConfigError: it is a folder of data.
    """
    folders = list(_folders(place))
    if not folders:
        remedy = "Name a checkpoint, a `checkpoints` folder, a stage's or run's folder, or a model folder."
        if card := next((name for name in DATA_CARDS if (place / name).is_file()), None):
            message = f"holds {card}, so it is data (`protein2text data report` shows it) and no checkpoint. {remedy}"
            raise ConfigError(str(place), "DIR", message)
        missing = f"A checkpoint or model in {place}" if place.is_dir() else str(place)
        raise MissingFile(missing, "a checkpoint or model", remedy)
    for folder in folders:
        if folder.is_dir():  # a run that goes on may have deleted it by now
            yield _examined(folder)


def _folders(place: Path) -> Iterator[Path]:
    if _is_checkpoint(place) or _is_model(place):
        yield place
        return
    children = sorted(place.iterdir()) if place.is_dir() else []
    for child in children:
        if child.is_dir() and (child.name in INNER_FOLDERS or _is_checkpoint(child)):
            yield from _folders(child)


def _is_checkpoint(folder: Path) -> bool:
    return _step(folder) is not None or any((folder / name).is_file() for name in FILES)


def _is_model(folder: Path) -> bool:
    return any((folder / name).is_file() for name in MODEL_FILES)


def _step(folder: Path) -> int | None:
    steps = (step_in(folder.name, kind) for kind in ("step-", CORRUPT, PARTIAL))
    return next((step for step in steps if step is not None), None)


def _settings_above(checkpoint: Path) -> Settings:
    """Those that the checkpoint's stage was begun with; none for a copy elsewhere, or where they cannot be read."""
    try:
        settings = json.loads((checkpoint.absolute().parents[1] / SETTINGS).read_text())
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}


def _examined(folder: Path) -> Examined:
    num_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    step = _step(folder)
    if folder.name.startswith(PARTIAL):
        problem = "being written, or the rest of a run that was killed. Training deletes it when it goes on."
        return Examined(str(folder), step, num_bytes, "unfinished", problem)
    state: State = "ok"
    problem = ""
    try:
        if _is_checkpoint(folder):
            trainer = verify(folder)
            step = int(trainer["step"])
            settings = _settings_above(folder)
            refuse_other_runs(folder, trainer, settings, settings.get("num_steps"))
        else:
            verify_manifest(folder)
            for path in sorted(folder.glob("*.safetensors")):
                finite_shapes(path)
    except CorruptCheckpoint as error:
        state = _STATES.get(type(error), "damaged")
        problem = f"{error.file}: {error.problem}. {error.remedy}"
    if folder.name.startswith(CORRUPT):
        reason = problem or "Its bytes are right now: give it its old name to use it."
        return Examined(str(folder), step, num_bytes, "set aside", f"{reason} Training deletes it in time.")
    return Examined(str(folder), step, num_bytes, state, problem)
