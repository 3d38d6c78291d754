"""What a stage tells while it runs: one JSON line per step or decision, appended by worker 0, followed by the driver.

A file rather than an actor: it costs a worker microseconds, outlives every process, and gives the loss curve of a run
that was interrupted. After a restart some steps stand twice; the later line counts.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Event = dict[str, Any]
OnEvent = Callable[[Event], None]
"""Told of each event: a step has ``stage``, ``step``, ``num_steps`` and numbers, a decision ``stage``, ``message``."""


class EventWriter:
    """Appends events to a file, each at once, so that a killed worker loses at most the line it was writing."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        if path.is_file() and not path.read_bytes().endswith(b"\n"):
            self._append("\n")

    def write(self, event: Event) -> None:
        self._append(json.dumps(event) + "\n")

    def _append(self, text: str) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(text)


def read_events(path: Path) -> list[Event]:
    """All whole events of a file, oldest first; none if there is no file."""
    return parsed(path.read_text().splitlines()) if path.is_file() else []


def read_steps(path: Path) -> list[Event]:
    """The steps of a run in order, each once: the later line of a step that was done twice."""
    steps = {event["step"]: event for event in read_events(path) if "loss" in event}
    return [steps[step] for step in sorted(steps)]


def parsed(lines: Iterable[str]) -> list[Event]:
    """Events of whole lines; a line cut off when its writer was killed is passed over."""
    events = []
    for line in lines:
        try:
            events.append(json.loads(line))
        except ValueError:
            continue
    return events
