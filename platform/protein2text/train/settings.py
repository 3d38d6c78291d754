"""What two runs of one name must share to be the same run, and the refusal to go on with anything else."""

import json
from pathlib import Path
from typing import Any

from protein2text.config import RunConfig
from protein2text.data.records import load_card
from protein2text.data.split_folder import load_split
from protein2text.errors import ResumeMismatch
from protein2text.models.model_config import PARTS
from protein2text.train.base_sums import base_sum
from protein2text.train.stage_config import Stage
from protein2text.train.start import Start, read_values

SETTINGS = "settings.json"
FREE_KEYS = (
    "checkpoint_interval_steps", "keep_checkpoints", "keep_best", "micro_batch_tokens", "micro_batch_residues",
    "activation_checkpointing", "state_cache_gib", "loss_kernel", "validation",
)  # fmt: skip
"""Settings of a stage that may change while it runs, as the number of workers and the ZeRO stage may."""

Settings = dict[str, Any]
"""Values by dotted key."""


def stage_settings(config: RunConfig, stage: Stage, start: Start | None = None) -> Settings:
    """The model, its bases and the data by their sums, the stage, the seed, and what instruction tuning begins with.

    Raises:
        MissingFile: a corpus or split is not there.
        MissingWeights: a local base is not there.
    """
    model = config.model.model_dump(mode="json")
    for part in PARTS:
        model[part]["contents"] = base_sum(model[part]["source"])
    values: dict[str, Any] = {
        "seed": config.seed,
        "model": model,
        stage: config.stage(stage).model_dump(mode="json", exclude=set(FREE_KEYS)),
        "data": {
            "corpus": [load_card(folder)["checksum"] for folder in config.data.corpus],
            "split": load_split(config.data.split).card["checksum"] if config.data.split else None,
        },
    }
    if start is not None:
        values["alignment_model"] = start.manifest_sha256
        if start.version:
            values["start_version"] = start.version
    return dict(_leaves(values))


def refuse_changes(folder: Path, settings: Settings) -> None:
    """Compare with the settings that the stage's folder was begun with, if it was; those known later may be missing.

    Raises:
        ResumeMismatch: naming the first key that differs.
        CorruptCheckpoint: they cannot be read.
    """
    path = folder / SETTINGS
    if path.is_file():
        remedy = (
            "Write into it what stands under `settings` in the newest checkpoint's trainer.json; "
            "where there is no checkpoint yet, remove it."
        )
        refuse_others(f"{folder.parent.name}/{folder.name}", read_values(path, remedy), settings)


def refuse_others(run: str, saved: Settings, settings: Settings) -> None:
    """Compare with the settings that a run was begun with; raises what ``refuse_changes`` raises."""
    for key in sorted(settings):
        if saved.get(key) != settings[key]:
            raise ResumeMismatch(run, key, json.dumps(saved.get(key)), json.dumps(settings[key]))


def first_difference(saved: Settings, settings: Settings) -> str | None:
    """The first key that both have and that differs."""
    return next((key for key in sorted(settings) if key in saved and saved[key] != settings[key]), None)


def save_settings(folder: Path, settings: Settings) -> None:
    """Record what the stage is begun with."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{SETTINGS}.partial"
    partial.write_text(json.dumps(settings, indent=1, sort_keys=True))
    partial.replace(folder / SETTINGS)


def _leaves(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    leaves = []
    for key, value in values.items():
        if isinstance(value, dict):
            leaves += _leaves(value, f"{prefix}{key}.")
        else:
            leaves.append((f"{prefix}{key}", value))
    return leaves
