"""The memory of a process and of all that it starts."""

import json
import subprocess
import threading
import time
from typing import Any

import psutil

SAMPLED_EVERY_S = 0.1


class Sampler(threading.Thread):
    """Watches a process and all that it starts; ``peak`` is the most resident memory they held together, in bytes."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.process, self.peak = psutil.Process(pid), 0

    def run(self) -> None:
        """Sample until the process is gone."""
        try:
            while self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE:
                total = 0
                for each in (self.process, *self.process.children(recursive=True)):
                    try:
                        total += each.memory_info().rss
                    except psutil.NoSuchProcess:
                        continue
                self.peak = max(self.peak, total)
                time.sleep(SAMPLED_EVERY_S)
        except psutil.NoSuchProcess:
            return


def told_and_peak(command: list[str]) -> tuple[dict[str, Any], int]:
    """What a program told in the last line that it printed, as JSON, and the most memory of it and its children.

    Raises:
        SystemExit: it failed.
    """
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        sampler = Sampler(process.pid)
        sampler.start()
        output, _ = process.communicate()
        sampler.join()
    if process.returncode:
        raise SystemExit(process.returncode)
    return json.loads(output.splitlines()[-1]), sampler.peak
