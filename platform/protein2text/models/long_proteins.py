"""Proteins longer than the encoder's training crops: read in one pass, in overlapping windows, or refused.

A protein's token row is begin, residues, end. Read exactly, the row is one window. Otherwise::

    row      B r r r r r r r r r r r r r r r r r r r r r E
    window 0 |--------------|                                windows of equal length, spread evenly
    window 1          |--------------|
    window 2                   |--------------|
    states from  0000000000001111111112222222222             the window whose middle is nearest

So each state comes from the window in which its residue is farthest from a cut, and there is exactly one per residue,
and one for the end. Begin and end tokens stand only at the protein's real ends: ESM-2 was trained on crops without
them, to tell a crop from a whole protein (Lin et al., Science 379:1123, supplement). Positions restart in each window.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

from protein2text.errors import BeyondTraining
from protein2text.models.alphabet import ESM2, Alphabet

LongProteins = Literal["auto", "exact", "window", "refuse"]
"""``auto``: one pass up to the training length, windows above, and free to learn better rules; ``window``: that rule,
for good; ``exact``: one pass at any length; ``refuse``: an error above the training length."""

Pass = Literal["exact", "window"]
"""How a protein was read."""

ESM2_TRAINING_RESIDUES = 1022
OVERLAP = 256
"""Tokens that neighbouring windows share at least, so that a state has 128 residues or more on either side."""


class Window(NamedTuple):
    """Tokens ``[begin, end)`` of a protein's row that are read together; states of ``[first, last)`` are kept."""

    begin: int
    end: int
    first: int
    last: int


@dataclass(frozen=True)
class Reading:
    """How sequences become an encoder's input."""

    alphabet: Alphabet = ESM2
    training_residues: int = ESM2_TRAINING_RESIDUES
    """Longest protein that the encoder saw whole in its training."""
    long_proteins: LongProteins = "exact"
    row_bytes: int = 0
    """Memory that the encoder allocates per token, where it is known."""

    def beyond_training(self, num_residues: int) -> bool:
        return num_residues > self.training_residues

    def used(self, num_residues: int) -> Pass:
        """How a protein of this length is read."""
        return "window" if self.beyond_training(num_residues) and self.long_proteins != "exact" else "exact"

    def check(self, record: str, num_residues: int) -> None:
        """Refuse what this model refuses.

        Raises:
            BeyondTraining: longer than the training length, under ``refuse``.
        """
        if self.long_proteins == "refuse" and self.beyond_training(num_residues):
            exact, window = (self.estimated_bytes(num_residues, mode) for mode in ("exact", "window"))
            raise BeyondTraining(record, num_residues, self.training_residues, exact, window)

    def windows(self, num_residues: int, how: Pass | None = None) -> list[Window]:
        """What is read of a protein's row, and which states are kept: all but the begin token's.

        Args:
            how: in place of what the model would do.
        """
        num_tokens, size = num_residues + 2, self.training_residues + 2
        if (how or self.used(num_residues)) == "exact" or num_tokens <= size:
            return [Window(0, num_tokens, 1, num_tokens)]
        spare = num_tokens - size
        gaps = -(-spare // (size - min(OVERLAP, size // 2)))
        begins = [number * spare // gaps for number in range(gaps + 1)]
        cuts = [(left + right + size) // 2 for left, right in pairwise(begins)]
        return [
            Window(begin, begin + size, first, last)
            for begin, first, last in zip(begins, [1, *cuts], [*cuts, num_tokens], strict=True)
        ]

    def estimated_bytes(self, num_residues: int, how: Pass | None = None) -> int:
        """Most that the encoder has allocated at once for one protein, beside its weights; 0 where that is not known.

        The process may hold up to half as much again, since an allocator keeps some of what it was given back.
        """
        return self.row_bytes * sum(window.end - window.begin for window in self.windows(num_residues, how))


EXACT = Reading()
"""ESM-2's letters, one pass at any length."""
