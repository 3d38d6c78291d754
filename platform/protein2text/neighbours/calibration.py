"""How often facts taken from homologues hold: counts by kind, identity and coverage, and what an answer quotes of them.

A frequency is measured, never modelled: among proteins of the index that were left out of it, of the facts that an
answer would have cited, how many does the protein's own entry state? `agreement` says what is compared with what.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from protein2text.data.records import read_card, write_json
from protein2text.errors import CorruptCheckpoint
from protein2text.neighbours.agreement import EC_DIGITS, Case, Draw, cases, digits, draw

if TYPE_CHECKING:
    from protein2text.neighbours.facts import Fact
    from protein2text.neighbours.homologues import Homologue
    from protein2text.neighbours.index_folder import NeighbourIndex

CALIBRATION_VERSION = 1
IDENTITY_FLOORS = (0.0, 0.3, 0.4, 0.5, 0.7, 0.9, 1.0)
"""Lower ends, as the evaluation's; a sequence that the index holds unchanged is counted apart, as the last of them."""
COVERAGE_FLOORS = (0.5, 0.7, 0.9)
"""Lower ends, of the smaller of the two coverages."""
ALL_COVERAGES = -1
"""In place of a coverage bin: all of them together."""
MIN_PROTEINS = 10
"""A bin of fewer proteins says nothing by itself."""
MAX_ENTRIES = 5_000
"""Proteins left out in turn, unless told otherwise; at half a million entries their search takes minutes."""
_ROUNDING = 5e-4
"""MMseqs2 writes shares with three digits after the point."""
_Z = 1.959963984540054
"""The normal distribution's 97.5 % point."""


@dataclass(frozen=True, slots=True)
class Frequency:
    """In so many of so many leave-one-out cases a cited fact was one that the protein's own entry states."""

    kind: str
    level: int | None
    """Digits of the EC number that are compared, 1-4; None for other kinds."""
    num_agreeing: int
    n: int
    """Cited facts."""
    num_proteins: int
    """Proteins for which they were cited; one protein's facts are not independent of each other."""
    low: float
    """Of the Wilson interval at 95 %, 0-1, as wide as so many proteins, not facts, make it."""
    high: float
    identity_bin: str
    """Such as ``70-90 %``; of neighbours that do not align ``cosine 0.91-0.94``."""
    coverage_bin: str

    @property
    def share(self) -> float:
        """Of the cited facts that held, 0-1."""
        return self.num_agreeing / self.n


@dataclass(frozen=True, slots=True)
class Count:
    """Cited facts of one bin."""

    num_agreeing: int = 0
    n: int = 0
    num_proteins: int = 0

    @classmethod
    def of(cls, told: Sequence[tuple[str, bool]]) -> Self:
        """Count facts, each with the protein for which it was cited and whether it agreed."""
        return cls(sum(agrees for _, agrees in told), len(told), len({accession for accession, _ in told}))

    def quoted(self, kind: str, level: int | None, identity_bin: str, coverage_bin: str) -> Frequency | None:
        """What an answer says of the bin; None with fewer than ``MIN_PROTEINS`` proteins."""
        if self.num_proteins < MIN_PROTEINS:
            return None
        low, high = wilson(self.num_agreeing / self.n, self.num_proteins)
        counts = self.num_agreeing, self.n, self.num_proteins
        return Frequency(kind, level, *counts, low, high, identity_bin, coverage_bin)


_Bin = tuple[str, int | None, int, int]
_BIN = ("kind", "level", "identity", "coverage")


class Calibration:
    """Measured frequencies of one index."""

    def __init__(self, counts: dict[_Bin, Count], drawn: Draw) -> None:
        self._counts, self.drawn = counts, drawn

    @classmethod
    def of(cls, measured: Iterable[Case], drawn: Draw) -> Self:
        """Count the cases of each bin, and of each identity bin at all coverages together."""
        told: dict[_Bin, list[tuple[str, bool]]] = defaultdict(list)
        for case in measured:
            identity, coverage = _place(case.identity, IDENTITY_FLOORS), _place(case.coverage, COVERAGE_FLOORS)
            for column in (coverage, ALL_COVERAGES):
                told[case.kind, case.level, identity, column].append((case.accession, case.agrees))
        return cls({key: Count.of(pairs) for key, pairs in told.items()}, drawn)

    def frequency(self, kind: str, identity: float, coverage: float, level: int | None = None) -> Frequency | None:
        """How often a fact of this kind held, cited from a homologue like this one.

        A bin with fewer than ``MIN_PROTEINS`` proteins gives way to its identity bin at all coverages; where that too
        holds fewer, nothing is known.

        Args:
            kind: of ``FACT_KINDS``.
            identity: with the homologue, 0-1.
            coverage: the smaller of the two, 0-1.
            level: digits of an EC number; all four unless told otherwise. Other kinds have none.

        Returns:
            None where it was not calibrated: too few cases, a homologue that shares a part only, or a kind of free
            text, which is not compared.
        """
        if coverage < COVERAGE_FLOORS[0]:
            return None
        if kind == "ec" and level is None:
            level = EC_DIGITS
        row = _place(identity, IDENTITY_FLOORS)
        for column in (_place(coverage, COVERAGE_FLOORS), ALL_COVERAGES):
            if quoted := self._quoted((kind, level, row, column)):
                return quoted
        return None

    def quotable(self) -> list[Frequency]:
        """Every frequency that an answer may quote, in order."""
        return [quoted for key in self._order() if (quoted := self._quoted(key))]

    def _quoted(self, key: _Bin) -> Frequency | None:
        names = _name(key[2], IDENTITY_FLOORS), _name(key[3], COVERAGE_FLOORS)
        return self._counts.get(key, Count()).quoted(key[0], key[1], *names)

    def _order(self) -> list[_Bin]:
        return sorted(self._counts, key=lambda key: (key[0], key[1] or 0, *key[2:]))

    def frequency_of(self, fact: "Fact", homologue: "Homologue") -> Frequency | None:
        """How often such a fact held, all that is stated of an EC number together."""
        level = digits(fact.value) if fact.kind == "ec" else None
        return self.frequency(fact.kind, homologue.identity, homologue.coverage, level)

    def rows(self) -> list[dict[str, Any]]:
        """Every bin that was met, in order, with its names and counts."""
        return [
            {
                **dict(zip(_BIN, key, strict=True)),
                "identity_bin": _name(key[2], IDENTITY_FLOORS),
                "coverage_bin": _name(key[3], COVERAGE_FLOORS),
                **asdict(self._counts[key]),
            }
            for key in self._order()
        ]

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        write_json({"version": CALIBRATION_VERSION, "draw": asdict(self.drawn), "bins": self.rows()}, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            CorruptCheckpoint: the file is of another version or holds something else.
        """
        card = read_card(path)
        if card.get("version") != CALIBRATION_VERSION:
            raise _unreadable(path, f"version {card.get('version')} where this program reads {CALIBRATION_VERSION}")
        try:
            counts = {
                tuple(row[name] for name in _BIN): Count(*(row[field.name] for field in fields(Count)))
                for row in card["bins"]
            }
            return cls(counts, Draw(**card["draw"]))
        except (KeyError, TypeError) as error:
            raise _unreadable(path, f"no calibration: {type(error).__name__} {error}") from None


def _unreadable(path: Path, problem: str) -> CorruptCheckpoint:
    return CorruptCheckpoint(str(path.parent), path.name, problem, "Run `protein2text index build` again.")


def calibrate(index: "NeighbourIndex", *, max_entries: int = MAX_ENTRIES, seed: int = 0) -> Calibration:
    """Leave proteins of an index out in turn, and count how often the facts of their homologues are their own.

    Args:
        index: with its entries and database; the manifest need not be on disk.
        max_entries: most proteins left out; a larger index is represented by a seeded draw of so many.
        seed: of the draw.

    Raises:
        ResourcesUnavailable: MMseqs2 does not run here.
    """
    drawn, proteins = draw(index, max_entries=max_entries, seed=seed)
    return Calibration.of(cases(index, proteins), drawn)


def wilson(share: float, n: int) -> tuple[float, float]:
    """Ends of the score interval of a proportion at 95 % (Wilson 1927); the share may come from a larger count."""
    center = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2)) / (1 + _Z**2 / n)
    return 0.0 if share <= 0 else center - half, 1.0 if share >= 1 else center + half  # exact where rounding is not


def _place(value: float, floors: tuple[float, ...]) -> int:
    """Number of the bin that holds a share, which is at least the lowest floor."""
    return sum(value >= floor - _ROUNDING * (floor == 1.0) for floor in floors) - 1


def _name(place: int, floors: tuple[float, ...]) -> str:
    if place == ALL_COVERAGES:
        return f"{floors[0]:.0%} and above".replace("%", " %")
    if floors[place] == 1.0:
        return "100 %"
    if place == 0 and floors[0] == 0.0:
        return f"below {floors[1]:.0%}".replace("%", " %")
    above = floors[place + 1] if place + 1 < len(floors) else 1.0
    return f"{100 * floors[place]:.0f}-{100 * above:.0f} %"
