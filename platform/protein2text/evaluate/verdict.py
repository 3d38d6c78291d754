"""The one question of an evaluation: does the answer depend on the protein?"""

import math
from dataclasses import dataclass
from typing import Literal

from protein2text.evaluate.bootstrap import Estimate

Outcome = Literal["reads the protein", "does not read the protein", "cannot tell"]


_SENTENCES: dict[Outcome, str] = {
    "reads the protein": "The {} reads the protein: with another protein's sequence its answers get worse.",
    "does not read the protein": "The {} does not read the protein: "
    "with another protein's sequence its answers are as good.",
    "cannot tell": "These items cannot tell whether the {} reads the protein.",
}


@dataclass(frozen=True)
class Verdict:
    """The outcome, the difference true minus swapped behind it, and how many units would settle it."""

    outcome: Outcome
    metric: str
    delta: float
    difference: Estimate
    units_needed: int | None
    """Independent units for a decision if the difference stays as measured; None when decided or never decidable."""
    reason: str
    subject: str = "model"
    """What was on trial, as sentences call it: ``model`` or ``index``."""

    @property
    def sentence(self) -> str:
        """The outcome as the report opens with it."""
        return _SENTENCES[self.outcome].format(self.subject)


def judge(difference: Estimate, *, metric: str, delta: float, min_units: int, unit: str) -> Verdict:
    """Compare the interval of true minus swapped with the smallest effect of interest.

    Args:
        difference: paired difference with its interval.
        metric: what was scored, in words.
        delta: smallest effect of interest, in the metric's own unit.
        min_units: below this many units no verdict is given.
        unit: what is resampled, plural: "proteins" or "clusters".

    Returns:
        "reads the protein" when the lower bound is above delta, "does not read the protein" when the upper bound is
        below it, "cannot tell" otherwise, then with the number of units needed.
    """

    def verdict(outcome: Outcome, reason: str, needed: int | None = None) -> Verdict:
        return Verdict(outcome, metric, delta, difference, needed, reason)

    measured = f"true minus swapped is {difference.text()} {metric} over {difference.num_units} {unit}"
    if difference.num_units < min_units:
        return verdict("cannot tell", f"{measured}; at least {min_units} {unit} are needed for an interval.", min_units)
    if difference.low > delta:
        return verdict("reads the protein", f"{measured}: the lower bound is above {delta:g}.")
    if difference.high < delta:
        return verdict("does not read the protein", f"{measured}: the upper bound is below {delta:g}.")
    needed = units_needed(difference, delta)
    settle = f"no number of {unit} would settle it" if needed is None else f"about {needed:,} {unit} would settle it"
    reason = f"{measured}: the interval holds {delta:g}; at this difference {settle}."
    return verdict("cannot tell", reason, needed)


def units_needed(difference: Estimate, delta: float) -> int | None:
    """Units at which the interval would leave ``delta`` out if the difference stayed as measured.

    A bootstrap interval narrows with the root of the number of units, that of equal units with the number itself.
    None when the measured difference equals ``delta``: then no number suffices.
    """
    gap = abs(difference.mean - delta)
    reach = difference.mean - difference.low if difference.mean > delta else difference.high - difference.mean
    if gap == 0:
        return None
    power = 1 if difference.constant else 2
    return max(difference.num_units + 1, math.ceil(round(difference.num_units * (reach / gap) ** power, 6)))
