"""Which program does what in the attention kernels: a list made on the host from the proteins' lengths alone.

A program takes all latents of one head, and the residues of one protein or, where it is long, of one part of it. How a
protein is cut depends on its own length, so its result has the same bits alone and in any batch. The longest come
first, so that no long protein is begun when the others are done.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import torch
from torch import Tensor

PART_ROWS = 1024
"""Residue rows of one part: titin becomes 35 parts for the multiprocessors to share, and most proteins stay whole."""
UNCUT = -1


@dataclass(frozen=True)
class Work:
    """The list, on a device.

    Attributes:
        items: int32 ``(W, 4)``: protein, first and last residue row (exclusive), and the slot of a part's partial
            result, ``UNCUT`` for a whole protein. A protein's first part also attends to the latents.
        cut: int32 ``(Z, 3)``: protein, first slot and number of slots, for each protein that was cut.
        num_slots: partial results of all parts.
    """

    items: Tensor
    cut: Tensor
    num_slots: int


@lru_cache(maxsize=16)
def plan(lengths: tuple[int, ...], device: torch.device) -> Work:
    """The work for proteins of so many residue rows; remembered, since every layer of a batch asks for it."""
    items, cut = list_work(lengths)
    num_slots = sum(num for _, _, num in cut)
    return Work(_moved(items, 4, device), _moved(cut, 3, device), num_slots)


def list_work(lengths: Sequence[int]) -> tuple[list[tuple[int, int, int, int]], list[tuple[int, int, int]]]:
    """`Work.items` and `Work.cut` as Python numbers."""
    starts = list(accumulate(lengths, initial=0))
    items: list[tuple[int, int, int, int]] = []
    cut: list[tuple[int, int, int]] = []
    slot = 0
    for protein in sorted(range(len(lengths)), key=lambda number: (-lengths[number], number)):
        begin, end = starts[protein], starts[protein + 1]
        num_parts = max(1, -(-(end - begin) // PART_ROWS))
        if num_parts == 1:
            items.append((protein, begin, end, UNCUT))
            continue
        cut.append((protein, slot, num_parts))
        for part in range(num_parts):
            items.append((protein, begin + part * PART_ROWS, min(end, begin + (part + 1) * PART_ROWS), slot + part))
        slot += num_parts
    return items, cut


def _moved(rows: Sequence[Sequence[int]], width: int, device: torch.device) -> Tensor:
    """To the device without waiting for it."""
    host = torch.tensor(rows, dtype=torch.int32, pin_memory=device.type == "cuda").reshape(-1, width)
    return host.to(device, non_blocking=True)
