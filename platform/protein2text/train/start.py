"""The model that instruction tuning begins with: the run's own alignment, a model folder, or a registered version."""

import json
import logging
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from protein2text.config import RunConfig
from protein2text.errors import ConfigError, MissingFile, ResumeMismatch
from protein2text.models.checkpoints import MANIFEST, sha256_of, verify_manifest
from protein2text.models.model_config import ModelConfig
from protein2text.train.stage_config import Stage

logger = logging.getLogger(__name__)

START, START_MODEL = "start.json", "start"
"""What was resolved, and a copy of a registered version, in the run's folder because every worker can read that."""


@dataclass(frozen=True)
class Start:
    """Where a stage begins; recorded when it is first resolved, because an alias may move while the run lasts."""

    asked: str
    """As the run file says."""
    folder: str
    manifest_sha256: str
    version: str | None = None
    """``models:/NAME/VERSION`` of a registered one."""


def resolve_start(config: RunConfig, stage: Stage) -> Start | None:
    """The stage's start, None for alignment, which begins with a random bridge.

    Raises:
        MissingFile: no such folder, version or alias; or the run's alignment has not been trained.
        CorruptCheckpoint: it differs from its manifest.
        ConfigError: it is of another shape than the run's model.
        ResumeMismatch: the stage was begun from another.
    """
    if stage == "alignment":
        return None
    record = config.folder / stage / START
    asked = config.instruction.start or str(config.folder / "alignment" / "model")
    if record.is_file():
        start = Start(**json.loads(record.read_text()))
        if start.asked != asked:
            raise ResumeMismatch(f"{config.name}/{stage}", f"{stage}.start", start.asked, asked)
    else:
        start = _resolve(config, asked)
    folder = Path(start.folder)
    if not folder.is_dir():
        remedy = "Run the alignment stage first, or name another in instruction.start."
        raise MissingFile(start.folder, "the model that instruction tuning begins with", remedy)
    verify_manifest(folder)
    _check_shape(config, folder)
    return start


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
    record.write_text(json.dumps(asdict(start), indent=1))
    return Path(start.folder)


def _resolve(config: RunConfig, asked: str) -> Start:
    if not asked.startswith("models:"):
        manifest = Path(asked) / MANIFEST
        return Start(asked, asked, sha256_of(manifest) if manifest.is_file() else "")
    from protein2text import registry

    found = registry.resolve(asked, config.tracking.uri)
    return Start(asked, str(found.folder), sha256_of(found.folder / MANIFEST), found.uri)


def _check_shape(config: RunConfig, folder: Path) -> None:
    """Everything but where the bases lie, which is held against their sums when they are loaded."""
    path = folder / "config.json"
    theirs = dict(_leaves(ModelConfig.parse(json.loads(path.read_text()), path=str(path)).model_dump()))
    for key, value in _leaves(config.model.model_dump()):
        if not key.endswith((".source", ".revision")) and theirs.get(key) != value:
            message = f"{value!r}, but {folder}, which instruction tuning begins with, has {theirs.get(key)!r}"
            raise ConfigError(config.name, f"model{key}", f"{message}. Give both the same")


def _leaves(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    leaves = []
    for key, value in values.items():
        leaves += _leaves(value, f"{prefix}.{key}") if isinstance(value, dict) else [(f"{prefix}.{key}", value)]
    return leaves
