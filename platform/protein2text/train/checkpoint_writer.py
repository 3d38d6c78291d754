"""Writes a stage's checkpoints on worker 0 while the others wait; what goes to the store goes there behind the loop."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from protein2text.train import checkpoints
from protein2text.train.checkpoint_uploader import CheckpointUploader
from protein2text.train.checkpoints import State
from protein2text.train.events import Tell
from protein2text.train.stage_config import StageConfig


class CheckpointWriter:
    """Makes a checkpoint out of the gathered state, offers it to the uploader, if there is one, and sweeps."""

    def __init__(self, folder: Path, config: StageConfig, tell: Tell, uploader: CheckpointUploader | None) -> None:
        self._folder, self._config, self._tell, self._uploader = folder, config, tell, uploader

    def write(self, step: int, state: State, trainer: Mapping[str, Any]) -> None:
        """Return when the checkpoint lies on disk under its name: no later step is lost to a kill before that.

        Raises:
            OSError, SafetensorError: it could not be written.
        """
        began = time.monotonic()
        folder, spared = checkpoints.save(self._folder, step, state, trainer), []
        self._tell(checkpoint=folder.name, write_s=round(time.monotonic() - began, 3))
        if self._uploader:
            self._uploader.offer(folder)
            spared = self._uploader.reading()
        orphans = checkpoints.sweep(self._folder, self._config.keep_checkpoints, self._config.keep_best, spared=spared)
        if orphans:
            self._tell(f"deleted, since no finished checkpoint needs them: {', '.join(orphans)}")

    def finish(self) -> None:
        """Wait until the last checkpoint is in the store too, if there is one, or given up."""
        if self._uploader:
            self._uploader.finish()
