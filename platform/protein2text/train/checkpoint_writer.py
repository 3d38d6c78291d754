"""Writes a stage's checkpoints behind the training loop, on worker 0: the loop only gathers the state."""

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from protein2text.train import checkpoints
from protein2text.train.checkpoint_store import open_store
from protein2text.train.checkpoint_uploader import CheckpointUploader
from protein2text.train.checkpoints import State
from protein2text.train.events import Tell
from protein2text.train.stage_config import StageConfig
from protein2text.train.task import StageTask


class CheckpointWriter:
    """One background writer, with one checkpoint in flight, so that at most one gathered state waits in memory.

    Training's threads may read from the state that they hand over, but not change it.
    """

    def __init__(self, folder: Path, config: StageConfig, tell: Tell, uploader: CheckpointUploader | None) -> None:
        self._folder, self._config, self._tell, self._uploader = folder, config, tell, uploader
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint-writer")
        self._in_flight: Future[None] | None = None

    def wait(self) -> None:
        """Return when the last checkpoint lies on disk under its name.

        Raises:
            OSError: it could not be written; no later one is begun before this is known.
        """
        in_flight, self._in_flight = self._in_flight, None
        if in_flight is not None:
            in_flight.result()

    def write(self, step: int, state: State, trainer: Mapping[str, Any]) -> None:
        """Begin to write a checkpoint, after the one before it; raises what ``wait`` raises."""
        self.wait()
        self._in_flight = self._thread.submit(self._write, step, state, trainer)

    def close(self) -> None:
        """Wait for the last checkpoint, and end the thread."""
        try:
            self.wait()
        finally:
            self._thread.shutdown()

    def finish(self) -> None:
        """Close, and wait until the last checkpoint is in the store too, if there is one, or given up."""
        self.close()
        if self._uploader:
            self._uploader.finish()

    def _write(self, step: int, state: State, trainer: Mapping[str, Any]) -> None:
        began = time.monotonic()
        folder, spared = checkpoints.save(self._folder, step, state, trainer), []
        self._tell(checkpoint=folder.name, write_s=round(time.monotonic() - began, 3))
        if self._uploader:
            self._uploader.offer(folder)
            spared = self._uploader.reading()
        orphans = checkpoints.sweep(self._folder, self._config.keep_checkpoints, self._config.keep_best, spared=spared)
        if orphans:
            self._tell(f"deleted, since no finished checkpoint needs them: {', '.join(orphans)}")


@contextmanager
def writing(task: StageTask, tell: Tell | None, first_step: int) -> Iterator[CheckpointWriter | None]:
    """A stage's writer on the worker that has a ``tell``, None on the others.

    At the end the last checkpoint is waited for, on disk and in the store; after an error on disk only.

    Args:
        first_step: that training begins with; if not 0, its checkpoint is uploaded if the store lacks it.
    """
    if tell is None:
        yield None
        return
    config, store = task.config.stage(task.stage), open_store(task)
    resumed_from = task.checkpoints / checkpoints.name_of(first_step) if first_step else None
    uploader = CheckpointUploader(store, config, tell, resumed_from) if store else None
    writer = CheckpointWriter(task.checkpoints, config, tell, uploader)
    try:
        yield writer
    finally:
        writer.close()
    writer.finish()
