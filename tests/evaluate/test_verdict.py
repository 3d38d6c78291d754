import numpy as np
import pytest

from protein2text.evaluate.bootstrap import Estimate, estimate
from protein2text.evaluate.verdict import Verdict, judge, units_needed


def decide(low: float, mean: float, high: float, num_units: int = 40) -> Verdict:
    return judge(
        Estimate(mean, low, high, 200, num_units), metric="accuracy", delta=0.02, min_units=10, unit="proteins"
    )


@pytest.mark.parametrize(
    ("interval", "outcome"),
    [
        ((0.5, 0.6, 0.7), "reads the protein"),
        ((0.021, 0.03, 0.04), "reads the protein"),
        ((0.02, 0.03, 0.04), "cannot tell"),
        ((-0.01, 0.03, 0.07), "cannot tell"),
        ((-0.05, 0.0, 0.03), "cannot tell"),
        ((-0.02, 0.0, 0.019), "does not read the protein"),
        ((-0.5, -0.4, -0.3), "does not read the protein"),
    ],
)
def test_the_interval_is_held_against_the_smallest_effect(interval: tuple[float, float, float], outcome: str) -> None:
    assert decide(*interval).outcome == outcome


def test_too_few_proteins_give_no_verdict_however_clear_the_scores() -> None:
    verdict = decide(1.0, 1.0, 1.0, num_units=9)
    assert verdict.outcome == "cannot tell"
    assert verdict.units_needed == 10
    assert "10 proteins" in verdict.reason


def test_an_undecided_verdict_names_the_proteins_needed() -> None:
    verdict = decide(-0.01, 0.03, 0.07)
    assert verdict.units_needed == 640  # a gap of 0.01 seen with a reach of 0.04 at 40: 16 times as many
    assert "640" in verdict.reason
    assert decide(0.5, 0.6, 0.7).units_needed is None


def test_answers_that_never_change_need_enough_proteins_to_rule_the_effect_out() -> None:
    def unchanged(num_units: int) -> Verdict:
        zeros, units = np.zeros(num_units), np.arange(num_units)
        found = estimate(zeros, units, resamples=1000, confidence=0.95, seed=0, limits=(-1, 1))
        return judge(found, metric="accuracy", delta=0.02, min_units=10, unit="proteins")

    few = unchanged(24)
    assert few.outcome == "cannot tell"
    assert few.units_needed is not None
    assert unchanged(few.units_needed + 20).outcome == "does not read the protein"
    assert unchanged(few.units_needed // 2).outcome == "cannot tell"


def test_no_number_settles_a_difference_equal_to_the_smallest_effect() -> None:
    assert units_needed(Estimate(0.02, 0.0, 0.04, 200, 40), 0.02) is None
    assert "no number" in decide(0.0, 0.02, 0.04).reason
