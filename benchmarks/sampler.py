"""The memory of a process and of all that it starts."""

import threading
import time

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
