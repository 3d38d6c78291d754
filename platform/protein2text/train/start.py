"""The model that instruction tuning begins with: the run's own alignment, a model folder, or a registered version."""

import json
import logging
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from protein2text.config import RunConfig
from protein2text.errors import ConfigError, CorruptCheckpoint, MissingFile, ResumeMismatch
from protein2text.models.checkpoints import MANIFEST, sha256_of, verify_manifest
from protein2text.models.model_config import ModelConfig
from protein2text.train.stage_config import Stage

logger = logging.getLogger(__name__)

START, START_MODEL = "start.json", "start"
"""What was resolved, and a copy of a registered version, in the run's folder because every worker can read that."""


@dataclass(frozen=True)
class Start:
    """Where a stage begins; recorded when it is first resolved, because an alias may move while the run lasts."""

    asked: str | None
    """As the run file says; None for the run's own alignment, which may be moved with its run."""
    folder: str
    manifest_sha256: str
    version: str | None = None
    """``models:/NAME/VERSION`` of a registered one."""


def resolve_start(config: RunConfig, stage: Stage) -> Start | None:
    """The stage's start, None for alignment, which begins with a random bridge.

    Raises:
        MissingFile: no such folder, version or alias; or the run's alignment has not been trained.
        CorruptCheckpoint: it differs from its manifest, or ``start.json`` cannot be read.
        ConfigError: it is of another shape than the run's model.
        ResumeMismatch: the stage was begun from another, or the folder holds another model than it did then.
    """
    if stage == "alignment":
        return None
    record = config.folder / stage / START
    asked, own = config.instruction.start, config.folder / "alignment" / "model"
    if record.is_file():
        start = _recorded(record, own)
        if start.asked != asked:
            saved, current = (each or "this run's own alignment" for each in (start.asked, asked))
            raise ResumeMismatch(f"{config.name}/{stage}", f"{stage}.start", saved, current)
    else:
        start = _resolve(config, asked, own)
    folder = Path(start.folder)
    if not folder.is_dir():
        remedy = "Run the alignment stage first, or name another in instruction.start."
        raise MissingFile(start.folder, "the model that instruction tuning begins with", remedy)
    verify_manifest(folder)
    if (found := sha256_of(folder / MANIFEST)) != start.manifest_sha256:
        saved, current = (f"{folder} with manifest {digest}" for digest in (start.manifest_sha256, found))
        raise ResumeMismatch(f"{config.name}/{stage}", f"{stage}.start", saved, current)
    _check_shape(config, folder)
    return start


def read_values(path: Path, remedy: str) -> dict[str, Any]:
    """The JSON object that a small file of a stage's folder holds.

    Raises:
        CorruptCheckpoint: it holds none; ``remedy`` says what to do.
    """
    try:
        values = json.loads(path.read_text())
    except ValueError as error:
        raise CorruptCheckpoint(str(path.parent), path.name, f"cannot be read ({error})", remedy) from None
    if not isinstance(values, dict):
        problem = f"holds {type(values).__name__}, not an object of values by name"
        raise CorruptCheckpoint(str(path.parent), path.name, problem, remedy)
    return values


def keep_start(config: RunConfig, stage: Stage, start: Start | None) -> Path | None:
    """Record a start as its stage begins, and copy a registered version into the run's folder.

    Returns:
        Where every worker finds the model, None for alignment.
    """
    if start is None:
        return None
    folder = config.folder / stage
    record, kept = folder / START, folder / START_MODEL
    if start.version and not record.is_file():
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(start.folder, kept)
        start = replace(start, folder=str(kept))
        logger.info("%s: begins with %s, which is %s now", stage, start.asked, start.version)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{START}.partial"
    partial.write_text(json.dumps(asdict(start), indent=1))
    partial.replace(record)
    return Path(start.folder)


def _recorded(record: Path, own: Path) -> Start:
    """What was begun with. Where that lies is not taken from the file, which could name another run's model."""
    remedy = "Remove it: the start is looked up again, and must be the one that settings.json names."
    values = read_values(record, remedy)
    try:
        start = Start(**values)
    except TypeError as error:
        raise CorruptCheckpoint(str(record.parent), record.name, f"cannot be read ({error})", remedy) from None
    return replace(start, folder=str(record.parent / START_MODEL if start.version else start.asked or own))


def _resolve(config: RunConfig, asked: str | None, own: Path) -> Start:
    if asked is None or not asked.startswith("models:"):
        folder = Path(asked) if asked else own
        return Start(asked, str(folder), sha256_of(folder / MANIFEST) if (folder / MANIFEST).is_file() else "")
    from protein2text import registry

    found = registry.resolve(asked, config.tracking.uri)
    return Start(asked, str(found.folder), sha256_of(found.folder / MANIFEST), found.uri)


def _check_shape(config: RunConfig, folder: Path) -> None:
    """Everything but where the bases lie, which is held against their sums when they are loaded."""
    theirs = dict(_leaves(ModelConfig.stored_in(folder).model_dump()))
    for key, value in _leaves(config.model.model_dump()):
        if not key.endswith((".source", ".revision")) and theirs.get(key) != value:
            message = f"{value!r}, but {folder}, which instruction tuning begins with, has {theirs.get(key)!r}"
            raise ConfigError(config.name, f"model{key}", f"{message}. Give both the same")


def _leaves(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    leaves = []
    for key, value in values.items():
        leaves += _leaves(value, f"{prefix}.{key}") if isinstance(value, dict) else [(f"{prefix}.{key}", value)]
    return leaves
