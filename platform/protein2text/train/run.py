"""Train one stage of a run on Ray, or go on with it, or find it finished."""

import json
import logging
import os
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import ray.data
import ray.train
from mlflow.entities import RunTag
from ray.train.torch import TorchConfig, TorchTrainer

from protein2text import registry
from protein2text.config import RunConfig
from protein2text.data.leak_guard import check_training
from protein2text.errors import CorruptCheckpoint, DiskFull, MissingFile, ProteinToTextError
from protein2text.models.checkpoints import verify_manifest
from protein2text.outputs import naming_a_full_disk
from protein2text.resources import cluster_supply, has_dashboard, is_own_ray, ray_session, require
from protein2text.termination import is_interruption, is_termination
from protein2text.train.checkpoint_store import prepare, restore_events
from protein2text.train.curve import draw_loss_curve
from protein2text.train.events import (
    INTERRUPTED,
    STOPPED,
    EventWriter,
    OnEvent,
    Tell,
    read_events,
    read_steps,
    teller,
)
from protein2text.train.feed import Feed, feed_of, record_sizes, tokenized_records
from protein2text.train.follow import EventFollower
from protein2text.train.launch import Launch, launch
from protein2text.train.lineage import lineage, public_config
from protein2text.train.memory_check import check_memory
from protein2text.train.page import write_run_page
from protein2text.train.plan import Plan
from protein2text.train.run_lock import DRIVER, hold
from protein2text.train.schedule import num_warmup_steps
from protein2text.train.settings import refuse_changes, save_settings, stage_settings
from protein2text.train.stage_config import Stage
from protein2text.train.start import keep_start, resolve_start
from protein2text.train.task import FEATURES, GAVE_UP, StageTask, run_worker
from protein2text.train.tracking import RESULT, tracked
from protein2text.train.validation_records import validation_records

logger = logging.getLogger(__name__)

STEPS_OF_FINAL_LOSS = 20


@dataclass(frozen=True)
class StageResult:
    """A finished stage."""

    model_dir: str
    steps: int
    final_loss: float
    """Mean over the last ``STEPS_OF_FINAL_LOSS`` steps, nats per supervised token."""
    seconds: float
    """Wall time of the optimizer steps, start-up apart."""
    mlflow_run_id: str


def train_stage(config: RunConfig, stage: Stage, *, on_event: OnEvent | None = None) -> StageResult:
    """Train a stage to its end. The same run again goes on from its newest good checkpoint, or returns its result.

    Args:
        config: the run; its folder holds everything the stage makes.
        stage: ``alignment``, or ``instruction``, which begins with an alignment's model.
        on_event: told of every step and decision, from another thread.

    Raises:
        ResumeMismatch: the run's name was used with other settings.
        RunInUse: another process trains it at this moment.
        ResourcesUnavailable: the cluster can never hold the workers, or a worker's device its weights.
        DeviceOutOfMemory: a worker's device could not hold a micro-batch.
        MissingFile: a corpus, split, test set or the model to begin with is not there.
        ConfigError: the model to begin with is of another shape than the run's.
        LeakError: training records share something with a registered test set, and ``data.allow_leak`` is not set.
        ServiceError: the checkpoint store does not answer, and there is no good checkpoint to go on from without it.
        DiskFull: a checkpoint or the model does not fit on its disk.
    """
    folder = config.folder / stage
    start = resolve_start(config, stage)
    settings = stage_settings(config, stage, start)
    refuse_changes(folder, settings)
    if finished := _finished(folder):
        logger.info("%s/%s is finished: %d steps, loss %.4f", config.name, stage, finished.steps, finished.final_loss)
        return finished
    leaks = check_training(config.data)
    with naming_a_full_disk(folder), hold(folder, DRIVER), ray_session(config.scaling):
        require(config.scaling, cluster_supply())
        feed = _feed(config, stage)
        plan = feed.plan
        sentences = check_memory(config, stage, plan)
        settings |= {"data.records": plan.digest, "num_steps": plan.num_steps}
        refuse_changes(folder, settings)
        save_settings(folder, settings)
        version = start.version if start else None
        validation, told = validation_records(config, stage)
        task = StageTask(
            config, stage, plan.num_steps, settings, leaks, keep_start(config, stage, start), version, validation
        )
        restore_events(task)
        with tracked(config, stage, folder, settings) as run_log:
            _follow_fit(task, feed, run_log, [told, *sentences], on_event)
            return _finish(task, run_log)


def _follow_fit(
    task: StageTask, feed: Feed, run_log: registry.RunLog, decisions: Sequence[str], on_event: OnEvent | None
) -> None:
    """Run the workers, and tell events, caller, log and MLflow of what was decided and is done."""
    client = registry.connect(run_log.tracking_uri)
    tell = teller(EventWriter(task.events), task.stage)
    with EventFollower(task.events, client=client, run_id=run_log.run_id, on_event=on_event), _told(task, tell):
        _tell_beginning(task, run_log)
        if task.leaks:
            client.set_tag(run_log.run_id, "leak", "; ".join(task.leaks)[:5000])
        for sentence in decisions:
            tell(sentence)
        for leak in task.leaks:
            tell(f"trained with a leak: {leak}", level="warning")
        prepare(task, tell)
        fit(task, feed)


@contextmanager
def _told(task: StageTask, tell: Tell) -> Iterator[None]:
    """If the block ends early, tell why and write the stage's page as it stands; its own error is what is raised."""
    try:
        yield
    except BaseException as error:
        why = f"{STOPPED}{type(error).__name__}: {error}".rstrip(": ")
        try:
            tell(INTERRUPTED if is_interruption(error) else why, level="warning")
        except OSError as refused:
            logger.error("%s: the event file took no line: %s", task.stage, refused)
        _write_page(task.folder)
        raise


def _write_page(folder: Path) -> list[Path]:
    """The stage's page; none, and why in the log, if it cannot be made: a picture never costs a run its result."""
    try:
        return [write_run_page(folder)]
    except DiskFull as error:
        logger.error("%s", error)
        return []
    except Exception:
        logger.exception("%s: no page could be written", folder)
        return []


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C as Python tells it: Ray Train handles the signal itself, leaves its handler in place when it is done, and
    ends in ``SystemExit``, as a crash would, and as SIGTERM does here."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if is_termination(error):
            raise
        raise KeyboardInterrupt from error
    finally:
        if handler and threading.current_thread() is threading.main_thread():  # no other may
            signal.signal(signal.SIGINT, handler)


def _tell_beginning(task: StageTask, run_log: registry.RunLog) -> None:
    """What this driver begins with, to the events and as tags to MLflow, which go on to the newest."""
    found = lineage(task.config, task.stage, task.settings)
    client = registry.connect(run_log.tracking_uri)
    named = {**found, "mlflow.source.git.commit": found["code.commit"]}
    client.log_batch(run_log.run_id, tags=[RunTag(name, value) for name, value in named.items()])
    config = public_config(task.config)
    tracking = {
        "uri": config["tracking"]["uri"],
        "experiment": task.config.tracking.experiment,
        "experiment_id": client.get_run(run_log.run_id).info.experiment_id,
        "run_id": run_log.run_id,
    }
    EventWriter(task.events).write({"stage": task.stage, "lineage": found, "config": config, "tracking": tracking})


def _feed(config: RunConfig, stage: Stage) -> Feed:
    tokenized = tokenized_records(config, stage)
    return feed_of(plan_stage(config, stage, tokenized), tokenized)


def plan_stage(config: RunConfig, stage: Stage, tokenized: ray.data.Dataset) -> Plan:
    """The stage's order of work, and a log line with its arithmetic.

    Raises:
        ConfigError: no record, or fewer than fill a batch.
    """
    settings = config.stage(stage)
    sizes, too_long = record_sizes(tokenized, settings.max_length)
    if too_long:
        named = ", ".join(too_long[:5])
        logger.warning(
            "%s: %d records exceed max_length=%d and are left out: %s", stage, len(too_long), settings.max_length, named
        )
    plan = Plan(
        records=sizes,
        seed=config.seed,
        epochs=settings.epochs,
        global_batch=settings.global_batch,
        micro_batch_tokens=settings.micro_batch_tokens,
        micro_batch_residues=settings.micro_batch_residues,
        max_steps=settings.max_steps,
    )
    logger.info(
        "%s: %d steps = floor(%d records x %d epochs / global batch %d)%s; left over from the last batch: %s",
        stage, plan.num_full_steps, len(sizes), plan.epochs, plan.global_batch,
        f", ended at max_steps={plan.max_steps}" if plan.num_steps < plan.num_full_steps else "",
        ", ".join(plan.dropped) or "none",
    )  # fmt: skip
    return plan


def fit(task: StageTask, feed: Feed) -> None:
    """Run the workers; a lost one restarts all from the newest good checkpoint, as does a node that is drained.

    Raises:
        ProteinToTextError: a worker's own, as it was raised.
    """
    (task.folder / GAVE_UP).unlink(missing_ok=True)
    resolved = launch(task.config.scaling)
    tracking = (
        {"RAY_TRAIN_ENABLE_STATE_TRACKING": "1"} if has_dashboard() else {}
    )  # else its page on training stays empty
    undrained = {"RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"} if is_own_ray() else {}  # a process less
    with _environment(resolved.controller_environment | tracking | undrained):
        while not _fit_once(task, feed, resolved):
            logger.info("%s: the workers left a node that is drained; starting them elsewhere", task.stage)


def _fit_once(task: StageTask, feed: Feed, resolved: Launch) -> bool:
    """Whether the workers came to the stage's end; if not, they left it early with a checkpoint."""
    trainer = TorchTrainer(
        run_worker,  # type: ignore[arg-type]  # v2 takes what it returns
        train_loop_config={"task": task, "feed": feed},
        torch_config=TorchConfig(**resolved.torch_config),
        scaling_config=ray.train.ScalingConfig(**resolved.scaling_config),
        run_config=ray.train.RunConfig(
            name=task.checkpoints.name,
            storage_path=str(task.folder),
            failure_config=ray.train.FailureConfig(**resolved.failure_config),
            worker_runtime_env={"env_vars": resolved.worker_environment},  # type: ignore[call-arg]  # v2 takes it
        ),
    )
    try:
        with _interruptible():
            finished: bool = trainer.fit().return_value  # type: ignore[attr-defined]  # v2 has it
    except ray.train.WorkerGroupError as error:
        for failure in error.worker_failures.values():
            if isinstance(failure, ProteinToTextError):
                raise failure from error
        raise
    return finished


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """These variables in the block, where they are not set already."""
    added = [name for name in variables if name not in os.environ]
    os.environ.update({name: variables[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def _finish(task: StageTask, run_log: registry.RunLog) -> StageResult:
    steps = read_steps(task.events)
    validations = [event for event in read_events(task.events) if "validation" in event]
    warmup = num_warmup_steps(task.num_steps, task.config.stage(task.stage).warmup_ratio)
    draw_loss_curve(
        steps, task.folder / "loss.png", f"{task.config.name}: {task.stage}", validations=validations, num_warmup=warmup
    )
    last = [event["loss"] for event in steps[-STEPS_OF_FINAL_LOSS:]]
    result = StageResult(
        model_dir=str(task.folder / "model"),
        steps=task.num_steps,
        final_loss=sum(last) / len(last),
        seconds=round(sum(event["seconds"] for event in steps), 2),
        mlflow_run_id=run_log.run_id,
    )
    for made in (task.folder / "loss.png", *_write_page(task.folder)):
        registry.connect(run_log.tracking_uri).log_artifact(run_log.run_id, str(made))
    run_log.end()
    (task.folder / RESULT).write_text(json.dumps(asdict(result), indent=1))
    if task.stage == "instruction":
        shutil.rmtree(task.config.folder / FEATURES, ignore_errors=True)
    logger.info("%s: %d steps in %.0f s, loss %.4f", task.stage, result.steps, result.seconds, result.final_loss)
    return result


def _finished(folder: Path) -> StageResult | None:
    """The result of a stage that reached its end and whose model is whole."""
    if not (folder / RESULT).is_file():
        return None
    try:
        verify_manifest(folder / "model")
    except (CorruptCheckpoint, MissingFile) as error:
        logger.warning("the finished model is damaged and is made again from the last checkpoint: %s", error)
        return None
    return StageResult(**json.loads((folder / RESULT).read_text()))
