"""How a Ray ends that this process started or connected to: whole, also when it is interrupted at its start or work.

Ray 2.60 ends the process, or crashes it, when a thread of Ray Data still uses a Ray that has ended; and processes that
its raylet starts while it is being ended outlive it.
"""

import ctypes
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import ray

_THREADS = ("StreamingExecutor", "Prefetcher")
"""Names of Ray Data's threads begin so."""
_THREAD_S = 1.0
"""How long one may take to end; its loop looks up ten times a second, and one that is parked uses nothing."""
_REAP_S = 5.0
_SET_CHILD_SUBREAPER = 36
"""Of prctl(2)."""


@contextmanager
def ray_ended() -> Iterator[None]:
    """At the end of the block, end what Ray Data still runs, and then Ray."""
    try:
        yield
    except BaseException as error:
        inner: BaseException | None = error
        while inner is not None:  # frames hold iterators of datasets, which run until nobody does
            traceback.clear_frames(inner.__traceback__)
            inner = inner.__context__
        for thread in threading.enumerate():
            if thread.name.startswith(_THREADS):
                thread.join(_THREAD_S)
        raise
    finally:
        ray.shutdown()


@contextmanager
def no_process_left() -> Iterator[None]:
    """At the end of the block, end every process that was started in it, by whomever below this one."""
    this = psutil.Process()
    others = set(this.children(recursive=True))
    _adopt_orphans(True)
    try:
        yield
    finally:
        started = set(this.children(recursive=True)) - others
        for process in started:
            process.kill()
        psutil.wait_procs(started, timeout=_REAP_S)
        _adopt_orphans(False)


def _adopt_orphans(wanted: bool) -> None:
    """Let processes below this one become its children when their parent ends; other systems than Linux lose them."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0)
