"""What a run promises when something is taken from it under real Ray: a node, a worker's answer, its driver."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
import yaml
from ray.cluster_utils import Cluster
from ray.core.generated import autoscaler_pb2

from protein2text.config import RunConfig
from protein2text.train.events import Event, read_events, read_steps
from protein2text.train.run import train_stage

pytestmark = pytest.mark.slow  # each starts Ray's workers twice; tests/train/test_promises.py has the short forms
EPOCHS, NUM_STEPS = 100, 400
START_S = 300
"""Granted to Ray, on a loaded machine, for starting workers after it has found that others are to end."""


@pytest.fixture(scope="module")
def cluster(without_ray: None) -> Iterator[Cluster]:
    """A head node that holds two workers and what Ray Data needs."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 3, "include_dashboard": False})
    ray.init(address=cluster.address, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def long_run(run_values: dict[str, Any]) -> dict[str, Any]:
    alignment = run_values["alignment"] | {"epochs": EPOCHS, "checkpoint_interval_steps": 50}
    return run_values | {"alignment": alignment}


def losses(folder: Path) -> list[float]:
    return [event["loss"] for event in read_steps(folder / "events.jsonl")]


def steps_done(folder: Path) -> list[int]:
    return [event["step"] for event in read_events(folder / "events.jsonl") if "loss" in event]


def messages(folder: Path) -> str:
    return " / ".join(event["message"] for event in read_events(folder / "events.jsonl") if "message" in event)


def starts(folder: Path) -> list[Event]:
    """What was told each time that workers began to train."""
    return [event for event in read_events(folder / "events.jsonl") if "num_workers" in event]


def workers_of_this_test() -> list[psutil.Process]:
    here = psutil.Process()
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if (process.info["cmdline"] or [""])[0].startswith("ray::RayTrainWorker") and here in process.parents()
    ]


class Once:
    """Told of a stage's steps, it does something at one of them."""

    def __init__(self, step: int, action: Any) -> None:
        self._step, self._action = step, action
        self.at: float | None = None

    def __call__(self, event: Event) -> None:
        if self.at is None and event.get("step", 0) >= self._step:
            self.at = time.time()
            self._action()


def drain(cluster: Cluster, node_id: str, seconds: float) -> None:
    """What Ray does on a node that gets SIGTERM, or that its cloud takes back."""
    gcs = ray._raylet.GcsClient(address=cluster.address)
    reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    accepted, why = gcs.drain_node(node_id, reason, "taken back", int((time.time() + seconds) * 1000))
    assert accepted, why


def test_a_drained_node_is_left_with_a_checkpoint_and_the_run_goes_on_with_fewer_workers(
    long_run: dict[str, Any], cluster: Cluster, two_workers: Any, train_on: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers of two CPUs each on two nodes; one node goes, and one worker ends the run alone."""
    monkeypatch.setenv("RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S", "0.5")
    node = cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()
    scaling = long_run["scaling"] | {"num_workers": [1, 2], "cpus_per_worker": 2, "max_restarts": 0}
    config = RunConfig.parse(long_run | {"scaling": scaling})
    draining = Once(20, lambda: drain(cluster, node.node_id, seconds=60))
    result = train_stage(config, "alignment", on_event=draining)
    folder = config.folder / "alignment"
    assert draining.at is not None
    assert "a node is drained: checkpoint after step" in messages(folder)
    assert [start["num_workers"] for start in starts(folder)] == [2, 1]
    assert result.steps == NUM_STEPS
    assert steps_done(folder) == list(range(1, NUM_STEPS + 1)), "no step is done twice"
    calm = train_on(two_workers, RunConfig.parse(long_run | {"name": "calm"}))
    assert losses(folder) == pytest.approx(losses(calm.folder), rel=1e-5)
    cluster.remove_node(node)


def test_a_hung_rank_is_found_within_the_timeout_and_the_run_restarts(
    long_run: dict[str, Any], cluster: Cluster, two_workers: Any, train_on: Any, assert_only_unwritten_steps_again: Any
) -> None:
    config = RunConfig.parse(long_run | {"scaling": long_run["scaling"] | {"hang_timeout_s": 5}})

    def stop_one() -> None:
        one, _ = workers_of_this_test()
        one.suspend()

    hanging = Once(60, stop_one)
    result = train_stage(config, "alignment", on_event=hanging)
    folder = config.folder / "alignment"
    assert hanging.at is not None
    began_again = starts(folder)[1]["time"]
    assert began_again - hanging.at <= config.scaling.hang_timeout_s + START_S, "torch alone would wait half an hour"
    assert result.steps == NUM_STEPS
    assert_only_unwritten_steps_again(folder / "events.jsonl", config.alignment.checkpoint_interval_steps)
    calm = train_on(two_workers, RunConfig.parse(long_run | {"name": "calm"}))
    assert losses(folder) == losses(calm.folder)


def test_a_killed_driver_is_followed_by_the_same_command(
    long_run: dict[str, Any], tmp_path: Path, two_workers: Any, train_on: Any, assert_only_unwritten_steps_again: Any
) -> None:
    """SIGKILL; the same command at once; the dead run's workers write nothing under the new one."""
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(long_run))
    program = "from protein2text.cli import app; app()"
    command = [sys.executable, "-c", program, "train", "run.yaml", "--stage", "alignment"]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    config = RunConfig.parse(long_run)
    folder = config.folder / "alignment"
    with (tmp_path / "log").open("w") as log:
        driver = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log, env=environment)
        while len(losses(folder)) < 60:
            assert driver.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.05)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        subprocess.run(command, cwd=tmp_path, stdout=log, stderr=log, env=environment, check=True)
    done = steps_done(folder)
    (again,) = [place for place in range(1, len(done)) if done[place] <= done[place - 1]]
    assert done[again:] == list(range(done[again], NUM_STEPS + 1)), "only the new driver's"
    assert_only_unwritten_steps_again(folder / "events.jsonl", config.alignment.checkpoint_interval_steps)
    calm = train_on(two_workers, RunConfig.parse(long_run | {"name": "calm"}))
    assert losses(folder) == losses(calm.folder)
