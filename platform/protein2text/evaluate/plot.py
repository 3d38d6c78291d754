"""The report's one picture: every row's primary score with its interval, as SVG text."""

import math
from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.figure import Figure

from protein2text.evaluate.scores import METRICS, Row
from protein2text.pages import figure_svg


def rows_svg(rows: Sequence[Row], primary: str) -> Markup:
    """Horizontal points with intervals, one per row of the main table; an ``<svg>`` element without outside links."""
    figure = Figure(figsize=(7.5, 0.45 * len(rows) + 1.0), layout="constrained")
    axes = figure.subplots()
    shown = [row for row in rows if not math.isnan(row.estimates[primary].mean)]
    for height, row in enumerate(reversed(shown)):
        estimate = row.estimates[primary]
        color = (
            "#0b6e4f" if row.name == "true" else "#b5452c" if row.name in {"swapped", "shuffled", "none"} else "#555555"
        )
        axes.plot([estimate.low, estimate.high], [height, height], color=color, linewidth=2)
        axes.plot([estimate.mean], [height], "o", color=color)
    axes.set_yticks(range(len(shown)), [row.label for row in reversed(shown)])
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel(METRICS[primary])
    axes.grid(axis="x", alpha=0.3)
    return figure_svg(figure)
