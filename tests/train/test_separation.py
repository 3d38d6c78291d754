"""From losses to a warning: its error against a bootstrap over proteins, and its edges."""

import numpy as np
import pytest

from protein2text.evaluate.bootstrap import cluster_bootstrap
from protein2text.train.separation import MIN_PROTEINS, Validation, standard_error, warning

NUM_STEPS = 90


def validation(step: int, swapped: float, shuffled: float | None = None, num_proteins: int = 40) -> Validation:
    """Differences in standard errors, which are 0.01 nats."""
    shuffled = swapped if shuffled is None else shuffled
    return Validation(step, 2.0, 2.0 + shuffled / 100, 2.0 + swapped / 100, 0.01, 0.01, 60, num_proteins)


def test_the_standard_error_is_that_of_a_bootstrap_over_proteins() -> None:
    """Records of unequal length, several of a protein and alike: an error over records would be half as large."""
    generator = np.random.default_rng(0)
    proteins = np.repeat(np.arange(80), generator.integers(1, 8, 80))
    num_tokens = generator.integers(3, 40, len(proteins))
    per_token = generator.normal(0.1, 0.2, 80)[proteins] + generator.normal(0, 0.02, len(proteins))
    found = standard_error(list(per_token * num_tokens), list(num_tokens), [str(name) for name in proteins])
    tokens = np.repeat(np.arange(len(proteins)), num_tokens)
    means = cluster_bootstrap(per_token[tokens], proteins[tokens], resamples=4000, seed=0)
    assert found == pytest.approx(means.std(), rel=0.1)


@pytest.mark.parametrize(("swapped", "warns"), [(2.009, True), (2.011, False)])
def test_a_certain_difference_may_still_be_too_small(swapped: float, warns: bool) -> None:
    history = [Validation(step, 2.0, 2.5, swapped, 1e-6, 1e-6, 60, 40) for step in (60, 90)]
    assert (warning(history, NUM_STEPS) is not None) == warns


def test_one_protein_has_no_standard_error_and_equal_losses_have_none_to_hide_behind() -> None:
    assert standard_error([1.0, 2.0], [3, 4], ["a", "a"]) is None
    assert standard_error([0.0, 0.0], [3, 4], ["a", "b"]) == 0.0
    unmoved = [Validation(step, 2.0, 2.0, 2.0, 0.0, 0.0, 60, 40) for step in (60, 70)]
    assert "not reading the protein" in str(warning(unmoved, NUM_STEPS))


@pytest.mark.parametrize(
    ("differences", "warns"),
    [
        ({40: 0.5, 50: 1.9}, True),
        ({40: 0.5, 50: 2.1}, False),  # it reads now
        ({40: 2.1, 50: 1.9}, False),  # one alone may be chance
        ({40: 2.1, 50: 1.9, 60: -3.0}, True),  # better with the wrong protein is no reading either
        ({40: 1.0, 50: 1.0, 60: 1.0}, False),  # said already
        ({40: 1.0, 50: 1.0, 60: 3.0, 70: 1.0, 80: 1.0}, True),  # and again when it came back
        ({10: 1.0, 20: 1.0}, False),  # too early
        ({20: 1.0, 29: 1.0}, False),
        ({20: 1.0, 30: 1.0}, False),  # the first that counts
        ({30: 1.0, 31: 1.0}, True),
        ({30: 1.0, 40: 1.0, 50: 1.0, 90: 1.0}, True),  # again at the end
        ({90: 1.0}, True),
        ({90: 2.1}, False),
        ({}, False),
    ],
)
def test_a_warning_comes_when_the_controls_are_not_set_apart(differences: dict[int, float], warns: bool) -> None:
    history = [validation(step, difference) for step, difference in differences.items()]
    assert (warning(history, NUM_STEPS) is not None) == warns


def test_too_few_proteins_are_never_judged() -> None:
    def history(num_proteins: int) -> list[Validation]:
        return [validation(step, 0.0, num_proteins=num_proteins) for step in (60, 90)]

    assert warning(history(MIN_PROTEINS - 1), NUM_STEPS) is None
    assert warning(history(MIN_PROTEINS), NUM_STEPS) is not None


def test_the_warning_names_the_numbers_and_which_control_failed() -> None:
    both = warning([validation(60, 0.4, -0.3), validation(70, 0.4, -0.3)], NUM_STEPS)
    assert str(both).startswith(
        "the model is not reading the protein: after 70 of 90 steps its loss is 2.0000 nats per token, with another "
        "protein's sequence 2.0040 (+0.0040 ± 0.0100), with shuffled residues 1.9970 (-0.0030 ± 0.0100), over 60 "
        "held-out records of 40 proteins"
    )
    shuffled = warning([validation(60, 5.0, 0.0), validation(70, 5.0, 0.0)], NUM_STEPS)
    assert "no more of the protein than its composition" in str(shuffled)
    assert warning([validation(60, 5.0, 3.0), validation(70, 5.0, 3.0)], NUM_STEPS) is None
