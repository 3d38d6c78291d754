"""How much memory this process has needed, how it keeps what it needs again, and when nobody looks for garbage in it;
loads neither torch nor ray."""

import ctypes
import gc
import platform
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

KEPT_BYTES = 64 * 2**20
"""What glibc keeps of freed memory at most, and the size from which on it asks the system for each block anew."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of mallopt(3)."""
_STATUS = Path("/proc/self/status")


def peak_bytes() -> int:
    """Most resident memory of this program so far.

    ``ru_maxrss`` is no substitute on Linux: a process is born with the peak of the one that started it.
    """
    if not _STATUS.exists():
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return int(_STATUS.read_text().partition("VmHWM:")[2].split()[0]) * 1024


@cache
def keep_freed_memory() -> None:
    """Have this process, from now on, keep memory that it frees, Arrow's too, where it runs on glibc.

    For work that takes and frees as much again and again: each time, the system would clear every page before it gives
    it, which was a sixth of the time of parsing.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    import pyarrow as pa

    libc = ctypes.CDLL(None)
    libc.mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
    libc.mallopt(_M_MMAP_THRESHOLD, KEPT_BYTES)
    pa.set_memory_pool(pa.system_memory_pool())


@contextmanager
def without_collector() -> Iterator[None]:
    """No garbage collection in the block: for many objects without cycles, which it would walk again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
