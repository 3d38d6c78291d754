"""A stage's pictures: the loss curve, and what else a step tells, each over the optimizer steps."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from protein2text.train.events import Event, metrics_of

SMOOTHING = 0.95
MAX_POINTS = 600
"""Of a line; beyond it each point is the mean of as many neighbouring steps as are needed."""
_GREEN, _RED, _GRAY = "#0b6e4f", "#b5452c", "#8a8a8a"

CONTROLS = {
    "loss": ("held-out records", "o-", _RED),
    "loss_shuffled": ("the same, residues shuffled", "v--", _GRAY),
    "loss_swapped": ("the same, another protein", "s--", "#444444"),
}
"""Losses of a validation, and how they are drawn."""

PANELS = {
    "learning_rate": ("learning rate", 1.0),
    "grad_norm": ("gradient norm", 1.0),
    "tokens_per_s": ("decoder positions per second", 1.0),
    "residues_per_s": ("residues per second", 1.0),
    "mfu": ("model FLOP utilization, %", 100.0),
    "data_wait_share": ("waiting for data, % of time", 100.0),
    "peak_memory_bytes": ("peak memory, GiB", 2.0**-30),
}
"""What a panel draws, its title, and what a number is multiplied by."""


def draw_loss_curve(
    steps: Sequence[Event], path: Path, title: str, *, validations: Sequence[Event] = (), num_warmup: int = 0
) -> None:
    """Write the picture of `loss_figure`."""
    loss_figure(steps, title, validations=validations, num_warmup=num_warmup).savefig(path, dpi=120)


def loss_figure(
    steps: Sequence[Event], title: str, *, validations: Sequence[Event] = (), num_warmup: int = 0
) -> Figure:
    """Loss per step in nats per supervised token, raw and as an exponential mean; the losses of held-out records.

    Args:
        steps: in order, at least one.
        title: any text; it is drawn as it stands.
        validations: events with the losses under the true proteins and under each control.
        num_warmup: steps in which the learning rate rises, shaded.

    Only finite numbers are drawn.
    """
    figure = Figure(figsize=(11, 5), layout="constrained")
    axes = figure.subplots()
    if num_warmup:
        axes.axvspan(0, num_warmup, color=_GRAY, alpha=0.12, linewidth=0, label="warm-up")
    if finite := [event for event in steps if math.isfinite(event["loss"])]:
        _draw_losses(axes, finite)
    for name, (label, style, color) in CONTROLS.items():
        drawn = [
            (event["step"], event["validation"][name])
            for event in validations
            if is_finite(event["validation"].get(name))
        ]
        if drawn:
            axes.plot(*zip(*drawn, strict=True), style, color=color, markersize=4, linewidth=1, label=label)
    axes.set(xlabel="optimizer step", ylabel="nats per supervised token")
    axes.set_title(title, parse_math=False, fontsize=11)
    _plain(axes)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)
    return figure


def _draw_losses(axes: Axes, steps: Sequence[Event]) -> None:
    losses = np.array([event["loss"] for event in steps])
    numbers = np.array([event["step"] for event in steps])
    smooth = np.array(exponential_mean(losses.tolist()))
    places, low, high = (
        _binned(values, reduce) for values, reduce in ((numbers, np.mean), (losses, np.min), (losses, np.max))
    )
    axes.fill_between(places, low, high, color=_GREEN, alpha=0.25, linewidth=0.8, label="loss of each step")
    axes.plot(places, _binned(smooth, np.mean), color=_GREEN, linewidth=1.6, label="smoothed")
    axes.set_ylim(0, float(np.quantile(high, 0.99)) * 1.15 or 1)


def is_finite(value: float | None) -> bool:
    """Whether it was measured and can be drawn."""
    return value is not None and math.isfinite(value)


def panels_figure(steps: Sequence[Event]) -> Figure:
    """Small pictures of whatever of ``PANELS`` was measured; thin lines are steps, thick ones their running mean."""
    measured = [metrics_of(event) for event in steps]
    names = [name for name in PANELS if any(is_finite(metrics.get(name)) for metrics in measured)]
    num_rows = max(1, -(-len(names) // 2))
    figure = Figure(figsize=(11, 2.4 * num_rows), layout=ConstrainedLayoutEngine(h_pad=0.12))
    grid = figure.subplots(num_rows, 2, squeeze=False).flatten()
    for axes, name in zip(grid, names, strict=False):
        _panel(axes, name, steps, measured)
    for axes in grid[len(names) :]:
        axes.set_axis_off()
    return figure


def _panel(axes: Axes, name: str, steps: Sequence[Event], measured: Sequence[Mapping[str, float]]) -> None:
    title, factor = PANELS[name]
    drawn = [
        (event["step"], metrics[name] * factor)
        for event, metrics in zip(steps, measured, strict=True)
        if is_finite(metrics.get(name))
    ]
    numbers, values = (np.array(column, dtype=float) for column in zip(*drawn, strict=True))
    places = _binned(numbers, np.mean)
    is_noisy = name not in ("learning_rate", "peak_memory_bytes")
    axes.plot(
        places,
        _binned(values, np.mean),
        color=_GREEN,
        alpha=0.35 if is_noisy else 1,
        linewidth=0.8 if is_noisy else 1.4,
    )
    if is_noisy:
        axes.plot(places, _binned(np.array(exponential_mean(values.tolist())), np.mean), color=_GREEN, linewidth=1.4)
    axes.set_title(title, fontsize=9, loc="left")
    axes.set_ylim(0, float(np.quantile(values, 0.99)) * 1.15 or 1)
    axes.tick_params(labelsize=8)
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    axes.margins(x=0.01)


def _binned(values: Any, reduce: Any) -> Any:
    """At most ``MAX_POINTS`` values, each of as many neighbours."""
    size = -(-len(values) // MAX_POINTS)
    return np.array([reduce(values[begin : begin + size]) for begin in range(0, len(values), size)])


def exponential_mean(values: list[float]) -> list[float]:
    """Exponential moving average without the pull of its start towards zero (Adam's bias correction)."""
    means, mean = [], 0.0
    for count, value in enumerate(values, start=1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * value
        means.append(mean / (1 - SMOOTHING**count))
    return means
