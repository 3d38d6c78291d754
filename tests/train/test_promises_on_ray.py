"""What a run promises when something is taken from it or given to it under real Ray: a node, a worker, its driver."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
import yaml
from ray.cluster_utils import Cluster
from ray.core.generated import autoscaler_pb2
from ray.train import WorkerGroupError

from protein2text.config import RunConfig
from protein2text.train.events import Event, read_events, read_steps
from protein2text.train.run import train_stage
from tests.train.conftest import assert_weights_follow

pytestmark = pytest.mark.slow  # each starts Ray's workers twice; tests/train/test_promises.py has the short forms
EPOCHS, NUM_STEPS, INTERVAL = 100, 400, 50
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
    alignment = run_values["alignment"] | {"epochs": EPOCHS, "checkpoint_interval_steps": INTERVAL}
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


@contextmanager
def command(values: dict[str, Any], folder: Path, address: str | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """``protein2text train`` of these values' alignment, in a process of its own, on a Ray of its own or the named
    one; its output is in ``folder/log``."""
    (folder / "run.yaml").write_text(yaml.safe_dump(values))
    program = "from protein2text.cli import app; app()"
    words = [sys.executable, "-c", program, "train", "run.yaml", "--stage", "alignment"]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment |= {"RAY_ADDRESS": address} if address else {}
    with (folder / "log").open("a") as log:
        process = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until(so: Callable[[], bool], driver: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait for something, as long as the driver runs."""
    while not so():
        assert driver.poll() is None, (folder / "log").read_text()
        time.sleep(0.05)


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
    assert_only_unwritten_steps_again(folder / "events.jsonl", INTERVAL)
    calm = train_on(two_workers, RunConfig.parse(long_run | {"name": "calm"}))
    assert losses(folder) == losses(calm.folder)


def test_a_killed_driver_is_followed_by_the_same_command(
    long_run: dict[str, Any], tmp_path: Path, two_workers: Any, train_on: Any, assert_only_unwritten_steps_again: Any
) -> None:
    """SIGKILL; the same command at once; the dead run's workers write nothing under the new one."""
    folder = RunConfig.parse(long_run).folder / "alignment"
    with command(long_run, tmp_path) as driver:
        wait_until(lambda: len(losses(folder)) >= 60, driver, tmp_path)
        driver.send_signal(signal.SIGKILL)
    with command(long_run, tmp_path) as driver:
        assert driver.wait() == 0, (tmp_path / "log").read_text()
    done = steps_done(folder)
    (again,) = [place for place in range(1, len(done)) if done[place] <= done[place - 1]]
    assert done[again:] == list(range(done[again], NUM_STEPS + 1)), "only the new driver's"
    assert_only_unwritten_steps_again(folder / "events.jsonl", INTERVAL)
    calm = train_on(two_workers, RunConfig.parse(long_run | {"name": "calm"}))
    assert losses(folder) == losses(calm.folder)


def test_a_run_killed_on_two_workers_goes_on_with_one_and_killed_there_with_two(
    long_run: dict[str, Any], cluster: Cluster, two_workers: Any, train_on: Any, assert_only_unwritten_steps_again: Any
) -> None:
    """Each time by the same command with another number of workers; nothing is lost, nor done twice but unwritten."""

    def on(num_workers: int) -> RunConfig:
        scaling = long_run["scaling"] | {"num_workers": num_workers, "zero_stage": num_workers, "max_restarts": 0}
        return RunConfig.parse(long_run | {"scaling": scaling})

    for num_workers, step in ((2, 130), (1, 270)):
        killing = Once(step, lambda: workers_of_this_test()[0].kill())
        with pytest.raises(WorkerGroupError):
            train_stage(on(num_workers), "alignment", on_event=killing)
    result = train_stage(on(2), "alignment")
    folder = on(2).folder / "alignment"
    assert [start["num_workers"] for start in starts(folder)] == [2, 1, 2]
    assert result.steps == NUM_STEPS
    assert_only_unwritten_steps_again(folder / "events.jsonl", INTERVAL)
    calm = train_on(two_workers, RunConfig.parse(long_run | {"name": "calm"}))
    assert losses(folder) == pytest.approx(losses(calm.folder), rel=1e-5)
    sizes, calm_sizes = (
        [(event["tokens"], event["residues"]) for event in read_steps(place / "events.jsonl")]
        for place in (folder, calm.folder)
    )
    assert sizes == calm_sizes, "the same records form each step"
    assert_weights_follow(folder / "checkpoints", calm.checkpoints, NUM_STEPS)


def test_a_run_that_may_grow_takes_the_node_that_comes(
    long_run: dict[str, Any], cluster: Cluster, tmp_path: Path, one_worker: Any, train_on: Any,
    assert_only_unwritten_steps_again: Any,
) -> None:  # fmt: skip
    """One worker of two CPUs, and two once a node is there for the second. Ray Train looks for it once a minute, so the
    run is a long one, and ended when it has grown."""
    scaling = long_run["scaling"] | {"num_workers": [1, 2], "cpus_per_worker": 2, "max_restarts": 0}
    values = long_run | {"alignment": long_run["alignment"] | {"epochs": 5000}, "scaling": scaling}
    folder = RunConfig.parse(values).folder / "alignment"
    with command(values, tmp_path, cluster.address) as driver:
        wait_until(lambda: len(steps_done(folder)) >= 20, driver, tmp_path)
        node = cluster.add_node(num_cpus=2)
        wait_until(lambda: len(starts(folder)) == 2, driver, tmp_path)
        before = len(steps_done(folder))
        wait_until(lambda: len(steps_done(folder)) >= before + 100, driver, tmp_path)
        driver.send_signal(signal.SIGTERM)
        assert driver.wait() == 143
    cluster.remove_node(node)
    assert [start["num_workers"] for start in starts(folder)] == [1, 2]
    assert_only_unwritten_steps_again(folder / "events.jsonl", INTERVAL)
    found = losses(folder)
    calm_values = values | {"name": "calm", "scaling": long_run["scaling"] | {"num_workers": 1, "zero_stage": 1}}
    calm = train_on(one_worker, RunConfig.parse(calm_values), stop_after=len(found))
    assert found == pytest.approx(losses(calm.folder), rel=1e-5)
