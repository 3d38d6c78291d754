"""Paired cluster bootstrap: proteins (or clusters of them) are resampled, never question rows.

Many questions share a protein, so rows are not independent; an interval over rows is too narrow.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_CHUNK_CELLS = 4_000_000
"""Resample-by-unit counts held in memory at a time."""


@dataclass(frozen=True)
class Estimate:
    """A mean over items with its percentile interval; bounds are NaN when there is nothing to resample."""

    mean: float
    low: float
    high: float
    num_items: int
    num_units: int
    constant: bool = False
    """Every unit has the same mean; resampling shows no spread, and the bounds are those of ``estimate``."""

    def text(self) -> str:
        """``0.912 [0.871, 0.948]``."""
        if math.isnan(self.mean):
            return "no items"
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def cluster_bootstrap(
    values: NDArray[np.float64], units: NDArray[np.int64], *, resamples: int, seed: int
) -> NDArray[np.float64]:
    """Means of resampled items, whole units at a time (ratio estimator: sum of values over number of items).

    Args:
        values: ``(N,)`` one score, or one paired difference, per item.
        units: ``(N,)`` integer id of each item's independent unit.
        resamples: number of bootstrap means.
        seed: the same seed gives the same units drawn, so that rows of one table are comparable.

    Returns:
        ``(resamples,)`` means.

    Raises:
        ValueError: no items, or arrays of different length.
    """
    if len(values) == 0 or len(values) != len(units):
        raise ValueError(f"{len(values)} values and {len(units)} units; both must be equal and above 0")
    _, unit_of_item = np.unique(units, return_inverse=True)
    sums = np.bincount(unit_of_item, weights=values)
    counts = np.bincount(unit_of_item).astype(np.float64)
    num_units = len(sums)
    generator = np.random.default_rng(seed)
    chunk = max(1, _CHUNK_CELLS // num_units)
    means = []
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn = generator.integers(num_units, size=(size, num_units))
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    return np.concatenate(means)


def estimate(
    values: NDArray[np.float64],
    units: NDArray[np.int64],
    *,
    resamples: int,
    confidence: float,
    seed: int,
    limits: tuple[float, float] = (0.0, 1.0),
) -> Estimate:
    """Mean of the values with its cluster-bootstrap percentile interval; see ``cluster_bootstrap``.

    Units that are all alike leave the bootstrap nothing to vary, and its interval would claim certainty. Then the
    bounds allow that a share of units which n of them had a 2.5 % chance to miss (at 95 %: ``1 - 0.025 ** (1 / n)``,
    the exact form of the rule of three) lies at the far end of the scale.

    Args:
        values: ``(N,)``.
        units: ``(N,)``.
        resamples: number of bootstrap means.
        confidence: coverage, such as 0.95.
        seed: of the resampling.
        limits: lowest and highest value that one item can have.
    """
    if len(values) == 0:
        return Estimate(math.nan, math.nan, math.nan, 0, 0)
    tail = (1 - confidence) / 2
    mean, num_units = float(values.mean()), len(np.unique(units))
    means = cluster_bootstrap(values, units, resamples=resamples, seed=seed)
    low, high = np.quantile(means, [tail, 1 - tail])
    constant = bool(np.ptp(means) < 1e-12)
    if constant:
        missed = 1 - tail ** (1 / num_units)
        low, high = mean - missed * (mean - limits[0]), mean + missed * (limits[1] - mean)
    return Estimate(mean, float(low), float(high), len(values), num_units, constant)
