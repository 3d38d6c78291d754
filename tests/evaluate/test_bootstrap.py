import math
import random

import numpy as np
import pytest

from protein2text.evaluate.bootstrap import Estimate, cluster_bootstrap, estimate


def brute_force(values: list[float], units: list[int], resamples: int) -> list[float]:
    """The same resampling written as loops over lists, with another generator."""
    rng = random.Random(1)
    members: dict[int, list[float]] = {}
    for value, unit in zip(values, units, strict=True):
        members.setdefault(unit, []).append(value)
    keys = sorted(members)
    means = []
    for _ in range(resamples):
        drawn = [value for key in rng.choices(keys, k=len(keys)) for value in members[key]]
        means.append(sum(drawn) / len(drawn))
    return means


def unequal_clusters() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    units = np.repeat(np.arange(30), rng.integers(1, 12, 30))
    level = rng.normal(0.5, 0.3, 30)
    return level[units] + rng.normal(0, 0.1, len(units)), units


def test_means_are_distributed_as_in_a_brute_force_resampling() -> None:
    values, units = unequal_clusters()
    fast = cluster_bootstrap(values, units, resamples=20_000, seed=0)
    slow = brute_force(values.tolist(), units.tolist(), 20_000)
    for level in (0.025, 0.5, 0.975):
        assert np.quantile(fast, level) == pytest.approx(np.quantile(slow, level), abs=0.006)
    assert fast.std() == pytest.approx(np.std(slow), rel=0.04)


def test_dependent_rows_widen_the_interval() -> None:
    values, units = unequal_clusters()
    clustered = estimate(values, units, resamples=2000, confidence=0.95, seed=0)
    naive = estimate(values, np.arange(len(values)), resamples=2000, confidence=0.95, seed=0)
    assert clustered.mean == naive.mean == pytest.approx(values.mean())
    assert (clustered.high - clustered.low) > 1.5 * (naive.high - naive.low)


def test_intervals_cover_the_true_mean_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for repetition in range(200):
        units = np.repeat(np.arange(40), 3)
        values = rng.normal(0.3, 1.0, 40)[units] + rng.normal(0, 0.2, 120)
        found = estimate(values, units, resamples=1000, confidence=0.9, seed=repetition)
        covered += found.low <= 0.3 <= found.high
    assert 0.83 <= covered / 200 <= 0.96


@pytest.mark.parametrize(("value", "limits", "low", "high"), [(0.0, (-1, 1), -0.1, 0.1), (1.0, (0, 1), 0.9, 1.0)])
def test_equal_units_are_not_certainty(value: float, limits: tuple[float, float], low: float, high: float) -> None:
    # With n units, a share p of others stays unseen with probability (1 - p) ** n; 2.5 % for p = 10 % at n = 35.
    values, units = np.full(70, value), np.repeat(np.arange(35), 2)
    found = estimate(values, units, resamples=1000, confidence=0.95, seed=0, limits=limits)
    assert found.constant
    assert (found.low, found.mean, found.high) == pytest.approx((low, value, high), abs=0.001)
    assert (1 - found.high if value == 0 else found.low) ** 35 == pytest.approx(0.025)


def test_memory_chunks_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    values, units = unequal_clusters()
    whole = cluster_bootstrap(values, units, resamples=1000, seed=3)
    monkeypatch.setattr("protein2text.evaluate.bootstrap._CHUNK_CELLS", 37 * 30)
    assert np.array_equal(cluster_bootstrap(values, units, resamples=1000, seed=3), whole)


def test_the_seed_decides() -> None:
    values, units = unequal_clusters()
    first, again, other = (cluster_bootstrap(values, units, resamples=1000, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_nothing_to_resample_is_said() -> None:
    empty = estimate(np.array([]), np.array([], dtype=np.int64), resamples=1000, confidence=0.95, seed=0)
    assert math.isnan(empty.mean)
    assert empty.text() == "no items"
    with pytest.raises(ValueError, match="0 values"):
        cluster_bootstrap(np.array([]), np.array([], dtype=np.int64), resamples=1000, seed=0)


def test_an_estimate_reads_as_mean_and_interval() -> None:
    assert Estimate(0.9123, 0.87, 0.95, 10, 5).text() == "0.912 [0.870, 0.950]"
