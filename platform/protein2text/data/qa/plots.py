"""The pictures beside a QA corpus's card, as SVG: the same card gives the same text."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from protein2text.pages import figure_svg


def write_plots(card: dict[str, Any], folder: Path) -> list[str]:
    """Draw the card's statistics; returns the file names."""
    outcomes = {"accepted": card["counts"]["records"], **card["reasons"]}
    balance = {
        "open": card["question_kinds"].get("open", 0),
        **{f"answered {answer}": count for answer, count in card["yes_no_answers"].items()},
    }
    plots = {
        "outcomes": _bars(outcomes, "generated pairs, and passages without a text"),
        "questions": _bars(balance, "questions"),
        "questions_per_protein": _bars(_bins(card["questions_per_protein"]["histogram"]), "proteins, by questions"),
        "lengths": _bars(_bins(card["length_histogram"]), "proteins, by residues"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in plots.items():
        (folder / f"{name}.svg").write_text(figure_svg(figure), encoding="utf-8")
    return [f"plots/{name}.svg" for name in plots]


def _bins(histogram: list[dict[str, Any]]) -> dict[str, int]:
    """Bins with their bounds as names, without empty ones at the end."""
    used = max((number for number, part in enumerate(histogram, 1) if part["proteins"]), default=1)
    return {_name(part["above"] + 1, part["up_to"]): part["proteins"] for part in histogram[:used]}


def _name(low: int, high: int | None) -> str:
    if high is None:
        return f"{low} or more"
    return str(low) if low == high else f"{low}-{high}"


def _bars(counts: dict[str, int], label: str) -> Figure:
    """Horizontal bars with their numbers, in the given order from the top."""
    figure = Figure(figsize=(6.5, 0.32 * len(counts) + 0.9), layout="constrained")
    axes = figure.subplots()
    heights = range(len(counts) - 1, -1, -1)
    bars = axes.barh(heights, list(counts.values()), color="#0b6e4f")
    axes.bar_label(bars, padding=3)
    axes.set_yticks(heights, list(counts))
    axes.margins(x=0.12)
    axes.set_xlabel(label)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
