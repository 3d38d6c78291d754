"""Ends a process without warning, with all that it started."""

import signal
import subprocess
from typing import Any

import psutil


def kill(process: "subprocess.Popen[Any]") -> bool:
    """SIGKILL, and wait until nothing that the process started is alive; whether it was still at work."""
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.kill()
    was_at_work = process.wait() == -signal.SIGKILL
    _, alive = psutil.wait_procs(family, timeout=20)  # Ray's processes end with their driver
    for member in alive:
        member.kill()
    psutil.wait_procs(alive)
    return was_at_work
