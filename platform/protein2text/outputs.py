"""What every command that writes shares: its output lies on a disk, and a disk that takes no more is named."""

import errno
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from protein2text.errors import ConfigError, DiskFull, ResourcesUnavailable, chain

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PAGE_BYTES = 4096
"""With less than that free nothing can be written; a program that failed then failed of it."""


def is_url(path: Path) -> bool:
    """Whether a path was made of ``s3://bucket/folder``, or of another URL."""
    return any(part.endswith(":") for part in path.parts)


def refuse_url(output: Path) -> None:
    """Refuse to write what would be a folder ``./s3:``.

    Raises:
        ConfigError: it is one.
    """
    if is_url(output):
        raise ConfigError(str(output), "output", "is a URL, and outputs are written to disks; name a place on one")


@contextmanager
def naming_a_full_disk(output: Path) -> Iterator[None]:
    """Tell a disk that takes no more from other failures to write a file or folder.

    Raises:
        DiskFull: no space, quota or file size is left, or MMseqs2 or torch failed where nothing is free.
    """
    try:
        yield
    except DiskFull:
        raise
    except Exception as error:  # Ray wraps what happens to its workers
        there = next(place for place in (output, *output.absolute().parents) if place.exists())
        free = shutil.disk_usage(there).free
        number, said = _refusal(error)
        says_no_more = isinstance(error, (ResourcesUnavailable, RuntimeError)) and free < _PAGE_BYTES
        if not number and not says_no_more:
            raise
        raise DiskFull(str(output), *_told(number, said, free)) from error


def _refusal(error: Exception) -> tuple[int, str]:
    """By which number the system refused to write, 0 if it did not, and the line that says so: workers and libraries in
    other languages pass on its words alone."""
    for inner in (*chain(error), *([error.__context__] if error.__context__ else ())):
        for line in reversed(str(inner).splitlines()):
            for number in _FULL:
                if os.strerror(number) in line:
                    return number, line.strip()
    return 0, str(error)


def _told(number: int, said: str, free_bytes: int) -> tuple[str, str, str]:
    """Problem, what was said of it, and remedy, as `DiskFull` takes them."""
    if number == errno.EFBIG:
        limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
        whose = "its disk has" if limit == resource.RLIM_INFINITY else f"`ulimit -f` sets, {limit} bytes"
        return f"a file reached the limit of file sizes that {whose}", said, "Raise it"
    if number == errno.EDQUOT:
        return "your quota on its disk is used up", said, "Free some of it, or have it raised"
    return "its disk is full", f"{free_bytes / 2**20:.1f} MiB are free; {said}", "Free some"
