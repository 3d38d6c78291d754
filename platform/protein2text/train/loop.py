"""The training loop, run by every worker: one for both stages, which differ in what is trainable and in the data."""

import json
import math
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import torch
import torch.distributed as dist
from torch import Tensor

from protein2text.data.leak_guard import trained_records
from protein2text.data.records import corpus_licences, corpus_sources
from protein2text.data.split_folder import load_split
from protein2text.data.trained_on import write_trained_on
from protein2text.models.checkpoints import MANIFEST
from protein2text.models.encoders import reading_of
from protein2text.models.feature_cache import FeatureCache, open_cache
from protein2text.models.fused_loss import use_liger
from protein2text.models.protein_to_text import ProteinToText
from protein2text.train import checkpoints
from protein2text.train.checkpoint_store import newest_good, open_store
from protein2text.train.checkpoint_uploader import CheckpointUploader
from protein2text.train.checkpoint_writer import CheckpointWriter
from protein2text.train.checkpoints import State
from protein2text.train.deepspeed_engine import DeepSpeedEngine
from protein2text.train.events import Event, EventWriter, teller
from protein2text.train.meter import StepMeter, step_numbers
from protein2text.train.out_of_memory import explained
from protein2text.train.planned import PlannedStep
from protein2text.train.rows import read_steps
from protein2text.train.run_lock import WRITER, hold
from protein2text.train.schedule import learning_rate
from protein2text.train.step import accumulate
from protein2text.train.task import StageTask
from protein2text.train.validation import Validator


class StepNumbers(NamedTuple):
    """A step's outcome, on the device until it is read."""

    planned: PlannedStep
    learning_rate: float
    loss_sum: Tensor
    """Over the supervised tokens of all workers, nats."""
    grad_norm: Tensor
    """Of the whole gradient before clipping."""
    cost: Tensor
    """What `StepMeter.gather` gave."""


def train(
    task: StageTask,
    rows_from: Callable[[int], Iterable[pa.Table]],
    device: torch.device,
    is_drained: Callable[[], bool] = lambda: False,
) -> bool:
    """One worker's part of a stage, from the newest good checkpoint to the end; the process group exists.

    Args:
        task: the stage.
        rows_from: gives this worker's planned rows from a step on, in order.
        device: where to compute.
        is_drained: asked by all workers after each step, all told the same; True ends the work with a checkpoint.

    Returns:
        Whether the stage is at its end.

    Raises:
        RunInUse: a worker of an earlier driver writes into the stage's folder and does not go.
    """
    wait_s = task.config.scaling.hang_timeout_s / 2  # the others wait for worker 0 no longer than the whole
    with hold(task.folder, WRITER, wait_s=wait_s) if dist.get_rank() == 0 else nullcontext():
        return _train(task, rows_from, device, is_drained)


def _train(
    task: StageTask,
    rows_from: Callable[[int], Iterable[pa.Table]],
    device: torch.device,
    is_drained: Callable[[], bool],
) -> bool:
    torch.set_num_threads(max(1, int(task.config.scaling.cpus_per_worker)))
    events = EventWriter(task.events) if dist.get_rank() == 0 else None
    state, first_step = _agree_on_start(task, events, device)
    model = build_model(task, state)
    scaling, stage = task.config.scaling, task.config.stage(task.stage)
    meter = StepMeter(model, scaling, device)
    model.fused_loss = use_liger(
        stage.loss_kernel, device_type=device.type, zero_stage=scaling.zero_stage,
        model_type=model.decoder.language_model.config.model_type,
    )  # fmt: skip
    if task.features:
        max_bytes = int(stage.state_cache_gib * 2**30)
        model.encoder = open_cache(model.encoder, model.reading, stage.precision, task.features, max_bytes)
    with explained(task):
        engine = DeepSpeedEngine(
            model, config=stage, zero_stage=scaling.zero_stage, device=device, offload=scaling.offload_optimizer
        )
        if state is not None:
            engine.load_moments(state, first_step)
            state = None
    validator = Validator(task, first_step)
    writer = _writer(task, events, first_step) if events else None
    steps = read_steps(rows_from(first_step))
    finished = _do_steps(task, engine, meter, steps, first_step, events, writer, validator, is_drained)
    if isinstance(model.encoder, FeatureCache):
        model.encoder.flush()
        if events:
            events.write(_event(task, message=f"worker 0: {model.encoder.counts}"))
    if finished:
        if writer:
            _save_model(task)
        dist.barrier()
    if writer:
        writer.finish()
    return finished


def build_model(task: StageTask, state: State | None) -> ProteinToText:
    """The stage's model on the CPU, its stage's parameters trainable, at a checkpoint's weights if one is given."""
    torch.manual_seed(task.config.seed)
    start = task.start_model
    if start is None:
        model = ProteinToText(task.config.model)
    else:
        bases = task.config.model
        model = ProteinToText.from_pretrained(start, base=bases.decoder.source, encoder=bases.encoder.source)
    model.set_stage(task.stage)
    model.train()
    if task.config.stage(task.stage).activation_checkpointing:
        model.decoder.checkpoint_activations()
    if state is not None:
        with torch.no_grad():
            for name, parameter in model.trainable().items():
                parameter.copy_(state["weights"][name])
    return model


def train_step(task: StageTask, engine: DeepSpeedEngine, planned: PlannedStep, rate: float) -> tuple[Tensor, Tensor]:
    """One optimizer step of the global batch, its loss normalized over all workers as ``loss_norm`` says.

    Returns:
        The loss x the supervised tokens of all workers, nats, and the gradient's norm before clipping, on the device.

    Raises:
        DeviceOutOfMemory: naming the step's largest micro-batch.
    """
    stage = task.config.stage(task.stage)
    bf16, per_device_mean = stage.precision == "bf16", stage.loss_norm == "per_device_mean"
    bridge, reading = task.config.model.bridge, reading_of(task.config.model)
    with explained(task, planned):
        loss_sum = accumulate(engine, planned, bridge, reading, bf16=bf16, per_device_mean=per_device_mean)
        grad_norm = engine.step(rate)
    dist.all_reduce(loss_sum)
    return loss_sum, grad_norm


def _do_steps(
    task: StageTask, engine: DeepSpeedEngine, meter: StepMeter, steps: Iterable[PlannedStep], first_step: int,
    events: EventWriter | None, writer: CheckpointWriter | None, validator: Validator, is_drained: Callable[[], bool],
) -> bool:  # fmt: skip
    """Whether it came to the end; if a node of the workers is drained, it leaves after the step with a checkpoint."""
    stage = task.config.stage(task.stage)
    expected = first_step
    tell = _Teller(task, events)
    for planned in meter.watch(steps):
        step = planned.step
        assert step == expected, f"the plan's step {expected} was to come, {step} came"
        expected += 1
        rate = learning_rate(step, num_steps=task.num_steps, peak=stage.learning_rate, warmup_ratio=stage.warmup_ratio)
        torch.manual_seed(_step_seed(task.config.seed, step, dist.get_rank()))
        tell.after(StepNumbers(planned, rate, *train_step(task, engine, planned, rate), meter.gather()))
        leaves = is_drained() and step + 1 < task.num_steps
        if validator.is_due(step + 1) and not leaves:
            tell.rest()
            validator.validate(engine, step + 1, events)
            tell.begin_anew()
        if leaves or (step + 1) % stage.checkpoint_interval_steps == 0 or step + 1 == task.num_steps:
            tell.rest()
            _checkpoint(task, engine, step + 1, writer, validator.newest_loss)
        if leaves:
            if events:
                message = f"a node is drained: checkpoint after step {step + 1}, and away"
                events.write(_event(task, message=message, level="warning"))
            return False
    tell.rest()
    assert expected == task.num_steps, f"the dataset ended at step {expected} of {task.num_steps}"
    return True


class _Teller:
    """Reads a step's numbers when the next one is on its way, so that the device is not waited for in between."""

    def __init__(self, task: StageTask, events: EventWriter | None) -> None:
        self._task, self._events, self._began = task, events, time.monotonic()
        self._unread: tuple[StepNumbers, float] | None = None

    def after(self, numbers: StepNumbers) -> None:
        """Tell of the step before this one.

        Raises:
            FloatingPointError: its loss is not finite.
        """
        now = time.monotonic()
        seconds, self._began = now - self._began, now
        self.rest()
        self._unread = numbers, seconds

    def begin_anew(self) -> None:
        """Leave out of the next step's seconds what went before it."""
        self._began = time.monotonic()

    def rest(self) -> None:
        """Tell of the last step; before a checkpoint, which is not to keep what a loss that is not finite made."""
        if self._unread is None:
            return
        ((planned, rate, loss_sum, grad_norm, cost), seconds), self._unread = self._unread, None
        size = planned.size
        loss = float(loss_sum) / size.num_supervised
        if not math.isfinite(loss):
            stage = self._task.stage
            raise FloatingPointError(f"{stage}: loss {loss}; lower the learning rate or use precision fp32")
        if self._events:
            event = _event(self._task, planned.step + 1, loss=loss, grad_norm=float(grad_norm), learning_rate=rate)
            event |= {"tokens": size.num_tokens, "residues": size.num_residues, "seconds": seconds}
            self._events.write(event | step_numbers(cost, seconds))


def _step_seed(seed: int, step: int, worker: int) -> int:
    """Dropout's seed: a function of the place in the run, so that nothing random needs to be saved."""
    return ((seed * 1_000_003 + step) * 65_537 + worker) % 2**63  # the most that torch takes


def _agree_on_start(task: StageTask, events: EventWriter | None, device: torch.device) -> tuple[State | None, int]:
    """Worker 0 looks for the newest good checkpoint, and all load the one it found.

    Returns:
        Its state, None if there is none, and the first step to do.
    """
    choice: list[str | None] = [None]
    if events:
        found = newest_good(task.checkpoints, open_store(task), task)
        for problem in found.problems:
            events.write(_event(task, message=f"checkpoint set aside: {problem}", level="warning"))
        where = f"from {found.folder.name}, the newest good checkpoint" if found.folder else "from the beginning"
        place: Event = {"num_workers": dist.get_world_size()}
        if found.folder:
            place |= {"resumed_from": found.folder.name, "written": (found.folder / MANIFEST).stat().st_mtime}
        events.write(_event(task, message=f"training {where}", **place))
        choice = [str(found.folder) if found.folder else None]
    dist.broadcast_object_list(choice, src=0, device=device)
    if choice[0] is None:
        return None, 0
    state, trainer = checkpoints.load(Path(choice[0]))
    return state, trainer["step"]


def _writer(task: StageTask, events: EventWriter, first_step: int) -> CheckpointWriter:
    """Worker 0's; the checkpoint that training goes on from is uploaded if the store lacks it."""
    config, store, tell = task.config.stage(task.stage), open_store(task), teller(events, task.stage)
    resumed_from = task.checkpoints / checkpoints.name_of(first_step) if first_step else None
    uploader = CheckpointUploader(store, config, tell, resumed_from) if store else None
    return CheckpointWriter(task.checkpoints, config, tell, uploader)


def _checkpoint(
    task: StageTask, engine: DeepSpeedEngine, step: int, writer: CheckpointWriter | None,
    validation_loss: float | None,
) -> None:  # fmt: skip
    """Gather the state, all workers together, and write it on worker 0; the others wait in their next collective."""
    state = engine.full_state()
    if writer:
        trainer = {
            "num_steps": task.num_steps,
            "plan_position": step * task.config.stage(task.stage).global_batch,
            "seed": task.config.seed,
            "settings": task.settings,
            "validation_loss": validation_loss,
        }
        writer.write(step, state, trainer)


def _save_model(task: StageTask) -> None:
    """Write the model folder from the last checkpoint, which holds whole weights whatever the ZeRO stage."""
    last = checkpoints.newest_good(task.checkpoints, task).folder
    assert last is not None, "the last step wrote a checkpoint"
    state, trainer = checkpoints.load(last)
    assert trainer["step"] == task.num_steps, f"the last checkpoint is damaged; {last} would be an earlier model"
    data, start = task.config.data, task.start_model
    earlier = json.loads((start / "run.json").read_text()).get("leaks", []) if start else []
    about = {
        "run": task.config.name, "stage": task.stage, "steps": trainer["step"], "settings": task.settings,
        "licences": data.licences, "corpus_licences": corpus_licences(data.corpus),
        "corpus_sources": corpus_sources(data.corpus),
        "leaks": list(dict.fromkeys([*earlier, *task.leaks])), "start": task.start_version,
    }  # fmt: skip
    records = trained_records(data.corpus, load_split(data.split) if data.split else None)
    trained = {protein["checksum"] for record in records for protein in record["proteins"]}
    write_trained_on(task.folder / "model", trained, start)
    build_model(task, state).save_pretrained(task.folder / "model", run=about)


def _event(task: StageTask, step: int | None = None, **values: Any) -> Event:
    place = {} if step is None else {"step": step, "num_steps": task.num_steps}
    return {"stage": task.stage, **place, **values}
