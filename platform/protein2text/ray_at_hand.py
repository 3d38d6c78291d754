"""Whether there is a Ray to work on, told without Ray's import, which takes most of a second."""

import os
import sys


def ray_at_hand() -> bool:
    """Whether this process is connected to a Ray, or RAY_ADDRESS names one; else a job starts its own, for seconds."""
    ray = sys.modules.get("ray")
    return (ray is not None and bool(ray.is_initialized())) or os.environ.get("RAY_ADDRESS", "") not in ("", "local")
