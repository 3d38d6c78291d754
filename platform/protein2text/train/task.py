"""A stage as its workers are told of it. Light: Ray's controller imports this, and needs neither torch nor MLflow."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protein2text.config import RunConfig
from protein2text.train.stage_config import Stage

STATES = "states"
"""Folder of a run in which residue states are kept while it trains."""


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

    @property
    def folder(self) -> Path:
        return self.config.folder / self.stage

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def events(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def states(self) -> Path:
        """Where residue states are kept: one folder for both stages, if they encode alike."""
        model, precision = self.config.model, self.config.stage(self.stage).precision
        encoding = f"{model.encoder.model_dump_json()} {model.long_proteins}"
        return self.config.folder / STATES / f"{precision}-{hashlib.sha256(encoding.encode()).hexdigest()[:12]}"

    @property
    def start_model(self) -> Path | None:
        """Model folder that the stage begins with; alignment begins with a random bridge."""
        return self.config.folder / "alignment" / "model" if self.stage == "instruction" else None


def dataset_name(worker: int) -> str:
    """Under what name Ray Train keeps a worker's dataset."""
    return f"worker-{worker}"


def run_worker(loop_config: dict[str, StageTask]) -> None:
    """What Ray Train calls on every worker, with the stage under ``task``."""
    import ray.train.torch  # these three here, so that only workers import DeepSpeed

    from protein2text.train.feed import tables_of
    from protein2text.train.loop import train

    rows = ray.train.get_dataset_shard(dataset_name(ray.train.get_context().get_world_rank()))
    train(loop_config["task"], tables_of(rows), ray.train.torch.get_device())
