"""A folder that a command writes: its own things or none in it, one process at a time, and nothing half left over."""

import fcntl
import logging
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

from protein2text.errors import ConfigError

logger = logging.getLogger(__name__)

LOCK = ".lock"
REPORT = "report.html"
"""What `data report` writes into any folder of data."""


def refuse_strangers(folder: Path, own: Collection[str], made: str) -> None:
    """Leave a folder alone that holds anything but what the command itself writes there.

    Args:
        folder: may be absent.
        own: names that belong there; files on their way to one, ``NAME.tmp``, and a report do too.
        made: what the command makes, for the message.

    Raises:
        ConfigError: something else lies there.
    """
    names = [item.name for item in folder.iterdir()] if folder.is_dir() else []
    if strangers := [name for name in names if name.removesuffix(".tmp") not in {*own, REPORT}]:
        raise ConfigError(str(folder), "output", f"holds {min(strangers)!r}, no {made}; choose an empty folder")


def hold(folder: Path) -> BinaryIO:
    """An open file that keeps a second process from writing to a folder; closing it, or dying, lets go.

    Raises:
        ConfigError: another process holds it.
    """
    lock: BinaryIO = (folder / LOCK).open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        message = "another process is writing to it; wait for it, or name another folder"
        raise ConfigError(str(folder), "output", message) from None
    return lock


def remove_half(folder: Path, kinds: Collection[str]) -> None:
    """Remove the shards that a killed run left in its subfolders."""
    half = [path for kind in kinds for path in (folder / kind).glob("part-*.parquet*")]
    for path in half:
        path.unlink()
    if half:
        logger.warning("%s: removed %d shards of a run that did not finish", folder, len(half))
