"""Whether the quoted frequencies hold for proteins that they were not measured on: reliability plot and its error.

Proteins fall into two halves by MMseqs2 cluster. Each half's facts are given the frequencies that the other half alone
would have put on them, and those are compared with how often the facts were right (Guo et al. 2017, arXiv:1706.04599).
One halving of some hundred proteins says little: the error is measured over several.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from protein2text.data import grouping, mmseqs
from protein2text.errors import ConfigError
from protein2text.neighbours.agreement import Case, Draw, cases, draw
from protein2text.neighbours.calibration import MAX_ENTRIES, Calibration, wilson
from protein2text.pages import figure_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from protein2text.neighbours.index_folder import NeighbourIndex

NUM_BINS = 10
NUM_HALVINGS = 20
NUM_COLUMNS = 4
FORMATS = (".png", ".svg")
CLUSTER_IDENTITY, CLUSTER_COVERAGE = 0.3, 0.5
"""Proteins this alike are in the same half."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A fact, the share that was quoted with it, and whether it was right."""

    accession: str
    quoted: float
    agrees: bool


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Facts that were quoted with similar shares."""

    num_facts: int
    num_proteins: int
    quoted: float
    """Their mean quoted share, 0-1."""
    observed: float
    """Share of them that was right."""
    low: float
    """Of the Wilson interval of ``observed`` at 95 %, as wide as so many proteins make it."""
    high: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """Quoted against observed shares, of one halving."""

    bins: tuple[ReliabilityBin, ...]
    """In the order of ``quoted``; empty ones are left out."""
    num_uncalibrated: int = 0
    """Facts for which nothing could be quoted."""
    errors: tuple[float, ...] = ()
    """Expected calibration error of this halving and of others, as far as it is known."""

    @property
    def num_facts(self) -> int:
        """Facts that were quoted with a share."""
        return sum(place.num_facts for place in self.bins)

    @property
    def expected_calibration_error(self) -> float:
        """Mean distance between quoted and observed share over facts, 0-1; NaN without any."""
        distances = sum(place.num_facts * abs(place.quoted - place.observed) for place in self.bins)
        return distances / self.num_facts if self.num_facts else float("nan")

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; an error that is not known is None."""
        error = self.expected_calibration_error if self.bins else None
        return {**asdict(self), "num_facts": self.num_facts, "expected_calibration_error": error}


def reliability(judged: Iterable[Judged], num_uncalibrated: int = 0) -> Reliability:
    """Group facts by quoted share, in ``NUM_BINS`` bins of equal width."""
    groups: dict[int, list[Judged]] = {}
    for fact in judged:
        groups.setdefault(min(int(fact.quoted * NUM_BINS), NUM_BINS - 1), []).append(fact)
    return Reliability(tuple(_bin(groups[place]) for place in sorted(groups)), num_uncalibrated)


def _bin(facts: Sequence[Judged]) -> ReliabilityBin:
    observed = sum(fact.agrees for fact in facts) / len(facts)
    num_proteins = len({fact.accession for fact in facts})
    quoted = sum(fact.quoted for fact in facts) / len(facts)
    return ReliabilityBin(len(facts), num_proteins, quoted, observed, *wilson(observed, num_proteins))


def held_out(index: "NeighbourIndex", *, max_entries: int = MAX_ENTRIES, seed: int = 0) -> dict[str, Reliability]:
    """Calibrate on one half of an index's proteins, measure on the other, and the other way round.

    Args:
        index: of characterised proteins.
        max_entries: most proteins left out in turn.
        seed: of the draw and of the first of ``NUM_HALVINGS`` halvings.

    Returns:
        By kind of fact, EC numbers by digits besides, such as ``ec, 4 digits``: the first halving, with all errors.

    Raises:
        ResourcesUnavailable: MMseqs2 does not run here.
    """
    drawn, proteins = draw(index, max_entries=max_entries, seed=seed)
    sequences = {entry.accession: entry.sequence for entry, _ in proteins}
    clusters = mmseqs.cluster(sequences, min_identity=CLUSTER_IDENTITY, coverage=CLUSTER_COVERAGE)
    measured = list(cases(index, proteins))
    halved = [_halved(measured, clusters, drawn, seed + number) for number in range(NUM_HALVINGS)]
    errors = {
        label: tuple(one[label].expected_calibration_error for one in halved if one[label].bins) for label in halved[0]
    }
    return {label: replace(shown, errors=errors[label]) for label, shown in halved[0].items()}


def _halved(measured: Sequence[Case], clusters: Mapping[str, str], drawn: Draw, seed: int) -> dict[str, Reliability]:
    """What one halving shows."""
    first = grouping.draw(clusters, 0.5, seed)
    halves: tuple[list[Case], list[Case]] = [], []
    for case in measured:
        halves[clusters[case.accession] in first].append(case)
    judged: dict[str, list[Judged]] = defaultdict(list)
    num_uncalibrated: Counter[str] = Counter()
    for learned, asked in (halves, halves[::-1]):
        calibration = Calibration.of(learned, drawn)
        for case in asked:
            frequency = calibration.frequency(case.kind, case.identity, case.coverage, case.level)
            if frequency is None:
                num_uncalibrated[_label(case)] += 1
            else:
                judged[_label(case)].append(Judged(case.accession, frequency.share, case.agrees))
    return {
        label: reliability(judged[label], num_uncalibrated[label]) for label in sorted({*judged, *num_uncalibrated})
    }


def _label(case: Case) -> str:
    if case.level is None:
        return case.kind
    return f"{case.kind}, {case.level} digit{'s' * (case.level > 1)}"


def checked_format(path: Path) -> None:
    """Return if a plot can be drawn there.

    Raises:
        ConfigError: a format that is none of ``FORMATS``, or a folder that does not exist.
    """
    if path.suffix not in FORMATS:
        raise ConfigError(str(path), "plot", f"cannot be drawn as {path.suffix or 'nothing'!r}; name a .png or .svg")
    if not path.absolute().parent.is_dir():
        raise ConfigError(str(path), "plot", "its folder does not exist; make it first")


def write_plot(measured: Mapping[str, Reliability], path: Path) -> None:
    """Draw a reliability plot for each kind; the file's ending chooses the format.

    Raises:
        ConfigError: see ``checked_format``.
    """
    checked_format(path)
    num_rows = max(1, math.ceil(len(measured) / NUM_COLUMNS))
    figure = Figure(figsize=(3 * NUM_COLUMNS, 3.2 * num_rows), layout="constrained")
    grid = figure.subplots(num_rows, NUM_COLUMNS, squeeze=False).flat
    for axes, (label, shown) in zip(grid, measured.items(), strict=False):
        _draw(axes, label, shown)
    for axes in list(figure.axes)[len(measured) :]:
        axes.set_axis_off()
    if path.suffix == ".svg":
        path.write_text(figure_svg(figure), encoding="utf-8")
    else:
        figure.savefig(path)


def _draw(axes: "Axes", label: str, shown: Reliability) -> None:
    axes.plot([0, 1], [0, 1], color="#aaaaaa", linewidth=1)
    for place in shown.bins:
        axes.plot([place.quoted] * 2, [place.low, place.high], color="#0b6e4f", linewidth=1.5)
        axes.plot(
            [place.quoted], [place.observed], "o", color="#0b6e4f", markersize=3 + 9 * place.num_facts / shown.num_facts
        )
    error = f"ECE {shown.expected_calibration_error:.3f}" if shown.bins else "not calibrated"
    axes.set_title(f"{label}\n{error}, n = {shown.num_facts:,}", fontsize=9)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="quoted", ylabel="observed", aspect="equal")
    axes.grid(alpha=0.3)
