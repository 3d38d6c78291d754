"""Does a model in training read its proteins? The loss with the true one against the losses of two controls.

Plain functions from numbers to a verdict. A model that does not read is as good with any other protein, so the paired
difference of its losses is zero within its error; one that learns to read leaves zero behind long before the end.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

NUM_STANDARD_ERRORS = 2.0
MIN_DIFFERENCE = 0.01
"""A control is set apart when its loss is higher by more than so many standard errors, and by more than so many nats
per token: a smaller difference is no reading, however certain it is."""
EARLY_SHARE = 1 / 3
"""Share of the steps before which nothing is concluded: the bridge begins random."""
NUM_IN_A_ROW = 2
"""Validations without a difference before a warning; one alone may be chance."""
MIN_PROTEINS = 8
"""Fewer than these have no standard error to speak of."""

CHECKS = (
    "Check that each answer belongs to its protein, that answers differ from protein to protein, that the encoder's "
    "weights are the intended ones, and that the learning rate is neither too low nor so high that the loss stays flat."
)


@dataclass(frozen=True)
class Validation:
    """Losses over the held-out records in nats per supervised token, as in training."""

    step: int
    """Optimizer steps done."""
    loss: float
    loss_shuffled: float
    loss_swapped: float
    error_shuffled: float | None
    """Standard error, over proteins, of ``loss_shuffled - loss``; None for a single protein."""
    error_swapped: float | None
    num_records: int
    num_proteins: int

    @property
    def reads(self) -> bool:
        """Whether another protein's loss is set apart: the primary control."""
        return _apart(self.loss_swapped - self.loss, self.error_swapped)

    @property
    def reads_the_order(self) -> bool:
        """Whether that of shuffled residues is: their composition is the protein's own."""
        return _apart(self.loss_shuffled - self.loss, self.error_shuffled)


def _apart(difference: float, error: float | None) -> bool:
    return error is not None and difference > max(MIN_DIFFERENCE, NUM_STANDARD_ERRORS * error)


def standard_error(differences: Sequence[float], num_tokens: Sequence[int], proteins: Sequence[str]) -> float | None:
    """Standard error of sum of differences / sum of tokens, over proteins; records of one protein are not independent.

    The linearized variance of a ratio of totals over clusters (Cochran, Sampling Techniques, 1977, section 6.4).

    Args:
        differences: of each record, control minus true, its supervised tokens' losses summed.
        num_tokens: supervised tokens of each record.
        proteins: which protein each record speaks of.
    """
    ratio = sum(differences) / sum(num_tokens)
    residuals: dict[str, float] = defaultdict(float)
    for difference, tokens, protein in zip(differences, num_tokens, proteins, strict=True):
        residuals[protein] += difference - ratio * tokens
    count = len(residuals)
    if count < 2:
        return None
    squares = sum(residual**2 for residual in residuals.values())
    return math.sqrt(count / (count - 1) * squares) / sum(num_tokens)


def warning(validations: Sequence[Validation], num_steps: int) -> str | None:
    """What the newest of a run's validations gives reason to say, None where it gives none.

    A control that is not set apart is reported once, when it happened ``NUM_IN_A_ROW`` times in a row, and again after
    the last step; nothing is said before ``EARLY_SHARE`` of the steps, nor of fewer than ``MIN_PROTEINS`` proteins.

    Args:
        validations: all of the run so far, by step.
        num_steps: of the whole stage.
    """
    late = [validation for validation in validations if validation.step >= EARLY_SHARE * num_steps]
    if not late or late[-1].num_proteins < MIN_PROTEINS:
        return None
    newest, at_the_end = late[-1], late[-1].step >= num_steps

    def calls_for_it(good: Sequence[bool]) -> bool:
        num_bad = next((count for count, fine in enumerate(reversed(good)) if fine), len(good))
        return num_bad == NUM_IN_A_ROW or (at_the_end and num_bad > 0)

    if calls_for_it([validation.reads for validation in late]):
        return f"the model is not reading the protein: {_numbers(newest, num_steps)}. {CHECKS}"
    if newest.reads and calls_for_it([validation.reads_the_order for validation in late]):
        return (
            f"the model reads no more of the protein than its composition: {_numbers(newest, num_steps)}. Shuffled "
            f"residues do as well as the protein itself."
        )
    return None


def _numbers(validation: Validation, num_steps: int) -> str:
    def control(loss: float, error: float | None) -> str:
        return f"{loss:.4f} ({loss - validation.loss:+.4f} ± {error:.4f})"

    return (
        f"after {validation.step} of {num_steps} steps its loss is {validation.loss:.4f} nats per token, with another "
        f"protein's sequence {control(validation.loss_swapped, validation.error_swapped)}, with shuffled residues "
        f"{control(validation.loss_shuffled, validation.error_shuffled)}, over {validation.num_records} held-out "
        f"records of {validation.num_proteins} proteins; a model that reads has differences above "
        f"{NUM_STANDARD_ERRORS:g} standard errors and {MIN_DIFFERENCE} nats"
    )
