"""The training loop, run by every worker: one for both stages, which differ in what is trainable and in the data."""

import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
import torch
import torch.distributed as dist

from protein2text.config import RunConfig
from protein2text.models.batches import Batch, pack
from protein2text.models.protein_to_text import ProteinToText
from protein2text.train import checkpoints
from protein2text.train.checkpoints import State
from protein2text.train.deepspeed_engine import DeepSpeedEngine
from protein2text.train.events import Event, EventWriter
from protein2text.train.feed import PlannedMicroBatch, read_steps, worker_dataset_name
from protein2text.train.schedule import learning_rate
from protein2text.train.stage_config import Stage

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageTask:
    """All that a worker needs to know of its stage."""

    config: RunConfig
    stage: Stage
    num_steps: int
    settings: dict[str, Any]
    """What a resumed run must share with this one; kept with every checkpoint."""

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
    def start_model(self) -> Path | None:
        """Model folder that the stage begins with; alignment begins with a random bridge."""
        return self.config.folder / "alignment" / "model" if self.stage == "instruction" else None


def train_worker(loop_config: dict[str, StageTask]) -> None:
    """Train the stage under ``task`` to its end, from the newest good checkpoint. Ray Train calls this on every worker."""
    task = loop_config["task"]
    torch.set_num_threads(max(1, int(task.config.scaling.cpus_per_worker)))
    worker = ray.train.get_context().get_world_rank()
    events = EventWriter(task.events) if worker == 0 else None
    state, first_step = _agree_on_start(task, events)
    model = build_model(task, state)
    engine = DeepSpeedEngine(
        model,
        config=task.config.stage(task.stage),
        zero_stage=task.config.scaling.zero_stage,
        device=ray.train.torch.get_device(),
    )
    if state is not None:
        engine.load_moments(state, first_step)
    state = None
    _train(task, engine, first_step, events)
    if worker == 0:
        final, _ = checkpoints.load(_newest(task))
        model = build_model(task, final)
        about = {"run": task.config.name, "stage": task.stage, "steps": task.num_steps, "settings": task.settings}
        model.save_pretrained(task.folder / "model", run=about)
    dist.barrier()


def build_model(task: StageTask, state: State | None) -> ProteinToText:
    """The stage's model on the CPU, its stage's parameters trainable, at a checkpoint's weights if one is given."""
    torch.manual_seed(task.config.seed)
    start = task.start_model
    model = ProteinToText(task.config.model) if start is None else ProteinToText.from_pretrained(start)
    model.set_stage(task.stage)
    model.train()
    if state is not None:
        with torch.no_grad():
            for name, parameter in model.trainable().items():
                parameter.copy_(state["weights"][name])
    return model


def _train(task: StageTask, engine: DeepSpeedEngine, first_step: int, events: EventWriter | None) -> None:
    stage = task.config.stage(task.stage)
    worker = ray.train.get_context().get_world_rank()
    rows = ray.train.get_dataset_shard(worker_dataset_name(worker))
    expected = first_step
    began = time.monotonic()
    for step, micro_batches in read_steps(rows, first_step):
        assert step == expected, f"the plan's step {expected} was to come, {step} came"
        expected += 1
        rate = learning_rate(step, num_steps=task.num_steps, peak=stage.learning_rate, warmup_ratio=stage.warmup_ratio)
        torch.manual_seed(_step_seed(task.config.seed, step, worker))
        numbers = train_step(engine, micro_batches, rate, task)
        if events:
            now = time.monotonic()
            seconds, began = now - began, now
            events.write(_event(task, step + 1, learning_rate=rate, seconds=seconds, time=time.time(), **numbers))
        if (step + 1) % stage.checkpoint_interval_steps == 0 or step + 1 == task.num_steps:
            _checkpoint(task, engine, step + 1)
    assert expected == task.num_steps, f"the dataset ended at step {expected} of {task.num_steps}"


def train_step(
    engine: DeepSpeedEngine, planned: list[PlannedMicroBatch], rate: float, task: StageTask
) -> dict[str, float]:
    """One optimizer step of the global batch: sum over supervised tokens / supervised tokens of all workers.

    Returns:
        Loss in nats per supervised token, the gradient's norm before clipping, and the batch's size, over all workers.
    """
    device = ray.train.torch.get_device()
    bf16 = task.config.stage(task.stage).precision == "bf16"
    num_latents = task.config.model.bridge.num_latents
    batches = [(pack(item.examples, item.proteins, num_latents), item.counted) for item in planned]
    num_supervised, num_tokens, num_residues = _over_all_workers(
        [_size(batch) for batch, counted in batches if counted]
    )
    loss_sum = torch.zeros((), device=device)
    for number, (batch, counted) in enumerate(batches):
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            micro_loss = engine.forward(batch.to(device))
        engine.backward(micro_loss, weight=counted / num_supervised, last=number == len(batches) - 1)
        loss_sum += micro_loss.detach() * counted
    grad_norm = engine.step(rate)
    dist.all_reduce(loss_sum)
    loss = loss_sum.item() / num_supervised
    if not math.isfinite(loss):
        raise FloatingPointError(f"{task.stage}: loss {loss}; lower the learning rate or use precision fp32")
    return {"loss": loss, "grad_norm": grad_norm, "tokens": num_tokens, "residues": num_residues}


def _size(batch: Batch) -> tuple[int, int, int]:
    return batch.num_supervised, batch.num_tokens, batch.num_residues


def _over_all_workers(sizes: list[tuple[int, int, int]]) -> list[int]:
    total = torch.tensor([0, 0, 0] if not sizes else [sum(column) for column in zip(*sizes, strict=True)])
    total = total.to(ray.train.torch.get_device())
    dist.all_reduce(total)
    counts: list[int] = total.tolist()
    return counts


def _step_seed(seed: int, step: int, worker: int) -> int:
    """Dropout's seed: a function of the place in the run, so that nothing random needs to be saved."""
    return (seed * 1_000_003 + step) * 65_537 + worker


def _agree_on_start(task: StageTask, events: EventWriter | None) -> tuple[State | None, int]:
    """Worker 0 looks for the newest good checkpoint, and all load the one it found.

    Returns:
        Its state, None if there is none, and the first step to do.
    """
    choice: list[str | None] = [None]
    if events:
        found = checkpoints.newest_good(task.checkpoints)
        for problem in found.problems:
            events.write(_event(task, message=f"checkpoint set aside: {problem}"))
        where = f"from {found.folder.name}, the newest good checkpoint" if found.folder else "from the beginning"
        events.write(_event(task, message=f"training {where}"))
        choice = [str(found.folder) if found.folder else None]
    dist.broadcast_object_list(choice, src=0, device=ray.train.torch.get_device())
    if choice[0] is None:
        return None, 0
    state, trainer = checkpoints.load(Path(choice[0]))
    return state, trainer["step"]


def _newest(task: StageTask) -> Path:
    folder = checkpoints.newest_good(task.checkpoints).folder
    assert folder is not None, "the last step wrote a checkpoint"
    return folder


def _checkpoint(task: StageTask, engine: DeepSpeedEngine, step: int) -> None:
    state = engine.full_state()
    if dist.get_rank() == 0:
        stage = task.config.stage(task.stage)
        trainer = {
            "num_steps": task.num_steps,
            "plan_position": step * stage.global_batch,
            "seed": task.config.seed,
            "settings": task.settings,
        }
        checkpoints.save(task.checkpoints, step, state, trainer)
        checkpoints.sweep(task.checkpoints, stage.keep_checkpoints)


def _event(task: StageTask, step: int | None = None, **values: Any) -> Event:
    place = {} if step is None else {"step": step, "num_steps": task.num_steps}
    return {"stage": task.stage, **place, **values}
