"""SIGTERM, as service managers and schedulers send it, ends a command as Ctrl-C does: block by block."""

import signal
import sys
import threading


def leave_on_termination() -> None:
    """Raise ``SystemExit(SIGTERM)`` in the main thread. To be called again after each start of Ray, which else prints a
    stack and aborts."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))
