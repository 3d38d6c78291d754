"""The driver's ear: follows a stage's events, tells the caller and the log, and records metrics in MLflow."""

import logging
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from mlflow import MlflowClient
from mlflow.entities import Metric

from protein2text.train.events import Event, OnEvent, metrics_of, parsed, read_events

logger = logging.getLogger(__name__)

POLL_INTERVAL_S = 0.2
RECORD_INTERVAL_S = 10.0
"""MLflow hears of steps at most so late."""
EVENTS_PER_REQUEST = 60
"""Whole ones; MLflow takes at most 1,000 metrics in one request, and an event has at most sixteen."""


class EventFollower:
    """Follows an event file in a thread: tells the caller and the log, gives MLflow the metrics in large batches."""

    def __init__(self, path: Path, *, client: MlflowClient, run_id: str, on_event: OnEvent | None) -> None:
        self._path, self._client, self._run_id, self._on_event = path, client, run_id, on_event
        self._offset = path.stat().st_size if path.is_file() else 0
        self._waiting = self._unrecorded(read_events(path))
        self._recorded_at = time.monotonic()
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
            is_late = time.monotonic() - self._recorded_at > RECORD_INTERVAL_S
            while len(self._waiting) >= EVENTS_PER_REQUEST or (is_late and self._waiting):
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
        for event in parsed(whole.splitlines()):
            if "message" in event:
                level = logging.WARNING if event.get("level") == "warning" else logging.INFO
                logger.log(level, "%s: %s", event["stage"], event["message"])
            if metrics_of(event):
                self._waiting.append(event)
            if self._on_event is not None:
                self._on_event(event)

    def _record(self) -> None:
        batch, self._waiting = self._waiting[:EVENTS_PER_REQUEST], self._waiting[EVENTS_PER_REQUEST:]
        metrics = [
            Metric(name, float(value), round(event["time"] * 1000), event["step"])
            for event in batch
            for name, value in metrics_of(event).items()
        ]
        self._client.log_batch(self._run_id, metrics=metrics)
        self._recorded_at = time.monotonic()

    def _unrecorded(self, events: list[Event]) -> list[Event]:
        """Earlier steps and validations that MLflow lacks, as when their driver was killed; each as last done."""
        last = {kind: self._last_recorded_step(kind) for kind in ("loss", "validation_loss")}
        lacking = {}
        for event in events:
            kind = "validation_loss" if "validation" in event else "loss"
            if metrics_of(event) and event["step"] > last[kind]:
                lacking[kind, event["step"]] = event
        return list(lacking.values())

    def _last_recorded_step(self, name: str) -> int:
        history = self._client.get_metric_history(self._run_id, name)
        return max((metric.step for metric in history), default=0)
