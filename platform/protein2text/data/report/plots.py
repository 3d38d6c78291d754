"""The pictures of a data page. Their letters are numbers of ours: no text of a record is drawn."""

from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.figure import Figure

from protein2text.pages import figure_svg


def histogram_svg(names: Sequence[str], counts: Sequence[float], label: str) -> Markup:
    """Columns with their bins' names below.

    Args:
        names: of the bins, from left to right.
        counts: one per bin.
        label: what is counted.
    """
    figure = Figure(figsize=(max(4.0, 0.6 * len(names) + 1.2), 2.8), layout="constrained")
    axes = figure.subplots()
    axes.bar(range(len(names)), counts, color="#0b6e4f")
    axes.set_xticks(range(len(names)), names, rotation=45 if len(names) > 8 else 0)
    axes.set_ylabel(label, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure_svg(figure)
