"""How much memory this process has needed; loads neither torch nor ray."""

import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_bytes() -> int:
    """Most resident memory of this program so far.

    ``ru_maxrss`` is no substitute on Linux: a process is born with the peak of the one that started it.
    """
    if not _STATUS.exists():
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return int(_STATUS.read_text().partition("VmHWM:")[2].split()[0]) * 1024
