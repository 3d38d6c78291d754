"""A stage as its workers are told of it. Light: Ray's controller imports this, and needs neither torch nor MLflow."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from protein2text.config import RunConfig
from protein2text.errors import DeviceOutOfMemory
from protein2text.large_imports import large_imports
from protein2text.train.stage_config import Stage

FEATURES = "features"
"""Folder of a run in which residue states are kept while it trains, unless its user names one."""

GAVE_UP = "out-of-memory.json"
"""In a stage's folder while a command is at work on it: the error that no restart would mend."""


@dataclass(frozen=True)
class ValidationRecord:
    """A record of the validation side, tokenized, with the proteins that it is validated under."""

    record_id: str
    ids: list[int]
    labels: list[int]
    sequences: dict[str, list[str]]
    """Of the ``true`` proteins, of ``shuffled`` residues, and of ``swapped`` proteins that have another answer."""

    @property
    def protein(self) -> str:
        """What tells records of one protein from those of another."""
        return self.sequences["true"][0]


EVENTS = "events.jsonl"
"""What a stage told, in its folder."""


@dataclass(frozen=True)
class StageTask:
    """All that a worker needs to know of its stage."""

    config: RunConfig
    stage: Stage
    num_steps: int
    settings: dict[str, Any]
    """What a resumed run must share with this one; kept with every checkpoint."""
    leaks: tuple[str, ...] = ()
    """Leaks into registered test sets, in spite of which it is trained."""
    start: Path | None = None
    """Model folder to begin instruction tuning with, if not the run's own alignment."""
    start_version: str | None = None
    """Its address in the registry, if it came from there."""
    validation: tuple[ValidationRecord, ...] = ()
    """What it is validated on while it trains; nothing where that is off."""

    @property
    def folder(self) -> Path:
        return self.config.folder / self.stage

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def events(self) -> Path:
        return self.folder / EVENTS

    @property
    def features(self) -> Path | None:
        """Where residue states are kept and looked for; None if they are not."""
        if self.config.data.features:
            return Path(self.config.data.features)
        return self.config.folder / FEATURES if self.config.stage(self.stage).state_cache_gib else None

    @property
    def start_model(self) -> Path | None:
        """Model folder that the stage begins with; alignment begins with a random bridge."""
        own = self.config.folder / "alignment" / "model"
        return self.start or (own if self.stage == "instruction" else None)


def run_worker(loop_config: dict[str, Any]) -> bool:
    """What Ray Train calls on every worker, with the stage under ``task`` and its `Feed` under ``feed``.

    Returns:
        Whether the stage is at its end; if not, the workers left it because one of their nodes is drained.
    """
    task: StageTask = loop_config["task"]
    refuse_again(task)
    with large_imports():
        import ray.train.torch  # these here, so that only workers import DeepSpeed

        from protein2text.train.loop import train

    context = ray.train.get_context()
    rows_from = partial(loop_config["feed"].tables, context.get_world_rank(), context.get_world_size())
    try:
        return train(task, rows_from, ray.train.torch.get_device(), is_drained=is_drained)
    except DeviceOutOfMemory as error:
        give_up(task, error)
        raise


def is_drained() -> bool:
    """Whether a node of the group is to be taken away; the same answer on every worker, which must all ask."""
    import ray.train

    return ray.train.get_preemption_info() is not None


def give_up(task: StageTask, error: DeviceOutOfMemory) -> None:
    """Leave word for Ray's restarts, which would meet the same micro-batch after loading everything again."""
    (task.folder / GAVE_UP).write_text(json.dumps(error.args))


def refuse_again(task: StageTask) -> None:
    """End a restart at once if an earlier start of the same command ran out of memory.

    Raises:
        DeviceOutOfMemory: the one that ended it.
    """
    path = task.folder / GAVE_UP
    if path.is_file():
        raise DeviceOutOfMemory(*json.loads(path.read_text()))
