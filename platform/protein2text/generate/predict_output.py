"""The answers' file, which survives a kill at any moment.

Rows are appended as answers come, each a whole line; at the end the file is rewritten in the input's order, at once. A
header beside it says what the rows were made with, and refuses other settings. Refused records have their own file.
"""

import fcntl
import json
import logging
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, Self

from protein2text.errors import ConfigError, ResumeMismatch
from protein2text.generate.predict_records import Rejection

logger = logging.getLogger(__name__)

VERSION = 1
SYNC_INTERVAL_S = 1.0
"""Rows reach the disk at least this often; a killed process loses none that it wrote, a machine without power may."""


class PredictionFile:
    """The output of one prediction, opened for more rows.

    Args:
        path: of the answers; the header lies beside it, with ``.run.json`` after the whole name.
        header: everything that the answers depend on.

    Raises:
        ConfigError: the file exists without a header, or another process writes to it.
        ResumeMismatch: it was begun with another input, model or decoding.
    """

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self.path, self.header_path = path, path.with_name(f"{path.name}.run.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._check_header({"version": VERSION, **header})
        self._file: BinaryIO = path.open("a+b")
        self._lock()
        self._places = self._repair()
        """Where the row of each input record begins and ends, in bytes."""
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._file:  # closed, even where its last rows find no space
            self._sync()

    @property
    def done(self) -> set[int]:
        """Numbers of the input's records that have their row."""
        return set(self._places)

    def append(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write rows, each with its record's number under ``entry``; what was written is kept if the process dies."""
        for row in rows:
            line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
            start = self._file.seek(0, os.SEEK_END)
            self._file.write(line)
            self._places[row["entry"]] = (start, start + len(line))
        self._file.flush()
        if time.monotonic() - self._synced > SYNC_INTERVAL_S:
            self._sync()

    def finish(self) -> None:
        """Put the rows into the input's order; the file is the old or the new one at any moment."""
        self._sync()
        part = self.path.with_name(f"{self.path.name}.part")
        with part.open("wb") as ordered:
            for entry in sorted(self._places):
                start, end = self._places[entry]
                self._file.seek(start)
                ordered.write(self._file.read(end - start))
            ordered.flush()
            os.fsync(ordered.fileno())
        os.replace(part, self.path)

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def _check_header(self, header: dict[str, Any]) -> None:
        if not self.header_path.is_file():
            if self.path.exists() and self.path.stat().st_size:
                message = f"it holds {self.path.stat().st_size} bytes but no header {self.header_path.name} beside it"
                raise ConfigError(str(self.path), "output", f"{message}; name another file, or remove it")
            _write_whole(self.header_path, json.dumps(header, indent=2, ensure_ascii=False))
            return
        saved = json.loads(self.header_path.read_text(encoding="utf-8"))
        for key in sorted(saved.keys() | header.keys()):
            if saved.get(key) != header.get(key):
                raise ResumeMismatch(str(self.path), key, json.dumps(saved.get(key)), json.dumps(header.get(key)))

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            message = "another process is writing to it; wait for it, or name another file"
            raise ConfigError(str(self.path), "output", message) from None

    def _repair(self) -> dict[int, tuple[int, int]]:
        """Where each row lies; the file is cut before the first line that is not a whole row."""
        places: dict[int, tuple[int, int]] = {}
        self._file.seek(0)
        end = 0
        for line in self._file:
            entry = _entry_of(line)
            if entry is None:
                break
            places[entry] = (end, end + len(line))
            end += len(line)
        surplus = self._file.seek(0, os.SEEK_END) - end
        if surplus:
            logger.warning("%s: dropped %d bytes after the last whole row; it is answered again", self.path, surplus)
            self._file.truncate(end)
        return places


def _entry_of(line: bytes) -> int | None:
    """The record number of a whole row, None for anything else."""
    if not line.endswith(b"\n"):
        return None
    try:
        return int(json.loads(line)["entry"])
    except (ValueError, KeyError, TypeError):
        return None


def write_rejections(path: Path, rejections: Sequence[Rejection]) -> None:
    """Write one JSON line per refused record, or remove the file where nothing was refused."""
    if rejections:
        _write_whole(path, "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rejections))
    else:
        path.unlink(missing_ok=True)


def _write_whole(path: Path, text: str) -> None:
    """Write a file that is either whole or not there."""
    part = path.with_name(f"{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
