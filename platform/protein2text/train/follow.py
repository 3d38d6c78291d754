"""The driver's ear: follows a stage's events, tells the caller and the log, and records metrics in MLflow."""

import logging
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from mlflow import MlflowClient
from mlflow.entities import Metric

from protein2text.train.events import OnEvent, parsed, read_steps

logger = logging.getLogger(__name__)

METRICS = ("loss", "learning_rate", "grad_norm", "tokens", "residues", "seconds")
"""What MLflow records of a step; the loss in nats per supervised token, tokens as decoder positions, wall seconds."""
POLL_INTERVAL_S = 0.2
STEPS_PER_MLFLOW_BATCH = 1000 // len(METRICS)
"""MLflow takes at most 1,000 metrics in one request."""


class EventFollower:
    """Follows an event file in a thread: tells the caller and the log, gives MLflow the metrics in large batches."""

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
        for event in parsed(whole.decode().splitlines()):
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
