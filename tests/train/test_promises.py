"""What a run promises when something is taken from it, on workers without Ray; ``test_promises_on_ray`` has the rest.

Each promise of docs/training.md names its test.
"""

import json
import subprocess
import sys
from collections import Counter
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from protein2text.config import RunConfig
from protein2text.errors import RunInUse
from protein2text.models.checkpoints import sha256_of
from protein2text.train.events import Event, read_events, read_steps
from protein2text.train.run import train_stage
from protein2text.train.run_lock import DRIVER, WRITER, hold
from protein2text.train.task import StageTask
from tests.train.conftest import assert_weights_follow, merged

LOSS_TOLERANCE = 1e-5
"""Relative, after a change of the number of workers; sums run in another order."""


def renamed(values: dict[str, Any], name: str, **changes: Any) -> RunConfig:
    return RunConfig.parse(values | {"name": name} | changes)


def trained(workers: Any) -> dict[int, list[str]]:
    """Ids of the records of each step, over the workers."""
    return merged(workers.answers)


def steps_done(task: StageTask) -> list[Event]:
    """Every step in the order in which it was done, those done again too."""
    return [event for event in read_events(task.events) if "loss" in event]


def final_weights(task: StageTask) -> dict[str, Tensor]:
    return load_file(task.checkpoints / f"step-{task.num_steps:08}" / "weights.safetensors")


def messages(task: StageTask) -> str:
    return " / ".join(event["message"] for event in read_events(task.events) if "message" in event)


@pytest.mark.parametrize(
    "zero_stage", [pytest.param(0, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.slow), 2, 3]
)
def test_world_size_changed_from_two_to_one_and_back(
    train_on: Any, two_workers: Any, one_worker: Any, undisturbed: Any, run_values: dict[str, Any], zero_stage: int
) -> None:
    """The same records form each step, and losses and weights follow the undisturbed run, which is under ZeRO-2.

    From ZeRO-2 one worker goes on under ZeRO-1.
    """
    on_two = {"num_workers": 2, "zero_stage": zero_stage}
    run_values["instruction"] |= {"state_cache_gib": 0}  # which ZeRO-3 refuses
    moved = renamed(run_values, "moved", scaling=on_two)
    on_one = {"num_workers": 1, "zero_stage": 1 if zero_stage == 2 else zero_stage}
    train_on(two_workers, moved, stop_after=4)
    seen = trained(two_workers)
    train_on(one_worker, renamed(run_values, "moved", scaling=on_one), stop_after=8)
    seen |= trained(one_worker)
    task = train_on(two_workers, moved)
    seen |= trained(two_workers)

    whole = undisturbed.task
    assert seen == trained(undisturbed)
    assert len(steps_done(task)) == task.num_steps, "no step is done twice"
    losses, calm = ([event["loss"] for event in read_steps(each.events)] for each in (task, whole))
    assert losses == pytest.approx(calm, rel=LOSS_TOLERANCE)
    sizes, calm_sizes = ([event["tokens"] for event in read_steps(each.events)] for each in (task, whole))
    assert sizes == calm_sizes
    assert_weights_follow(task.checkpoints, whole.checkpoints, task.num_steps)


def test_mid_epoch_resume_has_disjoint_and_complete_consumed_and_remaining_records(
    train_on: Any, two_workers: Any, one_worker: Any, run_values: dict[str, Any]
) -> None:
    """Stopped after step 10 with a checkpoint after step 9, five records into the third pass over twenty."""
    alignment = run_values["alignment"] | {"checkpoint_interval_steps": 3}
    config = renamed(run_values, "stopped", alignment=alignment)
    stopped = train_on(two_workers, config, stop_after=10)
    before = {step: ids for step, ids in trained(two_workers).items() if step < 9}
    trainer = json.loads((stopped.checkpoints / "step-00000009" / "trainer.json").read_text())
    train_on(one_worker, config)
    after = trained(one_worker)

    assert trainer["plan_position"] == sum(map(len, before.values())) == 45
    assert min(after) == 9, "reading began at the first step that was left"
    third_pass = [ids for step, ids in (before | after).items() if step >= 8]
    consumed, remaining = set(third_pass[0]), set().union(*third_pass[1:])
    assert len(consumed) == 5
    assert not consumed & remaining
    assert consumed | remaining == {f"P{number:02}" for number in range(4, 24)}
    seen = Counter(record_id for ids in (before | after).values() for record_id in ids)
    assert set(seen.values()) == {3}, "each record once in each of three passes"


def test_stop_and_go_has_equal_rate_step_optimizer_records_and_next_loss(
    train_on: Any, two_workers: Any, undisturbed: Any, run_values: dict[str, Any]
) -> None:
    """Stopped after step 9 of 12, with checkpoints every 4 steps: step 9 is done again, and nothing differs."""
    whole, config = undisturbed.task, renamed(run_values, "stopped")
    assert not (train_on(two_workers, config, stop_after=9).folder / "model").exists()
    stopped = train_on(two_workers, config)

    assert [event["step"] for event in steps_done(stopped)] == [*range(1, 10), *range(9, 13)]
    kept = ["step-00000008", "step-00000012"]
    assert [path.name for path in sorted(stopped.checkpoints.iterdir())] == kept
    for name in kept:
        for part in ("weights", "exp_avg", "exp_avg_sq"):
            hashes = [sha256_of(task.checkpoints / name / f"{part}.safetensors") for task in (stopped, whole)]
            assert hashes[0] == hashes[1]
        for key in ("step", "plan_position"):
            values = [
                json.loads((task.checkpoints / name / "trainer.json").read_text())[key] for task in (stopped, whole)
            ]
            assert values[0] == values[1]
    models = [sha256_of(task.folder / "model" / "bridge.safetensors") for task in (stopped, whole)]
    assert models[0] == models[1]
    assert trained(two_workers) == {step: ids for step, ids in trained(undisturbed).items() if step >= 8}
    for name in ("step", "learning_rate", "loss", "grad_norm"):
        after, calm = ([event[name] for event in read_steps(task.events)] for task in (stopped, whole))
        assert after == calm


def test_a_drained_node_is_left_after_the_step_with_a_checkpoint(
    train_on: Any, two_workers: Any, undisturbed: Any, run_values: dict[str, Any]
) -> None:
    config = renamed(run_values, "drained")
    train_on(two_workers, config, drained_after=6)
    task = train_on(two_workers, config)
    assert [event["step"] for event in steps_done(task)] == list(range(1, 13)), "nothing is done twice"
    assert "a node is drained: checkpoint after step 6, and away" in messages(task)
    assert messages(task).count("training from step-00000006, the newest good checkpoint") == 1
    losses, calm = ([event["loss"] for event in steps_done(each)] for each in (task, undisturbed.task))
    assert losses == calm


def test_a_kill_while_a_checkpoint_is_written_costs_an_interval_at_most(
    train_on: Any, new_workers: Any, one_worker: Any, run_values: dict[str, Any]
) -> None:
    """Four times a worker is killed at the checkpoint after step 8, the last time when it has its name already."""
    one_part_written, no_manifest = ("save_file", "before"), ("write_manifest", "before")
    no_name_yet, written = ("write_manifest", "after"), ("sweep", "before")
    config = renamed(run_values, "killed")
    for point in (one_part_written, no_manifest, no_name_yet, written):
        with pytest.raises(EOFError):
            train_on(new_workers(1), config, killed_at=(8, *point))
    task = train_on(one_worker, config)
    assert [event["step"] for event in steps_done(task)] == [*range(1, 9), *(3 * [5, 6, 7, 8]), *range(9, 13)]
    whole = train_on(one_worker, renamed(run_values, "whole"))
    losses, calm = ([event["loss"] for event in read_steps(each.events)] for each in (task, whole))
    assert losses == calm
    weights, calm_weights = final_weights(task), final_weights(whole)
    assert all(torch.equal(weight, calm_weights[name]) for name, weight in weights.items())


def test_a_hung_rank_is_found_within_the_timeout(new_workers: Any) -> None:
    """In a group of processes that DeepSpeed made, which torch gives half an hour."""
    settings = {"epochs": 1, "global_batch": 10, "learning_rate": 1e-3}
    workers = new_workers(2, timeout_s=6)
    with pytest.raises(AssertionError, match=r"deepspeed(.|\n)*Timed out waiting 6000ms"):
        workers.run("stop_answering", settings, 2)
    assert psutil.Process(workers.processes[1].pid).status() == psutil.STATUS_STOPPED


HOLD = """
import sys, time
from pathlib import Path
from protein2text.train.run_lock import hold
with hold(Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("name", [DRIVER, WRITER])
def test_a_killed_process_holds_nothing_and_a_living_one_is_named(run_config: RunConfig, name: str) -> None:
    folder = run_config.folder / "alignment"
    command = [sys.executable, "-c", HOLD, folder, name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        named = rf"Run 'small/alignment' is being trained by process {holder.pid} on \S+ since 20"
        with pytest.raises(RunInUse, match=named), hold(folder, name, wait_s=0.3):
            pass
        if name == DRIVER:
            with pytest.raises(RunInUse, match=named):
                train_stage(run_config, "alignment")
        holder.kill()
    with hold(folder, name):
        pass
