"""What a generator wrote, kept as it comes: shards that are whole or not there, and a header that names their origin.

``generated/`` holds one row per passage that is done with: its text, or why there can be none. ``failed/`` holds what
may succeed another time. Rows that a kill loses are written again; a passage never has two.
"""

import json
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self, TypedDict

import pyarrow as pa

from protein2text.data.output_folder import LOCK, hold
from protein2text.data.records import open_shard, read_card, write_json, write_shard
from protein2text.errors import ConfigError, ResumeMismatch

GENERATED_VERSION = 1
GENERATED_SCHEMA = pa.schema(
    [
        ("passage_id", pa.string()),
        ("text", pa.string()),
        ("finish", pa.string()),
        ("reason", pa.string()),
        ("message", pa.string()),
        ("generator", pa.string()),
        ("prompt_version", pa.int32()),
        ("decoding", pa.string()),
        ("seed", pa.int64()),
    ],
    metadata={"protein2text.generated_version": str(GENERATED_VERSION)},
)
HEADER = "generation.json"
KINDS = ("generated", "failed")
MAX_WAITING_ROWS = 4096
"""Rows after which a shard is written whatever the time."""
MIN_INTERVAL_S, LOST_SHARE = 5.0, 0.01
"""A shard is written after so many seconds, or this share of the time the run has taken, whichever is longer: a kill
costs at most that, and the number of shards grows with the logarithm of the time."""


class GeneratedRow(TypedDict):
    """One row; the fields of ``GENERATED_SCHEMA``."""

    passage_id: str
    text: str | None
    """What the generator wrote, as it came; None where it wrote nothing."""
    finish: str | None
    reason: str | None
    message: str | None
    generator: str
    """JSON: engine, model, revision, dtype."""
    prompt_version: int
    decoding: str
    """JSON: max_new_tokens, temperature, top_p."""
    seed: int
    """Of this passage."""


class GeneratedFolder:
    """The texts of one run, opened for more rows by one process at a time.

    Args:
        folder: the corpus folder that they become a part of.
        min_interval_s: seconds between two shards, at least.

    Raises:
        ConfigError: another process writes to it, or it holds something else.
        CorruptCheckpoint: a shard that cannot be read.
    """

    def __init__(self, folder: Path, *, min_interval_s: float = MIN_INTERVAL_S) -> None:
        self.folder, self._min_interval_s = folder, min_interval_s
        folder.mkdir(parents=True, exist_ok=True)
        self._require_ours()
        self._lock = hold(folder)
        for kind in KINDS:
            for half in (folder / kind).glob("*.tmp"):
                half.unlink()
        self._waiting: dict[str, list[GeneratedRow]] = {kind: [] for kind in KINDS}
        self._started, self._written = time.monotonic(), -math.inf  # the first rows are written at once

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()
        self._lock.close()

    @property
    def header(self) -> dict[str, Any] | None:
        """What the texts were made with; None before the first."""
        path = self.folder / HEADER
        return read_card(path) if path.is_file() else None

    def begin(self, header: dict[str, Any]) -> None:
        """Keep what the texts are made with, or hold it against what was kept.

        Raises:
            ResumeMismatch: another literature, generator, prompt or decoding, named by its key.
        """
        header = {"version": GENERATED_VERSION, **header}
        if self.header is None:
            write_json(header, self.folder / HEADER)
        self.require(header)

    def require(self, part: dict[str, Any]) -> None:
        """Hold some of the header's keys against it.

        Raises:
            ResumeMismatch: a value differs.
        """
        saved = self.header or {}
        for key, value in part.items():
            if saved.get(key) != value:
                raise ResumeMismatch(str(self.folder), key, json.dumps(saved.get(key)), json.dumps(value))

    def shards(self, kind: str) -> list[Path]:
        """Paths of the shards of ``generated`` or ``failed``, in order."""
        return sorted((self.folder / kind).glob("part-*.parquet"))

    def groups(self, kind: str) -> Iterable[tuple[Path, int, list[str]]]:
        """Row groups of the shards of a kind: path, number and the ids of their passages.

        Raises:
            CorruptCheckpoint: a shard that cannot be read.
        """
        for path in self.shards(kind):
            with open_shard(path, "Remove this shard; the same command generates its passages again.") as shard:
                for number in range(shard.num_row_groups):
                    yield path, number, shard.read_row_group(number, columns=["passage_id"])[0].to_pylist()

    def ids(self, kind: str) -> set[str]:
        """Ids of the passages that are done, or that failed."""
        return {passage_id for _, _, ids in self.groups(kind) for passage_id in ids}

    def reopen(self) -> None:
        """Get ready for more texts: the card of those so far goes, and failed passages become pending ones."""
        (self.folder / "card.json").unlink(missing_ok=True)
        for path in self.shards("failed"):
            path.unlink()

    def add(self, rows: Iterable[GeneratedRow], *, failed: Iterable[GeneratedRow] = ()) -> None:
        """Take rows, and write a shard when it is time."""
        self._waiting["generated"] += rows
        self._waiting["failed"] += failed
        now = time.monotonic()
        due = max(self._min_interval_s, LOST_SHARE * (now - self._started))
        if now - self._written >= due or any(len(rows) >= MAX_WAITING_ROWS for rows in self._waiting.values()):
            self.flush()

    def flush(self) -> None:
        """Write what is waiting."""
        for kind, rows in self._waiting.items():
            if rows:
                shards = self.shards(kind)
                number = int(shards[-1].stem.removeprefix("part-")) + 1 if shards else 0
                table = pa.Table.from_pylist(rows, schema=GENERATED_SCHEMA)
                write_shard(table, self.folder / kind / f"part-{number:05d}.parquet")
                self._waiting[kind] = []
        self._written = time.monotonic()

    def _require_ours(self) -> None:
        """Leave a folder alone that holds anything but a run of this kind."""
        strangers = [path.name for path in self.folder.iterdir() if path.name != LOCK and path.suffix != ".tmp"]
        if strangers and not (self.folder / HEADER).is_file():
            message = f"holds {min(strangers)!r} and no {HEADER}; choose an empty folder"
            raise ConfigError(str(self.folder), "output", message)
