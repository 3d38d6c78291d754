"""What a stage tells while it runs: one JSON line per step or decision, appended by worker 0, followed by the driver.

A file rather than an actor: it costs a worker microseconds, outlives every process, and gives the loss curve of a run
that was interrupted. After a restart some steps stand twice; the later line counts.
"""

import json
import logging
import math
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, Protocol

logger = logging.getLogger(__name__)

Event = dict[str, Any]
OnEvent = Callable[[Event], None]
"""Told of each event. All have ``stage`` and ``time``; by what else they have they are

loss        a step: ``step``, ``num_steps``, and numbers over all workers, see `metrics_of`
validation  losses of held-out records after ``step``
message     a decision with its reason; where workers begin, ``num_workers`` and, if they go on from a checkpoint, its
            name ``resumed_from`` and the time when it was ``written``
lineage     what a driver began with: data, weights, code
checkpoint  name of one that lies whole on disk since ``time``, and ``write_s``, the seconds for which training waited
"""

PLAIN_METRICS = (
    "loss", "learning_rate", "grad_norm", "tokens", "residues", "seconds", "mfu", "padding_ratio", "padding_avoided",
    "peak_memory_bytes",
)  # fmt: skip
"""Loss in nats per supervised token, tokens as decoder positions, wall seconds; the others as `step_numbers` says."""


STOPPED = "stopped: "
"""How a driver's last words begin when it ends early."""
INTERRUPTED = "interrupted; the same command goes on from the newest checkpoint"
END_OF_TIME = 253_402_300_800
"""Seconds since 1970 at the end of the year 9999, beyond which there is no date."""


class Tell(Protocol):
    """Writes one event: what was decided and why, if it was a decision, and values that go with it."""

    def __call__(self, message: str = "", **values: Any) -> None: ...


class EventWriter:
    """Appends events to a file, each at once, so that a killed worker loses at most the line it was writing."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        if path.is_file() and not path.read_bytes().endswith(b"\n"):
            self._append("\n")

    def write(self, event: Event) -> None:
        """Append an event, with the time if it has none."""
        self._append(json.dumps({"time": time.time(), **event}) + "\n")

    def _append(self, text: str) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(text)


def teller(writer: EventWriter, stage: str) -> Tell:
    """Writes decisions of a stage."""

    def tell(message: str = "", **values: Any) -> None:
        writer.write({"stage": stage} | ({"message": message} if message else {}) | values)

    return tell


def read_events(path: Path) -> list[Event]:
    """All whole events of a file, oldest first; none if there is no file. Of other lines the number is logged, once."""
    if not path.is_file():
        return []
    lines = path.read_bytes().splitlines()
    events = parsed(lines)
    if num_damaged := sum(bool(line.strip()) for line in lines) - len(events):
        _log_damaged(path, num_damaged)
    return events


@cache
def _log_damaged(path: Path, number: int) -> None:
    logger.warning("%s: lines that are no event, passed over: %d", path, number)


def read_steps(path: Path) -> list[Event]:
    """The steps of a run in order, each once: the later line of a step that was done twice."""
    return steps_of(read_events(path))


def steps_of(events: Iterable[Event]) -> list[Event]:
    """As `read_steps`, of events that were read already."""
    steps = {event["step"]: event for event in events if "loss" in event}
    return [steps[step] for step in sorted(steps)]


def metrics_of(event: Event) -> dict[str, float]:
    """The numbers of a step or validation by the names that MLflow, display and page use; none of another event.

    Rates are per second of wall time; ``data_wait_share`` is the part of that time in which a worker waited for rows.
    What was not measured is left out.
    """
    if "validation" in event:
        return {f"validation_{name}": value for name, value in event["validation"].items() if name.startswith("loss")}
    if "loss" not in event:
        return {}
    numbers: dict[str, float] = {name: event[name] for name in PLAIN_METRICS if event.get(name) is not None}
    if seconds := event["seconds"]:
        numbers |= {f"{name}_per_s": event[name] / seconds for name in ("tokens", "residues")}
        if "data_wait_s" in event:
            numbers["data_wait_share"] = event["data_wait_s"] / seconds
    return numbers


def parsed(lines: Iterable[bytes]) -> list[Event]:
    """Events of whole lines; a line that was damaged, or cut off when its writer was killed, is passed over."""
    events = []
    for line in lines:
        try:
            event = json.loads(line.decode())
        except (ValueError, RecursionError):
            continue
        if _is_event(event):
            events.append(event)
    return events


def _is_event(found: Any) -> bool:
    """Whether it has what its readers rely on. Losses and gradient norms may be NaN: training can diverge."""
    if not isinstance(found, dict) or not isinstance(found.get("stage"), str):
        return False
    if not _is_number(when := found.get("time", 0)) or not 0 <= when < END_OF_TIME:
        return False
    if "message" in found and not isinstance(found["message"], str):
        return False
    if "lineage" in found:
        return all(isinstance(found.get(name), dict) for name in ("lineage", "config", "tracking"))
    if "validation" in found:
        losses = found["validation"]
        return _is_count(found.get("step")) and isinstance(losses, dict) and "loss" in losses and _are_numbers(losses)
    if "loss" in found:
        counts: list[Any] = [found.get(name) for name in ("tokens", "residues", "seconds")]
        numbers = {name: found.get(name) for name in (*PLAIN_METRICS, "data_wait_s")}
        return (
            all(_is_count(found.get(name)) for name in ("step", "num_steps"))
            and all(_is_number(count) and math.isfinite(count) and count >= 0 for count in counts)
            and _is_number(found["loss"])
            and _are_numbers(numbers)
            and ("data_wait_s" not in found or found["data_wait_s"] is not None)
        )
    return True


def _are_numbers(values: Event) -> bool:
    return all(value is None or _is_number(value) for value in values.values())


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _is_number(value: Any) -> bool:
    """A float, or an integer that fits one; a truth value is none."""
    return type(value) is float or (type(value) is int and abs(value) < 2**63)
