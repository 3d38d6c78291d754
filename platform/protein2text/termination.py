"""How a signal ends a command: SIGTERM, as service managers and schedulers send it, as Ctrl-C does, block by block."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_terminated = threading.Event()
"""SIGTERM came."""

EXIT_INTERRUPTED, EXIT_TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
"""Exit codes as shells tell of these signals."""


def leave_on_termination() -> None:
    """Raise ``SystemExit(SIGTERM)`` in the main thread. To be called again after each start of Ray, which else prints a
    stack and aborts; while it starts, Ray itself raises that."""
    if threading.current_thread() is threading.main_thread():
        _terminated.clear()
        signal.signal(signal.SIGTERM, _leave)


def _leave(number: int, _: FrameType | None) -> None:
    _terminated.set()
    sys.exit(number)


def is_termination(error: BaseException) -> bool:
    """Whether SIGTERM raised this.

    Ray raises ``SystemExit`` for other reasons too, and with a code of its own where it comes while Ray waits.
    """
    by_signal = _terminated.is_set() and isinstance(error, KeyboardInterrupt | SystemExit)
    return by_signal or (isinstance(error, SystemExit) and error.code == signal.SIGTERM)


def is_interruption(error: BaseException) -> bool:
    """Whether Ctrl-C or SIGTERM raised this."""
    return isinstance(error, KeyboardInterrupt) or is_termination(error)


@contextmanager
def no_signal_lost() -> Iterator[None]:
    """At the end of the block, raise what Ctrl-C or SIGTERM raised in it, if it went on all the same.

    Code in C forgets what a signal's handler raises: torch, while it imports numpy, goes on without it.
    """
    came: list[int] = []
    handlers: dict[int, Callable[[int, FrameType | None], object]] = {}

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        handlers[number](number, frame)

    if threading.current_thread() is threading.main_thread():  # no other may
        for number in (signal.SIGINT, signal.SIGTERM):
            if callable(handler := signal.getsignal(number)):
                handlers[number] = handler
                signal.signal(number, note)
    try:
        yield
    finally:
        for noted, handler in handlers.items():
            signal.signal(noted, handler)
    if came:
        handlers[came[0]](came[0], None)
