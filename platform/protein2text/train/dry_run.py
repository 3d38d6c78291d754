"""A run before its money is spent: everything resolved and counted, and two steps done as training would do them.

The steps are the longest planned one, twice, through the product's own workers, loop, checkpoint and model writer, in a
folder beside the run's that is gone afterwards. The second is timed. Nothing is told to MLflow.
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from protein2text.config import RunConfig
from protein2text.data.leak_guard import check_training
from protein2text.errors import LeakError
from protein2text.models.model_config import PARTS
from protein2text.models.sources import resolve_source
from protein2text.resources import cluster_supply, ray_session, require
from protein2text.train import run
from protein2text.train.before_start import refuse_early
from protein2text.train.events import OnEvent, read_steps
from protein2text.train.feed import feed_of, tokenized_records
from protein2text.train.memory_check import check_memory, device_bytes, expected_memory
from protein2text.train.memory_estimate import MemoryEstimate, size
from protein2text.train.plan import Plan
from protein2text.train.skeleton import PartCount, skeleton
from protein2text.train.stage_config import CheckpointStoreConfig, Stage
from protein2text.train.start import resolve_start
from protein2text.train.task import StageTask

NUM_STEPS = 2
"""The first warms up, the second is timed."""


@dataclass(frozen=True)
class LongestStep:
    """The planned step with the most decoder positions and residues."""

    step: int
    num_records: int
    num_tokens: int
    num_residues: int


@dataclass(frozen=True)
class Disk:
    """Bytes that a stage takes in the run's folder at most."""

    checkpoint: int
    """One, as the rehearsal wrote it."""
    num_checkpoints: int
    """Kept, and the one being written."""
    model: int
    state_cache: int

    @property
    def needed(self) -> int:
        return self.checkpoint * self.num_checkpoints + self.model + self.state_cache


@dataclass(frozen=True)
class StageRehearsal:
    """What one stage would be."""

    stage: Stage
    begins_with: str
    num_records: int
    num_steps: int
    num_dropped: int
    global_batch: int
    parameters: dict[str, PartCount]
    memory: MemoryEstimate
    device_bytes: int
    peak_bytes: int
    """Most that a worker did hold: of the GPU's memory, or of the whole process where the device is the CPU."""
    longest: LongestStep
    warm_up_s: float
    """The first step, with all that happens once."""
    step_s: float
    """The second, of the longest step's records."""
    expected_s: float
    """All steps, by their tokens and residues; checkpoints and start-up apart."""
    loss: float
    """Of the first, at the weights that training begins with."""
    disk: Disk


@dataclass(frozen=True)
class DryRun:
    """What a run would be, and what stands against it."""

    run: str
    folder: str
    bases: dict[str, str]
    """Encoder and decoder: where each was found."""
    leak_check: str
    free_disk_bytes: int
    stages: tuple[StageRehearsal, ...]
    problems: tuple[str, ...] = field(default=())
    """Why training would be refused, or would probably fail."""


def dry_run(config: RunConfig, stages: Sequence[Stage], on_event: OnEvent | None = None) -> DryRun:
    """Resolve and rehearse a run; its folder and MLflow stay as they are.

    Args:
        config: the run.
        stages: to rehearse; instruction tuning begins with what alignment's rehearsal wrote, if nothing else is there.
        on_event: told what is being done.

    Raises:
        MissingFile: a corpus, split, test set or the model to begin with is not there.
        MissingWeights: a base is not there.
        ResumeMismatch, ConfigError, CorruptCheckpoint: what ``refuse_early`` raises.
        ResourcesUnavailable: the cluster can never hold the workers, or a worker's device its weights.
        DeviceOutOfMemory: the longest step does not fit.
    """
    bases: dict[str, str] = {part: _found(getattr(config.model, part)) for part in PARTS}
    refuse_early(config, stages)
    leak_check, problems = _leak_check(config)
    done: list[StageRehearsal] = []
    with scratch_run(config) as scratch, ray_session(config.scaling):
        free = shutil.disk_usage(scratch.output).free
        require(config.scaling, cluster_supply())
        for stage in stages:
            if on_event:
                on_event({"stage": stage, "message": "rehearsing"})
            done.append(_rehearse(config, scratch, stage))
    problems += [
        f"{rehearsal.stage} {rehearsal.memory.sentence(rehearsal.device_bytes, 'worker')}"
        for rehearsal in done
        if rehearsal.memory.needed > rehearsal.device_bytes
    ]
    needed = sum(rehearsal.disk.needed for rehearsal in done)
    if needed > free:
        problems.append(f"the run's folder needs {size(needed)} of disk, {size(free)} are free at {config.output}")
    return DryRun(config.name, str(config.folder), bases, leak_check, free, tuple(done), tuple(problems))


def longest_step(plan: Plan) -> tuple[LongestStep, float]:
    """The step with the largest cost, and all steps' cost in units of its own."""
    costs = [record.cost for record in plan.records]
    of_steps = [sum(costs[index] for index in plan.step_records(step)) for step in range(plan.num_steps)]
    step = max(range(plan.num_steps), key=of_steps.__getitem__)
    records = [plan.records[index] for index in plan.step_records(step)]
    sizes = (sum(record.num_tokens for record in records), sum(record.num_residues for record in records))
    return LongestStep(step, len(records), *sizes), sum(of_steps) / of_steps[step]


def rehearsal_plan(plan: Plan, step: int) -> Plan:
    """A plan of two steps, each of the records of one step of another plan; those that stand in it twice, once."""
    indices = sorted(set(plan.step_records(step)))
    records = tuple(plan.records[index] for index in indices)
    return replace(plan, records=records, epochs=NUM_STEPS, global_batch=len(records), max_steps=None)


def _rehearse(config: RunConfig, scratch: RunConfig, stage: Stage) -> StageRehearsal:
    start = resolve_start(config, stage) if _has_start(config, scratch) else None
    tokenized = tokenized_records(config, stage)
    plan = run.plan_stage(config, stage, tokenized)
    check_memory(config, stage, plan)
    longest, cost_of_all = longest_step(plan)
    rehearsed = rehearsal_plan(plan, longest.step)
    bounds = scratch.stage(stage).model_copy(update={"checkpoint_interval_steps": NUM_STEPS, "state_cache_gib": 0})
    task = StageTask(
        scratch.model_copy(update={stage: bounds}), stage, NUM_STEPS, {}, start=Path(start.folder) if start else None
    )
    run.fit(task, feed_of(rehearsed, tokenized))
    warm_up, timed = read_steps(task.events)
    cost = sum(record.cost for record in rehearsed.records)
    repeated = (longest.num_tokens + longest.num_residues) / cost
    settings = config.stage(stage)
    return StageRehearsal(
        stage=stage,
        begins_with=_said(config, stage, start.version or start.folder if start else None),
        num_records=len(plan.records), num_steps=plan.num_steps, num_dropped=len(plan.dropped),
        global_batch=plan.global_batch, parameters=skeleton(config.model, stage).counts(),
        memory=expected_memory(config, stage, plan), device_bytes=device_bytes(config.scaling),
        peak_bytes=int(timed["peak_memory_bytes"]), longest=longest,
        warm_up_s=warm_up["seconds"], step_s=timed["seconds"] * repeated,
        expected_s=timed["seconds"] * repeated * cost_of_all, loss=warm_up["loss"],
        disk=Disk(
            _bytes_in(next(task.checkpoints.glob("step-*"))), settings.keep_checkpoints + settings.keep_best + 1,
            _bytes_in(task.folder / "model"), int(settings.state_cache_gib * 2**30),
        ),
    )  # fmt: skip


def _has_start(config: RunConfig, scratch: RunConfig) -> bool:
    """Whether instruction tuning begins with something that is there already, or must be, and not with a rehearsal."""
    own = config.folder / "alignment" / "model"
    return bool(config.instruction.start) or own.is_dir() or not (scratch.folder / "alignment" / "model").is_dir()


def _said(config: RunConfig, stage: Stage, start: str | None) -> str:
    if stage == "alignment":
        return "a random bridge"
    return start or "this run's alignment, to be trained first; here, what its rehearsal wrote"


def _leak_check(config: RunConfig) -> tuple[str, list[str]]:
    """What it found, and the problem if training would be refused for it."""
    try:
        leaks = check_training(config.data)
    except LeakError as error:
        return "refused, see below", [str(error)]
    return f"allowed: {'; '.join(leaks)}" if leaks else "no training record is in a registered test set", []


def _found(base: Any) -> str:
    revision = f", revision {base.revision}" if base.revision else ""
    return f"{base.source}{revision}: {resolve_source(base.source, base.revision)}"


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextmanager
def scratch_run(config: RunConfig) -> Iterator[RunConfig]:
    """The run in a folder of its own, which every node sees as it sees the run's; removed at the end."""
    output = Path(config.output)
    made = [folder for folder in (output, *output.parents) if not folder.exists()]
    output.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".dry-run-", dir=output))
    try:
        once = config.scaling.model_copy(update={"max_restarts": 0})
        data = config.data.model_copy(update={"features": None})
        here = {"output": str(folder), "scaling": once, "data": data, "checkpoint_store": CheckpointStoreConfig()}
        yield config.model_copy(update=here)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for empty in made:
            empty.rmdir()
