"""Writes a stage's checkpoints behind the training loop, on worker 0: the loop only gathers the state."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from protein2text.train import checkpoints
from protein2text.train.checkpoints import State
from protein2text.train.stage_config import StageConfig

Tell = Callable[[str], None]
"""Writes one event with this message."""


class CheckpointWriter:
    """One background writer, with one checkpoint in flight, so that at most one gathered state waits in memory.

    Training's threads may read from the state that they hand over, but not change it.
    """

    def __init__(self, folder: Path, config: StageConfig, tell: Tell) -> None:
        self._folder, self._config, self._tell = folder, config, tell
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

    def _write(self, step: int, state: State, trainer: Mapping[str, Any]) -> None:
        checkpoints.save(self._folder, step, state, trainer)
        orphans = checkpoints.sweep(self._folder, self._config.keep_checkpoints, self._config.keep_best)
        if orphans:
            self._tell(f"deleted, since no finished checkpoint needs them: {', '.join(orphans)}")


@contextmanager
def writing(folder: Path, config: StageConfig, tell: Tell | None) -> Iterator[CheckpointWriter | None]:
    """A stage's writer on the worker that has a ``tell``, None on the others; the last checkpoint is waited for."""
    writer = CheckpointWriter(folder, config, tell) if tell else None
    try:
        yield writer
    finally:
        if writer:
            writer.close()
