"""What a person sees while a command works: bars on a terminal, plain lines elsewhere, always on stderr."""

import io
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

logger = logging.getLogger(__name__)

OnEvent = Callable[[dict[str, Any]], None]
"""Takes a stage's events: any of ``step``, ``num_steps``, ``message`` and numbers; those in ``SHOWN`` are shown."""

PLAIN_INTERVAL_S = 10.0
"""Without a terminal, a stage prints at most one line in this time."""
SHOWN = ("loss", "rows", "records", "quarantined", "entries", "total")


@dataclass
class StageDisplay:
    """One stage's row; ``note`` becomes part of its closing line."""

    name: str
    started: float = field(default_factory=time.monotonic)
    note: str = ""
    last_plain: float = 0.0


class Display:
    """Rows of stages over one live display; stages that are known beforehand show as waiting."""

    def __init__(self, console: Console, stages: tuple[str, ...] = ()) -> None:
        self._console = console
        self._width = max((len(name) for name in stages), default=0)
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", table_column=Column()),  # it alone is folded where all is too wide
            console=console,
        )
        self._tasks = {name: self._add(name) for name in stages}

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._console.is_terminal:
            self._progress.stop()

    @contextmanager
    def stage(self, name: str) -> Iterator[tuple[StageDisplay, OnEvent]]:
        """Show a stage while its block runs; yields the row, for a closing note, and the callback for its events."""
        task = self._task(name)
        row = StageDisplay(name)
        self._progress.start_task(task)
        self._line(name, "started")
        yield row, lambda event: self._show(task, row, event)
        seconds = time.monotonic() - row.started
        self._finish(task, row.note)
        self._line(name, f"done in {seconds:.0f} s" + (f": {row.note}" if row.note else ""))

    def skip(self, name: str, reason: str) -> None:
        """Show that a stage has nothing to do."""
        task = self._task(name)
        self._progress.start_task(task)
        self._finish(task, reason)
        self._line(name, reason)

    def _add(self, name: str) -> TaskID:
        return self._progress.add_task(name, start=False, total=None, note="")

    def _task(self, name: str) -> TaskID:
        if name not in self._tasks:
            self._tasks[name] = self._add(name)
        return self._tasks[name]

    def _finish(self, task: TaskID, note: str) -> None:
        total = self._progress.tasks[self._progress.task_ids.index(task)].total or 1
        self._progress.update(task, total=total, completed=total, note=note)

    def _show(self, task: TaskID, row: StageDisplay, event: dict[str, Any]) -> None:
        numbers = {key: event[key] for key in SHOWN if event.get(key) is not None}
        words = [str(event["message"])] if event.get("message") else []
        words += [f"{key} {_short(value)}" for key, value in numbers.items()]
        note = ", ".join(words)
        step, num_steps = event.get("step"), event.get("num_steps")
        if not note and step is None:
            return
        self._progress.update(task, completed=step, total=num_steps, note=note)
        if time.monotonic() - row.last_plain >= PLAIN_INTERVAL_S:
            row.last_plain = time.monotonic()
            counted = f"{step}/{num_steps} " if num_steps else ""
            self._line(row.name, f"{counted}{note}".strip() or "working")

    def _line(self, name: str, text: str) -> None:
        if not self._console.is_terminal:
            self._console.print(f"{name:<{self._width}}  {text}", markup=False, highlight=False, soft_wrap=True)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def log_to(console: Console, *, verbose: bool) -> None:
    """Send log records of this process to stderr: ours from INFO when verbose, everybody's from WARNING."""
    handler = RichHandler(console=console, show_path=False, show_time=verbose, rich_tracebacks=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
    for name in ("protein2text", "protein2text_serve", "protein2text_kernels"):
        logging.getLogger(name).setLevel(logging.INFO if verbose else logging.WARNING)
    if not verbose:
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        os.environ.setdefault("TQDM_DISABLE", "1")


@contextmanager
def quiet_libraries(*, on_ray: bool = True) -> Iterator[None]:
    """Keep what libraries print off stdout, which is for results, and off the display, which it would tear.

    Prints become log records, shown when verbose. Ray's news are dropped unless verbose; its session folder has them.
    Work without Ray need not wait for its import.
    """
    with redirect_stdout(_Logged()):
        if on_ray:
            _quiet_ray()
        yield


class _Logged(io.TextIOBase):
    """A stream whose lines are log records."""

    def write(self, text: str) -> int:
        if text.strip():
            logger.info("%s", text.rstrip())
        return len(text)


def _quiet_ray() -> None:
    """Filter Ray's handlers rather than set levels: Ray sets those anew whenever it starts."""
    import ray.data
    import ray.serve  # noqa: F401  makes its handler

    if logger.isEnabledFor(logging.INFO):
        return
    for name in ("ray", "ray.data", "ray.serve"):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
                handler.addFilter(_errors_only)


def _errors_only(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR
