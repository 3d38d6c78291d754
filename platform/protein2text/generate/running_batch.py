"""Answers under way: what the decoder needs for its next step, one row per answer.

Rows are aligned on the right: whatever a row holds, its next token goes into the same new column. A row that ends
leaves, columns that only it needed go with it, and new rows join at any step.

Legend: N answers under way, T columns (prompt and answer of the longest row, padded on the left), D decoder width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache

from protein2text.generate.engine import Prompt


@dataclass
class Row:
    """One answer under way."""

    number: int
    """Of its prompt, counted from 0."""
    prompt: Prompt
    num_columns: int
    """Prompt and answer so far, the next input included."""
    ids: list[int] = field(default_factory=list)

    @property
    def num_reserved(self) -> int:
        """Columns when the answer is as long as it may be."""
        return self.num_columns - len(self.ids) + self.prompt.decoding.max_new_tokens


@dataclass
class RunningBatch:
    """The rows, their next inputs, and the keys and values of all columns before those."""

    rows: list[Row]
    inputs_NTD: Tensor
    mask_NT: Tensor
    """0 on padding; its columns are those of the cache and the inputs."""
    cache: Any = field(default_factory=DynamicCache)

    def keep(self, places: Sequence[int]) -> None:
        """Shrink to the rows at ``places``, and to the columns that one of them needs."""
        if len(places) == len(self.rows):
            return
        self.rows = [self.rows[place] for place in places]
        chosen = torch.tensor(places, dtype=torch.long, device=self.mask_NT.device)
        unused = self.mask_NT.shape[1] - max((row.num_columns for row in self.rows), default=0)
        self.inputs_NTD = self.inputs_NTD[chosen]
        self.mask_NT = self.mask_NT[chosen, unused:]
        for layer in self._layers():
            layer.keys, layer.values = (rows[chosen, :, unused:] for rows in (layer.keys, layer.values))

    def join(self, fresh: "RunningBatch") -> None:
        """Take in the rows of a batch whose prompts have been read."""
        width = max(self.mask_NT.shape[1], fresh.mask_NT.shape[1])
        self.rows = [*self.rows, *fresh.rows]
        self.inputs_NTD = torch.cat([self.inputs_NTD, fresh.inputs_NTD])
        self.mask_NT = torch.cat([F.pad(mask, (width - mask.shape[1], 0)) for mask in (self.mask_NT, fresh.mask_NT)])
        for mine, theirs in zip(self._layers(), fresh._layers(), strict=True):
            mine.keys = torch.cat([_widened(mine.keys, width - 1), _widened(theirs.keys, width - 1)])
            mine.values = torch.cat([_widened(mine.values, width - 1), _widened(theirs.values, width - 1)])

    def _layers(self) -> list[Any]:
        """Keys and values of each layer, ``(N, heads, T, channels)``; none before the first step."""
        return [layer for layer in self.cache.layers if layer.is_initialized]


def prefill_batch(rows: Sequence[Row], prompts: Sequence[Tensor]) -> RunningBatch:
    """A batch about to read its embedded prompts, ``(T, D)`` each."""
    longest = max(len(prompt) for prompt in prompts)
    inputs_NTD = prompts[0].new_zeros(len(prompts), longest, prompts[0].shape[1])
    mask_NT = torch.zeros(len(prompts), longest, dtype=torch.long, device=inputs_NTD.device)
    for number, prompt_TD in enumerate(prompts):
        inputs_NTD[number, longest - len(prompt_TD) :] = prompt_TD
        mask_NT[number, longest - len(prompt_TD) :] = 1
    return RunningBatch(list(rows), inputs_NTD, mask_NT)


def _widened(rows: Tensor, num_columns: int) -> Tensor:
    return F.pad(rows, (0, 0, num_columns - rows.shape[2], 0))
