"""Copies checkpoints to the store behind the training loop; what fails there is told and counted, and stops nothing."""

import logging
import threading
import time
from pathlib import Path

from protein2text.errors import ServiceError
from protein2text.train.checkpoint_store import CheckpointStore
from protein2text.train.checkpoints import step_in
from protein2text.train.events import Tell
from protein2text.train.stage_config import StageConfig
from protein2text.train.task import EVENTS

logger = logging.getLogger(__name__)


class CheckpointUploader:
    """One upload at a time; of checkpoints that wait meanwhile only the newest, so that a slow store never blocks."""

    def __init__(self, store: CheckpointStore, config: StageConfig, tell: Tell, resumed_from: Path | None) -> None:
        """Begin with the checkpoint that training goes on from, if the store lacks it."""
        self._store, self._config, self._tell, self._resumed_from = store, config, tell, resumed_from
        self._counts = {"done": 0, "failed": 0, "skipped": 0}
        self._changed = threading.Condition()
        self._current: Path | None = None
        self._waiting = resumed_from
        self._ending = False
        self._thread = threading.Thread(target=self._work, name="checkpoint-uploader", daemon=True)
        self._thread.start()

    def offer(self, folder: Path) -> None:
        """Upload a finished checkpoint when the one in flight is done, in place of any that waits."""
        with self._changed:
            skipped, self._waiting = self._waiting, folder
            self._changed.notify_all()
        if skipped is not None:
            self._count("skipped", f"{skipped.name} is not uploaded: {folder.name} was there before its turn came")

    def reading(self) -> list[Path]:
        """Checkpoints that must stay on disk until they are uploaded."""
        with self._changed:
            return [folder for folder in (self._current, self._waiting) if folder is not None]

    def finish(self) -> None:
        """Wait until the last checkpoint is in the store or given up, and say how many are."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        self._thread.join(3 * self._store.longest_s)  # one in flight, one that waits, and the sweep
        if self._thread.is_alive():
            names = ", ".join(folder.name for folder in self.reading())
            self._count("failed", f"{names} is not waited for any longer: the store has stopped answering")
        counts = ", ".join(f"{number} {name}" for name, number in self._counts.items())
        self._tell(f"uploads to {self._store.url}: {counts}", uploads=dict(self._counts))

    def _work(self) -> None:
        while True:
            with self._changed:
                self._current = None
                self._changed.wait_for(lambda: self._waiting is not None or self._ending)
                if self._waiting is None:
                    return
                self._current, self._waiting = self._waiting, None
            try:
                self._upload(self._current)
            except ServiceError as error:
                self._count("failed", f"{self._current.name} could not be uploaded, training goes on: {error}")
                continue
            self._sweep()

    def _upload(self, folder: Path) -> None:
        if folder == self._resumed_from and step_in(folder.name) in self._store.steps():
            return
        began = time.monotonic()
        self._store.upload(folder)
        if (events := folder.parent.with_name(EVENTS)).is_file():
            self._store.put_events(events)
        self._counts["done"] += 1
        logger.info("%s is in %s after %.1f s", folder.name, self._store.url, time.monotonic() - began)

    def _sweep(self) -> None:
        try:
            unfinished = self._store.sweep(self._config.keep_checkpoints, self._config.keep_best)
        except ServiceError as error:
            self._tell(f"old checkpoints in the store could not be deleted: {error}", level="warning")
            return
        if unfinished:
            self._tell(f"deleted in the store, since their upload did not end: {', '.join(unfinished)}")

    def _count(self, outcome: str, message: str) -> None:
        self._counts[outcome] += 1
        self._tell(message, level="warning", uploads=dict(self._counts))
