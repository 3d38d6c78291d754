"""What is told while sources are read: at once which, and then how much of them."""

from collections.abc import Callable
from typing import Any

Progress = Callable[[dict[str, Any]], None]
"""Called with ``{"stage": str, "message": str}`` at the start, and later with counts: ``rows`` and what became of them.
There, ``step`` and ``num_steps`` are mebibytes of the sources, unless these are packed: nobody knows to how much they
unpack."""

MIB = 2**20


class ReadingProgress:
    """Tells of the sources of one stage, if anybody wants to know."""

    def __init__(self, stage: str, inputs: list[dict[str, Any]], progress: Progress | None) -> None:
        """Tell which sources they are: ``inputs`` is what `ingest.described` says of them."""
        self._stage, self._progress = stage, progress
        self._num_bytes = 0
        total = sum(item["bytes"] for item in inputs)
        self._total_mib = None if any(item["name"].endswith(".gz") for item in inputs) else round(total / MIB)
        which = inputs[0]["name"] if len(inputs) == 1 else f"{len(inputs)} files"
        self._tell({"message": f"reading {which}, {total / MIB:.1f} MiB"})

    def made(self, num_bytes: int, **counts: int) -> None:
        """Tell that so many bytes more were parsed, and what was made of all so far."""
        self._num_bytes += num_bytes
        mib = self._num_bytes // MIB
        event: dict[str, Any] = dict(counts)
        if mib and self._total_mib:
            event |= {"step": min(mib, self._total_mib), "num_steps": self._total_mib, "message": "MiB read"}
        elif mib:
            event["message"] = f"{mib} MiB unpacked"
        self._tell(event)

    def _tell(self, event: dict[str, Any]) -> None:
        if self._progress is not None:
            self._progress({"stage": self._stage, **event})
