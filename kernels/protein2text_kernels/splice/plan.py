"""Where each row of the decoder's input comes from, found on the host, so that nothing waits for the device.

Labels and positions of the rows are numbers of the host too, and come to the device finished, with the plan.

Legend: T rows of the decoder's input, L rows of proteins, P those of T that a protein's row fills.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple, Self

import torch
from torch import Tensor


class Plan(NamedTuple):
    """All int32, on the host until somebody sends it."""

    sources_T: Tensor
    """``n``: row n of the words; ``-1 - l``: row l of the proteins."""
    starts_L1: Tensor
    """Where the places of each protein row begin in ``places_P``, and the end of the last."""
    places_P: Tensor
    """Rows of T that hold a protein's row: by that row, and ascending for each."""
    owners_P: Tensor
    """The protein row of each."""

    def with_own_rows(self, places_P: Tensor) -> Self:
        """The plan where each place has a protein row of its own: row p at ``places_P[p]``."""
        own_P = torch.arange(len(places_P), dtype=torch.int32, device=places_P.device)
        starts = torch.arange(len(places_P) + 1, dtype=torch.int32, device=places_P.device)
        return type(self)(self.sources_T.index_copy(0, places_P, -1 - own_P), starts, places_P.int(), own_P)

    def with_own_words(self) -> Self:
        """The plan where the words of row t are row t."""
        own_T = torch.arange(len(self.sources_T), dtype=torch.int32, device=self.sources_T.device)
        return self._replace(sources_T=torch.where(self.sources_T < 0, self.sources_T, own_T))


def plan(words: Sequence[int], proteins: Mapping[int, int], num_rows: int) -> Plan:
    """Plan rows that are words, but for some.

    Args:
        words: the word of each of T rows; of those that a protein's row fills, anything.
        proteins: for each of those rows, its protein row.
        num_rows: L; a row may fill any number of places, or none.
    """
    sources = list(words)
    places: list[list[int]] = [[] for _ in range(num_rows)]
    for place in sorted(proteins):
        sources[place] = -1 - proteins[place]
        places[proteins[place]].append(place)
    starts = [0, *accumulate(map(len, places))]
    owned = [(place, row) for row, held in enumerate(places) for place in held]
    columns = (sources, starts, [place for place, _ in owned], [row for _, row in owned])
    return Plan(*(torch.tensor(column, dtype=torch.int32) for column in columns))
