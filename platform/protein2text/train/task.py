"""A stage as its workers are told of it. Light: Ray's controller imports this, and needs neither torch nor MLflow."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from protein2text.config import RunConfig
from protein2text.train.stage_config import Stage

FEATURES = "features"
"""Folder of a run in which residue states are kept while it trains, unless its user names one."""


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
    def features(self) -> Path | None:
        """Where residue states are kept and looked for; None if they are not."""
        if self.config.data.features:
            return Path(self.config.data.features)
        return self.config.folder / FEATURES if self.config.stage(self.stage).state_cache_gib else None

    @property
    def start_model(self) -> Path | None:
        """Model folder that the stage begins with; alignment begins with a random bridge."""
        return self.config.folder / "alignment" / "model" if self.stage == "instruction" else None


def run_worker(loop_config: dict[str, Any]) -> None:
    """What Ray Train calls on every worker, with the stage under ``task`` and its `Feed` under ``feed``."""
    import ray.train.torch  # these two here, so that only workers import DeepSpeed

    from protein2text.train.loop import train

    context = ray.train.get_context()
    rows_from = partial(loop_config["feed"].tables, context.get_world_rank(), context.get_world_size())
    train(loop_config["task"], rows_from, ray.train.torch.get_device())
