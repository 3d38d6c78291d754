"""The page of a stage's run, made from its folder alone: while it trains, after it, after its driver was killed."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from protein2text.data.report.sections import Section, facts_section, printable, shown
from protein2text.errors import MissingFile
from protein2text.models.checkpoints import MANIFEST
from protein2text.pages import figure_svg, render, write_page
from protein2text.train.curve import is_finite, loss_figure, panels_figure
from protein2text.train.events import INTERRUPTED, STOPPED, Event, metrics_of, read_events, steps_of
from protein2text.train.schedule import num_warmup_steps

EVENTS = "events.jsonl"
PAGE = "report.html"
TEMPLATE = Path(__file__).with_name("run_page.html.jinja")
MAX_DECISIONS = 300
"""Newest ones shown; the event file has all."""

NUMBERS = {
    "loss": ("loss, nats per supervised token", 1.0),
    "grad_norm": ("gradient norm", 1.0),
    "seconds": ("seconds a step", 1.0),
    "tokens_per_s": ("decoder positions per second", 1.0),
    "residues_per_s": ("residues per second", 1.0),
    "mfu": ("model FLOP utilization, %", 100.0),
    "data_wait_share": ("waiting for data, % of time", 100.0),
    "padding_ratio": ("fillers, % of the rows computed", 100.0),
    "padding_avoided": ("padding that packing avoided, % of a padded batch", 100.0),
    "peak_memory_bytes": ("peak memory of a worker, GiB", 2.0**-30),
}
"""What the table of numbers shows, its name, and what a number is multiplied by."""


@dataclass(frozen=True)
class Told:
    """A stage's events by kind."""

    events: Sequence[Event]

    @property
    def steps(self) -> list[Event]:
        return steps_of(self.events)

    @property
    def validations(self) -> list[Event]:
        """In order, the later line of a step that was validated twice."""
        found = {event["step"]: event for event in self.events if "validation" in event}
        return [found[step] for step in sorted(found)]

    @property
    def decisions(self) -> list[Event]:
        return [event for event in self.events if "message" in event]

    @property
    def beginnings(self) -> list[Event]:
        """What each driver began with, see `lineage`."""
        return [event for event in self.events if "lineage" in event]

    @property
    def num_repeated(self) -> int:
        """Steps done again after a restart."""
        return sum("loss" in event for event in self.events) - len(self.steps)

    @property
    def num_starts(self) -> int:
        """Times that workers began, the first included."""
        return sum("num_workers" in event for event in self.events)


def write_run_page(folder: str | Path) -> Path:
    """Write ``report.html`` into a stage's folder.

    Raises:
        MissingFile: nothing was ever trained in it.
    """
    folder = Path(folder)
    told = Told(read_events(folder / EVENTS))
    if not told.events:
        raise MissingFile(str(folder / EVENTS), "the events of a stage", "Name a run's folder, and train it first.")
    newest = told.beginnings[-1] if told.beginnings else {}
    config: dict[str, Any] = newest.get("config", {})
    stage = printable(told.events[-1].get("stage", folder.name))
    name = printable(config.get("name", folder.parent.name))
    done, num_steps = (told.steps[-1]["step"], told.steps[-1]["num_steps"]) if told.steps else (0, None)
    finished = done == num_steps and (folder / "model" / MANIFEST).is_file()
    page = render(
        TEMPLATE, name=name, stage=stage, finished=finished, notices=_notices(told), links=_links(folder, newest),
        state=_state(finished, done, num_steps), summary=_summary(told), sections=_sections(told, newest, stage),
    )  # fmt: skip
    write_page(page, folder / PAGE)
    return folder / PAGE


def _state(finished: bool, done: int, num_steps: int | None) -> str:
    if finished:
        return f"finished after {done} steps"
    return f"not finished: {done} of {num_steps} steps done" if num_steps else "not finished: no step done yet"


def _summary(told: Told) -> str:
    steps = told.steps
    if not steps:
        return ""
    last = [event["loss"] for event in steps[-20:]]
    seconds = sum(event["seconds"] for event in steps)
    parts = [
        f"loss {statistics.mean(last):.4f} over the last {len(last)} steps, {steps[0]['loss']:.4f} at first",
        f"{shown(sum(event['tokens'] for event in steps))} decoder positions and "
        f"{shown(sum(event['residues'] for event in steps))} residues in {duration(seconds)} of steps",
        f"{_counted(max(0, told.num_starts - 1), 'restart')}, {_counted(told.num_repeated, 'step')} done again",
    ]
    return "; ".join(parts) + "."


def _notices(told: Told) -> list[str]:
    """What a reader must know before the numbers: warnings, each once, and whether the code changed on the way.

    That a driver ended early is one only until workers begin again.
    """
    began = max(
        (place for place, event in enumerate(told.events) if "num_workers" in event or "loss" in event), default=0
    )
    warnings = [
        printable(event["message"])
        for place, event in enumerate(told.events)
        if event.get("level") == "warning"
        and "message" in event
        and not (place < began and event["message"].startswith((STOPPED, INTERRUPTED)))
    ]
    for name, what in {"loss": "loss", "grad_norm": "gradient norm"}.items():
        values = [event[name] for event in told.steps if event.get(name) is not None]
        if number := sum(not is_finite(value) for value in values):
            warnings.append(f"The {what} of {_counted(number, 'step')} is not a finite number, and is not drawn.")
    commits = dict.fromkeys(event["lineage"].get("code.commit") for event in told.beginnings)
    if len(commits) > 1:
        warnings.append(f"Trained by several commits of the code, one after the other: {', '.join(map(str, commits))}.")
    return list(dict.fromkeys(warnings))


def _links(folder: Path, newest: Event) -> list[tuple[str, str]]:
    files = {
        "model": "model/README.md", "loss curve": "loss.png", "events": EVENTS, "configuration": "../run.yaml",
        "evaluation": "../evaluation/report.html",
    }  # fmt: skip
    links = [(text, path) for text, path in files.items() if (folder / path).exists()]
    tracking = newest.get("tracking", {})
    if str(tracking.get("uri", "")).startswith(("http://", "https://")):
        address = f"{tracking['uri'].rstrip('/')}/#/experiments/{tracking['experiment_id']}/runs/{tracking['run_id']}"
        links.append(("MLflow run", address))
    return links


def _sections(told: Told, newest: Event, stage: str) -> list[Section]:
    config = newest.get("config", {})
    sections = []
    if steps := told.steps:
        warmup = num_warmup_steps(steps[-1]["num_steps"], config.get(stage, {}).get("warmup_ratio", 0.0))
        loss = loss_figure(steps, "", validations=told.validations, num_warmup=warmup)
        sections.append(Section("Loss", (), (), plot=figure_svg(loss)))
        sections.append(_numbers(steps))
        sections.append(Section("Step by step", (), (), plot=figure_svg(panels_figure(steps))))
    if told.validations:
        sections.append(_validations(told.validations))
    sections.append(_decisions(told))
    if newest:
        sections.append(facts_section("Lineage", newest["lineage"]))
        sections.append(facts_section("MLflow", newest["tracking"]))
        sections.append(facts_section("Configuration", config))
    return sections


def _numbers(steps: Sequence[Event]) -> Section:
    """Of the last step, of the middle one, and over the time of all."""
    measured = [metrics_of(event) for event in steps]
    rows: list[tuple[str, ...]] = []
    for name, (title, factor) in NUMBERS.items():
        found = [
            (metrics[name] * factor, event["seconds"])
            for event, metrics in zip(steps, measured, strict=True)
            if is_finite(metrics.get(name))
        ]
        if not found:
            rows.append(
                (title, "not finite" if any(name in metrics for metrics in measured) else "not measured", "", "")
            )
            continue
        values, seconds = zip(*found, strict=True)
        total = sum(seconds)
        weighted = sum(value * time for value, time in found) / total if total else None
        overall = {"seconds": total, "peak_memory_bytes": max(values), "loss": None, "grad_norm": None}
        whole = overall.get(name, weighted)
        rows.append(
            (
                title,
                *("" if value is None else _short(value) for value in (values[-1], statistics.median(values), whole)),
            )
        )
    note = (
        "The whole run's rates and shares are over the time of its steps; its seconds are their sum. "
        "Numbers that are not finite are left out."
    )
    return Section("In numbers", ("", "last step", "median step", "whole run"), tuple(rows), note=note)


def _validations(validations: Sequence[Event]) -> Section:
    names = list(dict.fromkeys(name for event in validations for name in event["validation"]))
    rows = tuple(
        (shown(event["step"]), *(shown(event["validation"].get(name)) for name in names)) for event in validations
    )
    note = "Held-out records with their own proteins, and under each control; a model that reads sets them apart."
    return Section("Validation", ("after step", *(name.replace("_", " ") for name in names)), rows, note=note)


def _decisions(told: Told) -> Section:
    rows = []
    step = 0
    for event in told.events:
        step = event["step"] if "loss" in event else step
        if "message" in event:
            rows.append((_clock(event.get("time")), shown(step), printable(event["message"])))
    note = f"The newest {MAX_DECISIONS} of {len(rows)}; {EVENTS} has all." if len(rows) > MAX_DECISIONS else ""
    return Section("Decisions", ("time, UTC", "after step", "what and why"), tuple(rows[-MAX_DECISIONS:]), note=note)


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _clock(seconds: float | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, for a person."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
