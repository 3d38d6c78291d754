"""One driver at a time trains a stage, and one worker at a time writes into its folder.

A driver that was killed may leave workers behind for some seconds. The next driver starts at once, but its first worker
waits for theirs to be gone before it looks for a checkpoint, so that nothing of the dead run is written under the new
one. The locks are the kernel's (``flock``): they end with their process, however that ends. Between nodes they hold
where the shared file system passes them on, as NFS 4 does and Lustre does when mounted with ``flock``.
"""

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from protein2text.errors import RunInUse

DRIVER, WRITER = ".driver.lock", ".writer.lock"
POLL_INTERVAL_S = 0.1


@contextmanager
def hold(folder: Path, name: str, *, wait_s: float = 0) -> Iterator[None]:
    """Hold one of a stage's locks for the block.

    Args:
        folder: of the stage.
        name: ``DRIVER`` or ``WRITER``.
        wait_s: how long to wait for a holder to go.

    Raises:
        RunInUse: somebody holds it still; the error says who.
    """
    folder.mkdir(parents=True, exist_ok=True)
    give_up = time.monotonic() + wait_s
    with (folder / name).open("a+") as file:
        while not _taken(file.fileno()):
            if time.monotonic() >= give_up:
                file.seek(0)
                raise RunInUse(f"{folder.parent.name}/{folder.name}", str(folder / name), file.read())
            time.sleep(POLL_INTERVAL_S)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}")
        file.flush()
        yield


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
