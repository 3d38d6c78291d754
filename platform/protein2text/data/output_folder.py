"""A folder that a command writes: its own things or none in it, one process at a time, and nothing half left over."""

import fcntl
import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from protein2text.errors import ConfigError
from protein2text.outputs import naming_a_full_disk, refuse_url

logger = logging.getLogger(__name__)

LOCK = ".lock"
REPORT = "report.html"
"""What `data report` writes into any folder of data."""


def refuse_strangers(folder: Path, own: Collection[str], made: str) -> None:
    """Leave a folder alone that holds anything but what the command itself writes there.

    Args:
        folder: may be absent.
        own: names that belong there; files on their way to one, ``NAME.tmp``, a report and the lock do too.
        made: what the command makes, for the message.

    Raises:
        ConfigError: something else lies there, or the folder was named by a URL.
    """
    refuse_url(folder)
    names = [item.name for item in folder.iterdir()] if folder.is_dir() else []
    if strangers := [name for name in names if name.removesuffix(".tmp") not in {*own, REPORT, LOCK}]:
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


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold a folder, which is made where it is missing, against other processes, and name a full disk.

    Raises:
        ConfigError: another process holds it.
        DiskFull: no space, quota or file size is left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with naming_a_full_disk(folder), hold(folder):
        yield


def remove_half(folder: Path, kinds: Collection[str]) -> None:
    """Remove the shards that a killed run left in its subfolders."""
    half = [path for kind in kinds for path in (folder / kind).glob("part-*.parquet*")]
    for path in half:
        path.unlink()
    if half:
        logger.warning("%s: removed %d shards of a run that did not finish", folder, len(half))
