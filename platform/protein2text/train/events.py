"""What a stage tells while it runs: one JSON line per step or decision, appended by worker 0, followed by the driver.

A file rather than an actor: it costs a worker microseconds, outlives every process, and gives the loss curve of a run
that was interrupted. After a restart some steps stand twice; the later line counts.
"""

import json
import logging
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mlflow import MlflowClient
from mlflow.entities import Metric

logger = logging.getLogger(__name__)

Event = dict[str, Any]
OnEvent = Callable[[Event], None]
"""Told of each event: a step has ``stage``, ``step``, ``num_steps`` and numbers, a decision ``stage``, ``message``."""

METRICS = ("loss", "learning_rate", "grad_norm", "tokens", "residues", "seconds")
"""What MLflow records of a step; the loss in nats per supervised token, tokens as decoder positions, wall seconds."""
POLL_INTERVAL_S = 0.2
STEPS_PER_MLFLOW_BATCH = 1000 // len(METRICS)
"""MLflow takes at most 1,000 metrics in one request."""


class EventWriter:
    """Appends events to a file, each at once, so that a killed worker loses at most the line it was writing."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        cut = path.is_file() and not path.read_bytes().endswith(b"\n")
        self._file = path.open("a", buffering=1)
        if cut:
            self._file.write("\n")

    def write(self, event: Event) -> None:
        self._file.write(json.dumps(event) + "\n")


def read_events(path: Path) -> list[Event]:
    """All whole events of a file, oldest first; none if there is no file."""
    return _parsed(path.read_text().splitlines()) if path.is_file() else []


def read_steps(path: Path) -> list[Event]:
    """The steps of a run in order, each once: the later line of a step that was done twice."""
    steps = {event["step"]: event for event in read_events(path) if "loss" in event}
    return [steps[step] for step in sorted(steps)]


def _parsed(lines: Iterable[str]) -> list[Event]:
    events = []
    for line in lines:
        try:
            events.append(json.loads(line))
        except ValueError:
            continue  # cut off when its writer was killed
    return events


class EventFollower:
    """Follows an event file in a thread: tells the caller and the log, and gives MLflow the metrics in large batches."""

    def __init__(self, path: Path, *, client: MlflowClient, run_id: str, on_event: OnEvent | None) -> None:
        self._path, self._client, self._run_id, self._on_event = path, client, run_id, on_event
        self._offset = path.stat().st_size if path.is_file() else 0
        self._waiting = [event for event in read_steps(path) if event["step"] > self._last_recorded_step()]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="protein2text-events", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._stop.wait(POLL_INTERVAL_S):
            self._take_new()
            while len(self._waiting) >= STEPS_PER_MLFLOW_BATCH:
                self._record()
        self._take_new()
        while self._waiting:
            self._record()

    def _take_new(self) -> None:
        if not self._path.is_file():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        for event in _parsed(whole.decode().splitlines()):
            if "message" in event:
                logger.info("%s: %s", event["stage"], event["message"])
            else:
                self._waiting.append(event)
            if self._on_event is not None:
                self._on_event(event)

    def _record(self) -> None:
        batch, self._waiting = self._waiting[:STEPS_PER_MLFLOW_BATCH], self._waiting[STEPS_PER_MLFLOW_BATCH:]
        metrics = [
            Metric(name, float(event[name]), round(event["time"] * 1000), event["step"])
            for event in batch
            for name in METRICS
        ]
        self._client.log_batch(self._run_id, metrics=metrics)

    def _last_recorded_step(self) -> int:
        history = self._client.get_metric_history(self._run_id, METRICS[0])
        return max((metric.step for metric in history), default=0)
