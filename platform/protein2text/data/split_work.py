"""A split on its way: which stage is at work and how long each took, and what a killed split can be spared."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from protein2text.data.records import write_json

STAGES = ("read", "cluster", "search", "measure")

Progress = Callable[[dict[str, Any]], None]
"""Called at the start of each stage: ``{"stage": "split", "step": int, "num_steps": int, "message": str}``."""


class SplitWork:
    """Times the stages and keeps the long ones' tables in ``work/`` until the split is written."""

    def __init__(self, folder: Path, inputs: dict[str, Any], progress: Progress | None) -> None:
        self.seconds: dict[str, float] = {}
        self._folder, self._progress = folder / "work", progress
        told = self._folder / "inputs.json"
        inputs = json.loads(json.dumps(inputs))
        if not told.is_file() or json.loads(told.read_text(encoding="utf-8")) != inputs:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True)
            write_json(inputs, told)
        for scratch in self._folder.glob("mmseqs-*"):  # of a killed split
            shutil.rmtree(scratch, ignore_errors=True)

    @contextmanager
    def stage(self, name: str, message: str) -> Iterator[None]:
        """Time a stage of ``STAGES`` and tell of it."""
        if self._progress is not None:
            self._progress({"stage": "split", "step": STAGES.index(name), "num_steps": len(STAGES), "message": message})
        started = time.monotonic()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - started, 3)

    def kept(self, name: str, make: Callable[[Path], None]) -> Path:
        """A table of this split: the one that a killed split of the same inputs left, or else made now."""
        path = self._folder / name
        if not path.is_file():
            make(path)
        return path

    def clear(self) -> None:
        """Remove the tables."""
        shutil.rmtree(self._folder, ignore_errors=True)
