"""The event file and its follower: nothing lost, nothing told twice, MLflow complete after an interruption."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from protein2text import registry
from protein2text.train.curve import draw_loss_curve, exponential_mean
from protein2text.train.events import PLAIN_METRICS, Event, EventWriter, metrics_of, read_events, read_steps
from protein2text.train.follow import EventFollower
from protein2text.train.page import write_run_page


def step_event(step: int, loss: float | None = None) -> Event:
    numbers = {name: float(step) for name in PLAIN_METRICS} | {"loss": 1 / step if loss is None else loss}
    return {"stage": "alignment", "step": step, "num_steps": 9, "time": time.time(), **numbers, "data_wait_s": 0.1}


LOSS = step_event(3)


@pytest.fixture(scope="module")
def mlflow_client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return registry.connect(f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db")


@pytest.fixture
def mlflow_run(mlflow_client: Any) -> tuple[Any, str]:
    experiment = registry.open_experiment(mlflow_client, "test")
    return mlflow_client, mlflow_client.create_run(experiment).info.run_id


def test_a_line_cut_by_a_kill_spoils_neither_itself_nor_the_next(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    EventWriter(path).write(step_event(1))
    with path.open("a") as file:
        file.write('{"stage": "alignment", "st')
    EventWriter(path).write(step_event(2))
    assert [event["step"] for event in read_events(path)] == [1, 2]


DAMAGED = [
    b"5", b"null", b"[]", b"[" * 100_000, b"\xff\xfe{}", b'{"step": 3, "validation": 5}',
    b'{"stage": "a", "step": 3, "validation": 5}', b'{"stage": "a", "validation": {}}', b'{"stage": "a", "loss": 1}',
    json.dumps({**LOSS, "step": "3"}).encode(), json.dumps({**LOSS, "time": 1e300}).encode(),
    json.dumps({**LOSS, "seconds": None}).encode(), b'{"stage": "a", "message": 5}', b'{"stage": "a", "lineage": {}}',
]  # fmt: skip


def test_lines_that_are_no_event_stop_nobody_and_are_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "events.jsonl"
    EventWriter(path).write(step_event(1))
    with path.open("ab") as file:
        file.write(b"\n".join(DAMAGED) + b"\n")
    EventWriter(path).write(step_event(2))
    assert [event["step"] for event in read_events(path)] == [1, 2]
    assert [event["step"] for event in read_steps(path)] == [1, 2]
    write_run_page(tmp_path)
    assert [record.getMessage() for record in caplog.records if "no event" in record.getMessage()] == [
        f"{path}: lines that are no event, passed over: {len(DAMAGED)}"
    ]


def test_a_step_done_twice_counts_once_as_last_done(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path / "events.jsonl")
    for step, loss in ((1, 5.0), (2, 4.0), (3, 3.0), (2, 2.0)):
        writer.write(step_event(step, loss))
    writer.write({"stage": "alignment", "message": "no step"})
    assert [(event["step"], event["loss"]) for event in read_steps(tmp_path / "events.jsonl")] == [
        (1, 5),
        (2, 2),
        (3, 3),
    ]


def test_the_caller_hears_new_events_and_mlflow_all_that_it_lacks(tmp_path: Path, mlflow_run: tuple[Any, str]) -> None:
    client, run_id = mlflow_run
    path = tmp_path / "events.jsonl"
    writer = EventWriter(path)
    heard: list[Event] = []
    for step in (1, 2):
        writer.write(step_event(step))  # written while nobody followed
    with EventFollower(path, client=client, run_id=run_id, on_event=heard.append):
        writer.write(step_event(3))
        writer.write({"stage": "alignment", "message": "a decision"})
        losses = {"loss": 2.0, "loss_shuffled": 2.5, "loss_swapped": 2.25}
        writer.write({**step_event(3), "validation": {**losses, "num_records": 5}})
    with EventFollower(path, client=client, run_id=run_id, on_event=heard.append):
        writer.write(step_event(4))
    assert [event.get("step", event.get("message")) for event in heard] == [3, "a decision", 3, 4]
    for name in metrics_of(step_event(1)):
        assert [metric.step for metric in client.get_metric_history(run_id, name)] == [1, 2, 3, 4]
    metrics = client.get_run(run_id).data.metrics
    assert metrics["loss"] == 0.25
    validated = {name: value for name, value in metrics.items() if name.startswith("validation")}
    assert validated == {f"validation_{name}": value for name, value in losses.items()}


def test_thousands_of_steps_reach_mlflow_in_few_requests(tmp_path: Path, mlflow_run: tuple[Any, str]) -> None:
    client, run_id = mlflow_run
    writer = EventWriter(tmp_path / "events.jsonl")
    with EventFollower(tmp_path / "events.jsonl", client=client, run_id=run_id, on_event=None):
        for step in range(1, 401):
            writer.write(step_event(step))
    assert len(client.get_metric_history(run_id, "grad_norm")) == 400


def test_the_curve_is_a_picture_and_its_mean_is_unbiased(tmp_path: Path) -> None:
    draw_loss_curve([step_event(step) for step in range(1, 10)], tmp_path / "loss.png", "a run")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert exponential_mean([2.0, 2.0, 2.0]) == pytest.approx([2.0, 2.0, 2.0])
