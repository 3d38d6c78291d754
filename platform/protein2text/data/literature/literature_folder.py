"""A literature folder before and after a run: is it finished, whose is it, and was it altered."""

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from protein2text.data.literature.writer import KINDS, LITERATURE_VERSION
from protein2text.data.output_folder import refuse_strangers, remove_half, writing
from protein2text.data.records import read_card, row_bytes, write_json
from protein2text.errors import CorruptCheckpoint, ResumeMismatch

logger = logging.getLogger(__name__)

BEGUN = "begun.json"
"""Says what a folder is made of, before there is a card."""
DOWNLOAD = "download"
"""Folder of fetched articles and their metadata."""
SEARCHES = "searches.jsonl"
_OURS = {*KINDS, BEGUN, DOWNLOAD, SEARCHES, "card.json"}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder against a second process that would write to it; a killed one lets go.

    Raises:
        ConfigError: another process holds it, or it holds something else than literature.
        DiskFull: no space, quota or file size is left.
    """
    refuse_strangers(folder, _OURS, "literature")
    with writing(folder):
        yield


def finished(folder: Path, inputs: dict[str, Any]) -> dict[str, Any] | None:
    """The card of a finished folder of the same inputs; None where there is no card.

    Raises:
        ResumeMismatch: it was made of other inputs.
        CorruptCheckpoint: another version, or passages that differ from the card's checksum.
    """
    path = folder / "card.json"
    if not path.is_file():
        return None
    card = read_card(path)
    if card.get("version") != LITERATURE_VERSION:
        problem = f"version {card.get('version')} where this program reads {LITERATURE_VERSION}"
        raise CorruptCheckpoint(str(folder), "card.json", problem, "Remove the folder and retrieve again.")
    _require_same(folder, card["inputs"], inputs)
    if passages_checksum(folder, card["shards"]["passages"]) != card["checksum"]:
        raise CorruptCheckpoint(
            str(folder), "passages", "the shards differ from the card's checksum", "Remove the folder; retrieve again."
        )
    logger.info("%s holds the literature of these inputs already; nothing to do", folder)
    return card


def begun(folder: Path, inputs: dict[str, Any]) -> None:
    """Make a folder ready: what a killed run fetched stays, its shards go.

    Raises:
        ResumeMismatch: it was begun with other inputs.
    """
    path = folder / BEGUN
    if path.is_file():
        _require_same(folder, read_card(path), inputs)
    else:
        write_json(inputs, path)
    (folder / DOWNLOAD).mkdir(exist_ok=True)
    for part in (folder / DOWNLOAD).glob("*.tmp"):
        part.unlink()
    remove_half(folder, KINDS)


def passages_checksum(folder: Path, shards: list[str]) -> str | None:
    """SHA-256 of the passages, read from their shards; None where one cannot be read."""
    digest = hashlib.sha256()
    try:
        for name in shards:
            with pq.ParquetFile(folder / "passages" / name) as file:
                for batch in file.iter_batches():
                    for row in batch.to_pylist():
                        digest.update(row_bytes(row))
    except (pa.ArrowException, OSError):
        return None
    return digest.hexdigest()


def _require_same(folder: Path, saved: dict[str, Any], current: dict[str, Any]) -> None:
    for key, value in saved.items():
        if current.get(key) != value:
            raise ResumeMismatch(str(folder), key, json.dumps(value), json.dumps(current.get(key)))
