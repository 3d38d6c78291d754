"""One worker of a test, in a process of its own and without Ray: does the functions of this file that it is sent."""

import gc
import os
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import distributed_c10d as c10d

from protein2text.config import RunConfig
from protein2text.errors import DeviceOutOfMemory
from protein2text.models.feature_cache import open_cache
from protein2text.train import checkpoints, loop
from protein2text.train.deepspeed_engine import DeepSpeedEngine
from protein2text.train.out_of_memory import explained
from protein2text.train.plan import Plan
from protein2text.train.planned import PlannedStep
from protein2text.train.rows import gather, places_of, planned_rows, read_steps
from protein2text.train.stage_config import StageConfig
from protein2text.train.task import StageTask

CPU = torch.device("cpu")


class OddModel(nn.Module):
    """Parameters of sizes that two workers cannot divide, and a frozen one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.frozen = nn.Linear(7, 7).requires_grad_(False)
        self.hidden = nn.Linear(7, 11)
        self.scale = nn.Parameter(torch.randn(11))

    def forward(self, rows: Tensor) -> Tensor:
        return ((torch.tanh(self.hidden(self.frozen(rows))) * self.scale) ** 2).sum()


def rows_of(step: int) -> Tensor:
    return torch.randn(10, 7, generator=torch.Generator().manual_seed(step))


def micro_batches_of(step: int) -> list[tuple[Tensor, bool]]:
    """The step's ten rows in unequal shares: worker 0 has 7 + 1, worker 1 has 2 and then a filler."""
    rows = rows_of(step)
    if dist.get_world_size() == 1:
        return [(rows[:4], True), (rows[4:], True)]
    return [[(rows[:7], True), (rows[7:8], True)], [(rows[8:], True), (rows[:1], False)]][dist.get_rank()]


def engine_steps(
    settings: dict[str, Any], zero_stage: int, resume_at: int | None, num_steps: int, offload: bool = False
) -> dict[str, Any]:
    """Norms and final state of a few steps; those from ``resume_at`` on by a second engine from the first's state."""
    config = StageConfig.model_validate(settings)
    engine = DeepSpeedEngine(OddModel(), config=config, zero_stage=zero_stage, device=CPU, offload=offload)
    norms = []
    for step in range(num_steps):
        if step == resume_at:
            state, model = engine.full_state(), OddModel()
            model.load_state_dict(state["weights"], strict=False)
            engine = DeepSpeedEngine(model, config=config, zero_stage=zero_stage, device=CPU, offload=offload)
            engine.load_moments(state, step)
        micro_batches = micro_batches_of(step)
        for number, (rows, counted) in enumerate(micro_batches):
            engine.backward(engine.forward(rows), weight=counted / 100, last=number == len(micro_batches) - 1)
        norms.append(float(engine.step(config.learning_rate * (1 + step % 3))))
    return {"norms": norms, "state": engine.full_state()}


class WideModel(nn.Module):
    """So large that padding and scalars do not count, and so deep that one layer's gradient counts little."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(300, 300).requires_grad_(False)
        self.trained = nn.Sequential(*(nn.Linear(300, 300) for _ in range(8)))

    def forward(self, rows: Tensor) -> Tensor:
        return self.trained(self.frozen(rows)).square().sum()


def most_bytes_in_a_step(settings: dict[str, Any], zero_stage: int) -> int:
    """Of all tensors that came to be with an engine, and at most during its second step, of two micro-batches."""

    def alive() -> dict[int, int]:
        gc.collect()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # gc also finds objects that warn when they are looked at
            tensors = [value for value in gc.get_objects() if isinstance(value, Tensor)]
        storages = [tensor.untyped_storage() for tensor in tensors if tensor.device.type == "cpu"]
        return {storage.data_ptr(): storage.nbytes() for storage in storages}

    def step() -> None:
        for last in (False, True):
            engine.backward(engine.forward(torch.randn(2, 300)), weight=1.0, last=last)
        engine.step(config.learning_rate)

    before = alive()
    config = StageConfig.model_validate(settings)
    engine = DeepSpeedEngine(WideModel(), config=config, zero_stage=zero_stage, device=CPU)
    step()
    held = sum(num_bytes for place, num_bytes in alive().items() if place not in before)
    return held + peak_bytes(step)


def peak_bytes(work: Callable[[], None]) -> int:
    """Most that some work has allocated at once beside what was there, as torch's profiler counts it."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    held = most = 0
    events = profile.profiler.kineto_results.events()  # type: ignore[union-attr]
    for event in sorted((event for event in events if event.name() == "[memory]"), key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def out_of_memory(config: RunConfig) -> list[str]:
    """What becomes of a host's out of memory, and of another RuntimeError."""
    told = []
    for error in (None, RuntimeError("mat1 and mat2 shapes cannot be multiplied")):
        try:
            with explained(StageTask(config, "alignment", 1, {})):
                if error:
                    raise error
                torch.empty(2**60, dtype=torch.uint8)
        except DeviceOutOfMemory as explanation:
            told.append(str(explanation))
        except RuntimeError as left:
            told.append(f"{type(left).__name__}: {left}")
    return told


def train(
    task: StageTask,
    plan: Plan,
    blocks: list[pa.Table],
    stop_after: int | None = None,
    drained_after: int | None = None,
    killed_at: tuple[int, str, str] | None = None,
) -> dict[int, list[str]]:
    """This worker's part of a stage.

    Args:
        stop_after: it ends with an error after so many steps of the stage.
        drained_after: a node is drained after so many.
        killed_at: see ``kill_at``.

    Returns:
        Ids of the records that it trained on, those at weight zero left out, by step.
    """
    places, trained = places_of(plan, blocks), {}

    def rows_from(first_step: int) -> Iterator[pa.Table]:
        for part in planned_rows(plan, dist.get_rank(), dist.get_world_size(), first_step):
            before_stop = part.filter(pa.compute.less(part["step"], stop_after or plan.num_steps))
            if before_stop.num_rows:
                yield gather(before_stop, places, blocks.__getitem__)

    def noted_steps(tables: Iterable[pa.Table]) -> Iterator[PlannedStep]:
        for planned in read_steps(tables):
            counted = [batch for batch in planned.micro_batches if batch.counted]
            trained[planned.step] = [record_id for batch in counted for record_id in batch.record_ids]
            yield planned

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "read_steps", noted_steps)
        if killed_at:
            kill_at(task, *killed_at)
        ending = pytest.raises(AssertionError, match=f"ended at step {stop_after}") if stop_after else nullcontext()
        with ending:
            finished = loop.train(task, rows_from, CPU, is_drained=lambda: len(trained) == drained_after)
            assert finished == (drained_after is None)
    return trained


def kill_at(task: StageTask, step: int, name: str, when: str) -> None:
    """Let SIGKILL come at a point of writing a checkpoint, to which worker 0 alone comes.

    Args:
        step: of the checkpoint; an earlier one is not disturbed.
        name: a function that writing calls, once or, ``save_file``, for each part, of which the first is written.
        when: the kill is ``before`` or ``after`` its work. The worker stands still first for as long as steps take.
    """
    work = getattr(checkpoints, name)

    def deadly(*given: Any, **named: Any) -> Any:
        ends = any(task.checkpoints.glob(f"*{step:08}")) and not str(given[-1]).endswith("weights.safetensors")
        result = None if ends and when == "before" else work(*given, **named)
        if ends:
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(checkpoints, name, deadly)


def one_step(task: StageTask, planned: list[PlannedStep]) -> tuple[float, dict[str, Tensor]]:
    """The first step of a stage, planned for each worker: its loss x supervised tokens, and its gradients."""
    stage = task.config.stage(task.stage)
    model = loop.build_model(task, None)
    if task.features:
        max_bytes = int(stage.state_cache_gib * 2**30)
        model.encoder = open_cache(model.encoder, model.reading, stage.precision, task.features, max_bytes)
    engine = DeepSpeedEngine(model, config=stage, zero_stage=task.config.scaling.zero_stage, device=CPU)
    loss_sum, _ = loop.train_step(task, engine, planned[dist.get_rank()], rate=0.0)
    assert stage.state_cache_gib or not task.features or not model.encoder.num_encoded, "a full folder is only read"
    moments = engine.full_state()["exp_avg"]
    return float(loss_sum), {name: moment / (1 - stage.betas[0]) for name, moment in moments.items()}


def stop_answering(settings: dict[str, Any], zero_stage: int) -> None:
    """Worker 1 stands still before its second step, in which worker 0 waits for it."""
    config = StageConfig.model_validate(settings)
    engine = DeepSpeedEngine(OddModel(), config=config, zero_stage=zero_stage, device=CPU)
    for step in range(2):
        if step == 1 and dist.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        engine.backward(engine.forward(rows_of(step)), weight=0.01, last=True)
        engine.step(1e-3)


def main(connection: Connection, rank: int, num_workers: int, port: int, timeout_s: int) -> None:
    """Join the group at the port, whose members wait for each other no longer than the timeout; do what is sent."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(num_workers)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=num_workers)
    c10d._set_pg_timeout(timedelta(seconds=timeout_s), dist.group.WORLD)
    while True:
        name, arguments = connection.recv()
        try:
            answer = (True, globals()[name](*arguments))
        except Exception:  # noqa: BLE001  whatever it is, the test shall see it
            answer = (False, traceback.format_exc())
        connection.send(answer)
