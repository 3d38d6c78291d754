"""What a person sees while a stage trains: a live picture on a terminal, plain lines elsewhere, always on stderr."""

import statistics
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from protein2text.cli_display import PLAIN_INTERVAL_S, OnEvent, StageDisplay, quiet_libraries
from protein2text.train.events import Event, metrics_of

NUM_DECISIONS = 4
"""Newest ones shown."""
STEPS_OF_ETA = 50
"""What is left is estimated from the median of so many steps, which a checkpoint or a restart does not move."""
SPARK_WIDTH = 40
_SPARKS = "▁▂▃▄▅▆▇█"


class TrainingView:
    """A stage as its events tell of it; drawn anew several times a second, from another thread than they come from."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._losses: list[float] = []
        self._seconds: deque[float] = deque(maxlen=STEPS_OF_ETA)
        self._decisions: deque[Event] = deque(maxlen=NUM_DECISIONS)
        self._step: Event = {}
        self._validation: Event = {}
        self._checkpoint: Event = {}
        self._num_starts = 0

    def take(self, event: Event) -> None:
        """Hear one event."""
        with self._lock:
            if "loss" in event:
                self._step = event
                self._losses.append(event["loss"])
                self._seconds.append(event["seconds"])
            if "validation" in event:
                self._validation = event
            if "checkpoint" in event:
                self._checkpoint = event
            if "resumed_from" in event:
                self._checkpoint = {"checkpoint": event["resumed_from"], "time": event["written"]}
            if "message" in event:
                self._decisions.append(event)
                self._num_starts += "num_workers" in event

    def line(self) -> str:
        """All of it in one line."""
        with self._lock:
            if not self._step:
                return str(self._decisions[-1]["message"]) if self._decisions else "preparing"
            parts = [self._progress(), self._quality(), *self._speed(), f"{self._left()} left"]
            return ", ".join(parts)

    def __rich__(self) -> RenderableType:
        with self._lock:
            rows: list[RenderableType] = [self._head()]
            if self._step:
                rows.append(
                    Text.assemble(("  loss  ", "dim"), sparkline(self._losses, SPARK_WIDTH), f"  {self._quality()}")
                )
                rows.append(Text.assemble(("  speed ", "dim"), " · ".join(self._speed())))
            rows.append(Text.assemble(("  state ", "dim"), " · ".join(self._state())))
            for event in self._decisions:
                clock = datetime.fromtimestamp(event["time"]).strftime("%H:%M:%S")
                style = "yellow" if event.get("level") == "warning" else ""
                rows.append(Text.assemble((f"  {clock}  ", "dim"), (str(event["message"]), style)))
            return Group(*rows)

    def _head(self) -> Table:
        done, num_steps = self._step.get("step", 0), self._step.get("num_steps")
        head = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=num_steps, completed=done, width=SPARK_WIDTH, pulse=num_steps is None)
        elapsed = _clock(time.monotonic() - self._began)
        times = f"{elapsed} elapsed, {self._left()} left" if num_steps else f"{elapsed} elapsed"
        head.add_row(Text(self.stage, style="bold"), bar, self._progress() if num_steps else "", times)
        return head

    def _progress(self) -> str:
        done, num_steps = self._step["step"], self._step["num_steps"]
        return f"{done}/{num_steps} ({done / num_steps:.0%})"

    def _left(self) -> str:
        return _clock(statistics.median(self._seconds) * (self._step["num_steps"] - self._step["step"]))

    def _quality(self) -> str:
        step = self._step
        return (
            f"loss {step['loss']:.4g}, gradient norm {step['grad_norm']:.3g}, learning rate {step['learning_rate']:.3g}"
        )

    def _speed(self) -> list[str]:
        numbers = metrics_of(self._step)
        utilization = f"{numbers['mfu']:.1%}" if "mfu" in numbers else "not measured"
        parts = [f"{numbers['tokens_per_s']:,.0f} positions/s", f"{numbers['residues_per_s']:,.0f} residues/s"]
        parts.append(f"MFU {utilization}")
        if "data_wait_share" in numbers:
            parts.append(f"waiting for data {numbers['data_wait_share']:.1%}")
        if "peak_memory_bytes" in numbers:
            parts.append(f"memory {numbers['peak_memory_bytes'] / 2**30:.1f} GiB")
        return parts

    def _state(self) -> list[str]:
        parts = ["no checkpoint yet"]
        if self._checkpoint:
            age = _clock(time.time() - self._checkpoint["time"])
            parts = [f"{self._checkpoint['checkpoint']} is {age} old"]
        parts.append(f"{max(0, self._num_starts - 1)} restarts")
        if losses := self._validation.get("validation"):
            known = [f"{name.removeprefix('loss_')} {losses[name]:.4g}" for name in losses if name.startswith("loss_")]
            parts.append(f"validation {losses['loss']:.4g}" + (f" ({', '.join(known)})" if known else ""))
        return parts


@contextmanager
def training_at_work(stage: str, console: Console) -> Iterator[tuple[StageDisplay, OnEvent]]:
    """Show a stage while its block trains it; yields its row, for a closing note, and the callback for its events."""
    view, row = TrainingView(stage), StageDisplay(stage)
    live = console.is_terminal

    def say(text: str) -> None:
        if not live:
            console.print(f"{stage}  {text}", markup=False, highlight=False, soft_wrap=True)

    def hear(event: dict[str, Any]) -> None:
        view.take(event)
        if "message" in event:
            say(str(event["message"]))
        elif "loss" in event and time.monotonic() - row.last_plain >= PLAIN_INTERVAL_S:
            row.last_plain = time.monotonic()
            say(view.line())

    say("started")
    with quiet_libraries(), Live(view, console=console, refresh_per_second=4) if live else nullcontext():
        yield row, hear
    say(f"done in {time.monotonic() - row.started:.0f} s" + (f": {row.note}" if row.note else ""))


def sparkline(values: Sequence[float], width: int) -> str:
    """Values as blocks of eight heights, the smallest and the largest of those shown at the ends of the scale.

    Args:
        values: any number; more than ``width`` are shown as means of neighbours.
        width: most letters.
    """
    size = max(1, -(-len(values) // width))
    means = [statistics.fmean(values[begin : begin + size]) for begin in range(0, len(values), size)]
    low, high = min(means, default=0.0), max(means, default=0.0)
    scale = (len(_SPARKS) - 1) / (high - low) if high > low else 0.0
    return "".join(_SPARKS[round((mean - low) * scale)] for mean in means)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(max(0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
