"""Processes of this machine that parse pieces beside this one, each one piece at a time.

Not those of ``multiprocessing``: they run the main program's file again, are interrupted together with it, and outlive
it where it is killed. These end when the other end of their connection does, whatever ended it.
"""

import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from queue import SimpleQueue

import pyarrow as pa

from protein2text.errors import ServiceError

PIECES_EACH = 3
"""Pieces that wait or are parsed at a time, for each process: none is idle while this one writes a shard."""

Parse = Callable[[pa.Table], pa.Table]


def parsed(pieces: Iterator[pa.Table], parse: Parse, num_processes: int) -> Generator[pa.Table, None, None]:
    """What a step of parsing makes of pieces, in their order.

    Args:
        pieces: are taken as the processes need them.
        parse: a function of a module, or a ``partial`` of one.
        num_processes: that parse at a time.

    Raises:
        ServiceError: a process ended.
    """
    idle: SimpleQueue[_Process] = SimpleQueue()

    def one(piece: pa.Table) -> pa.Table:
        process = idle.get()
        try:
            return process.parsed(piece)
        finally:
            idle.put(process)

    with ThreadPoolExecutor(num_processes) as threads, ExitStack() as processes:
        for _ in range(num_processes):
            idle.put(processes.enter_context(_started(parse)))
        waiting: deque[Future[pa.Table]] = deque()
        for piece in pieces:
            waiting.append(threads.submit(one, piece))
            if len(waiting) > PIECES_EACH * num_processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class _Process:
    def __init__(self, process: subprocess.Popen[bytes], connection: Connection) -> None:
        self._process, self._connection = process, connection

    def parsed(self, piece: pa.Table) -> pa.Table:
        try:
            self._connection.send(piece)
            return self._connection.recv()
        except (EOFError, OSError):
            ended = f"it ended, with exit status {self._process.wait()}, before its work did"
            remedy = "Free some memory if the system killed it (-9), and give the same command again."
            raise ServiceError("a process that parses", ended, remedy) from None


@contextmanager
def _started(parse: Parse) -> Iterator[_Process]:
    ours, theirs = Pipe()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,
        )
    try:
        ours.send(parse)
        yield _Process(process, ours)
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """Parse whatever comes."""
    with Connection(int(sys.argv[1])) as connection, suppress(EOFError):
        parse = connection.recv()
        while True:
            connection.send(parse(connection.recv()))


if __name__ == "__main__":
    main()
