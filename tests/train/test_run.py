"""Whole stages through Ray Data and Ray Train, and what becomes of them when a worker is killed or they begin again."""

import random
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.torch import load_file
from torch import equal

from protein2text import registry
from protein2text.config import RunConfig
from protein2text.errors import ConfigError, ResourcesUnavailable, ResumeMismatch
from protein2text.models.checkpoints import verify_manifest
from protein2text.train.events import Event, read_steps
from protein2text.train.run import train_stage
from protein2text.train.task import StageTask

pytestmark = pytest.mark.usefixtures("local_ray")


def test_both_stages_run_from_corpus_to_model(run_values: dict[str, Any], two_workers: Any, train_on: Any) -> None:
    """Ray delivers the same steps as the plan's plain functions: the losses equal a run without Ray to the last bit."""
    config = RunConfig.parse(run_values)
    events: list[Event] = []
    alignment = train_stage(config, "alignment", on_event=events.append)
    instruction = train_stage(config, "instruction", on_event=events.append)

    without_ray = train_on(two_workers, RunConfig.parse(run_values | {"name": "without-ray"}))
    losses = [event["loss"] for event in read_steps(config.folder / "alignment" / "events.jsonl")]
    assert losses == [event["loss"] for event in read_steps(without_ray.events)]
    assert [event["step"] for event in events if event["stage"] == "alignment" and "loss" in event] == list(
        range(1, 13)
    )
    assert alignment.steps == 12  # floor(20 records x 3 epochs / 5)
    assert instruction.steps == 9  # floor(24 x 2 / 5)
    for result in (alignment, instruction):
        verify_manifest(Path(result.model_dir))
        folder = Path(result.model_dir).parent
        assert (folder / "loss.png").is_file()
        client = registry.connect(config.tracking.uri)
        recorded = client.get_metric_history(result.mlflow_run_id, "loss")
        assert [metric.value for metric in recorded] == [event["loss"] for event in read_steps(folder / "events.jsonl")]
        assert client.get_run(result.mlflow_run_id).info.status == "FINISHED"

    began = time.monotonic()
    assert train_stage(config, "instruction") == instruction
    assert time.monotonic() - began < 5
    changed = RunConfig.parse(run_values | {"seed": 4})
    with pytest.raises(ResumeMismatch, match="Run 'small/alignment' exists with seed=3, now seed=4"):
        train_stage(changed, "alignment")


def kill_one_worker(dice: random.Random) -> int:
    """SIGKILL to one of the training workers of this process's Ray."""
    workers = [
        process
        for process in psutil.Process().children(recursive=True)
        if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::RayTrainWorker")
    ]
    victim = dice.choice(sorted(workers, key=lambda process: process.pid))
    victim.kill()
    return victim.pid


@pytest.mark.parametrize("num_kills", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_workers_change_nothing_in_the_result(
    run_values: dict[str, Any], two_workers: Any, train_on: Any, num_kills: int
) -> None:
    """At most one checkpoint interval is done again; every loss and the final weights equal the undisturbed run's."""
    dice = random.Random(num_kills)
    scaling = run_values["scaling"] | {"max_restarts": num_kills}
    alignment = run_values["alignment"] | {"epochs": 5 + 30 * num_kills, "keep_checkpoints": 3}
    values = run_values | {"alignment": alignment, "scaling": scaling}
    config = RunConfig.parse(values | {"name": "disturbed"})
    kill_at = [20 + 100 * number for number in range(num_kills)]
    killed, steps = [], []

    def watch(event: Event) -> None:
        if "step" in event:
            steps.append(event["step"])
            if kill_at and event["step"] >= kill_at[0]:
                kill_at.pop(0)
                killed.append(kill_one_worker(dice))

    disturbed = train_stage(config, "alignment", on_event=watch)
    assert len(killed) == num_kills
    repeated = len(steps) - disturbed.steps
    assert 0 <= repeated <= num_kills * alignment["checkpoint_interval_steps"]
    calm: StageTask = train_on(two_workers, RunConfig.parse(values | {"name": "calm"}))
    found, expected = (read_steps(folder / "events.jsonl") for folder in (config.folder / "alignment", calm.folder))
    assert [event["loss"] for event in found] == [event["loss"] for event in expected]
    weights, calm_weights = (
        load_file(folder / "model" / "bridge.safetensors") for folder in (config.folder / "alignment", calm.folder)
    )
    assert all(equal(value, calm_weights[name]) for name, value in weights.items())


def test_more_workers_than_the_cluster_has_are_refused_at_once(run_values: dict[str, Any]) -> None:
    with pytest.raises(ResourcesUnavailable, match=r"needs 9 CPU .* the cluster has 4 CPU"):
        train_stage(RunConfig.parse(run_values | {"scaling": {"num_workers": 8}}), "alignment")


def test_a_batch_larger_than_the_corpus_is_refused_with_its_arithmetic(run_values: dict[str, Any]) -> None:
    alignment = run_values["alignment"] | {"global_batch": 64}
    with pytest.raises(ConfigError, match="20 records x 3 epochs do not fill one batch of 64"):
        train_stage(RunConfig.parse(run_values | {"alignment": alignment}), "alignment")
