"""Packed batches, planned on the host: rows lie end to end, and all that a device step needs is already there.

Legend: B proteins, R residues of one protein, S packed residue rows, K latents, T packed tokens, N examples,
M supervised tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Self

import torch
from torch import Tensor

from protein2text.errors import RecordError
from protein2text.models.chat import IGNORED, PROTEIN_ID, Example

VOCABULARY = ("<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO", ".", "-", "<null_1>", "<mask>")
"""ESM-2's 33 tokens in their published order."""

RESIDUE_IDS = {letter: number for number, letter in enumerate(VOCABULARY) if len(letter) == 1 and letter.isalpha()}
CLS_ID, PAD_ID, EOS_ID, MASK_ID = (VOCABULARY.index(token) for token in ("<cls>", "<pad>", "<eos>", "<mask>"))


def starts(lengths: Sequence[int]) -> Tensor:
    """int32 ``(len+1,)``: where each packed sequence begins, and the end of the last."""
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)


@dataclass(frozen=True)
class ProteinBatch:
    """Packed proteins as the encoder reads them: CLS, residues, EOS of each, end to end."""

    ids_S: Tensor
    positions_S: Tensor
    cu_seqlens_B1: Tensor
    lengths: tuple[int, ...]
    """Rows per protein, residues + 2."""
    state_rows: Tensor
    """Rows whose states leave the encoder: all but CLS, so residues + 1 per protein."""
    state_cu_seqlens_B1: Tensor

    @property
    def state_lengths(self) -> tuple[int, ...]:
        return tuple(length - 1 for length in self.lengths)

    @property
    def num_residues(self) -> int:
        return sum(self.lengths) - 2 * len(self.lengths)

    def to(self, device: torch.device | str) -> Self:
        return replace(self, **_moved(self, device))


@dataclass(frozen=True)
class TextBatch:
    """Packed examples as the decoder reads them, and where the latents go."""

    ids_T: Tensor
    """Token ids; 0 where a latent will be put."""
    positions_T: Tensor
    """Restart at 0 in each example."""
    cu_seqlens_N1: Tensor
    lengths: tuple[int, ...]
    latent_rows: Tensor
    """Rows of T that receive a latent."""
    latent_sources: Tensor
    """For each of those, the row of the flattened latents ``(B * K)``."""
    supervised_rows_M: Tensor
    """Rows whose next token is supervised."""
    labels_M: Tensor

    def to(self, device: torch.device | str) -> Self:
        return replace(self, **_moved(self, device))


@dataclass(frozen=True)
class Batch:
    """Proteins and the examples that speak of them. Equal sequences are encoded once."""

    proteins: ProteinBatch
    text: TextBatch

    @property
    def num_supervised(self) -> int:
        return len(self.text.labels_M)

    @property
    def num_tokens(self) -> int:
        return sum(self.text.lengths)

    @property
    def num_residues(self) -> int:
        return self.proteins.num_residues

    def to(self, device: torch.device | str) -> Self:
        return replace(self, proteins=self.proteins.to(device), text=self.text.to(device))


def _moved(batch: ProteinBatch | TextBatch, device: torch.device | str) -> dict[str, Any]:
    tensors = {name: value for name, value in vars(batch).items() if isinstance(value, Tensor)}
    return {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}


def pack_proteins(sequences: Sequence[str]) -> ProteinBatch:
    """Pack sequences of ESM-2's letters, longest first being the caller's choice.

    Raises:
        ValueError: no sequence, or a letter that `protein2text.proteins` should have refused.
    """
    if not sequences:
        raise ValueError("a batch needs at least one protein")
    ids: list[int] = []
    for sequence in sequences:
        try:
            ids += [CLS_ID, *(RESIDUE_IDS[letter] for letter in sequence), EOS_ID]
        except KeyError as error:
            raise ValueError(
                f"letter {error} is not in the encoder's alphabet; clean sequences with parse_protein"
            ) from None
    lengths = tuple(len(sequence) + 2 for sequence in sequences)
    positions = torch.cat([torch.arange(length) for length in lengths])
    return ProteinBatch(
        ids_S=torch.tensor(ids), positions_S=positions, cu_seqlens_B1=starts(lengths), lengths=lengths,
        state_rows=torch.nonzero(positions != 0).squeeze(1),
        state_cu_seqlens_B1=starts([length - 1 for length in lengths]),
    )  # fmt: skip


def pack_text(examples: Sequence[Example], protein_numbers: Sequence[Sequence[int]], num_latents: int) -> TextBatch:
    """Pack examples; each placeholder widens to ``num_latents`` rows.

    Args:
        examples: ids with placeholders, labels alike.
        protein_numbers: for each example, the batch's protein that each placeholder stands for.

    Raises:
        RecordError: an example whose placeholders and proteins differ in number.
    """
    ids: list[int] = []
    labels: list[int] = []
    latent_rows: list[int] = []
    latent_sources: list[int] = []
    lengths: list[int] = []
    for number, (example, proteins) in enumerate(zip(examples, protein_numbers, strict=True)):
        if example.num_proteins != len(proteins):
            raise RecordError(
                f"example {number} of the batch", "messages", f"{example.num_proteins} placeholders",
                f"{len(proteins)} proteins",
                "Write <protein_sequence> once per protein in the user's turn.",
            )  # fmt: skip
        begin, following = len(ids), iter(proteins)
        for token, label in zip(example.ids, example.labels, strict=True):
            if token == PROTEIN_ID:
                first = next(following) * num_latents
                latent_rows += range(len(ids), len(ids) + num_latents)
                latent_sources += range(first, first + num_latents)
                ids += [0] * num_latents
                labels += [IGNORED] * num_latents
            else:
                ids.append(token)
                labels.append(label)
        lengths.append(len(ids) - begin)
    supervised = [row for row in range(1, len(ids)) if labels[row] != IGNORED]
    return TextBatch(
        ids_T=torch.tensor(ids), positions_T=torch.cat([torch.arange(length) for length in lengths]),
        cu_seqlens_N1=starts(lengths), lengths=tuple(lengths), latent_rows=torch.tensor(latent_rows, dtype=torch.long),
        latent_sources=torch.tensor(latent_sources, dtype=torch.long),
        supervised_rows_M=torch.tensor([row - 1 for row in supervised], dtype=torch.long),
        labels_M=torch.tensor([labels[row] for row in supervised], dtype=torch.long),
    )  # fmt: skip


def pack(examples: Sequence[Example], proteins: Sequence[Sequence[str]], num_latents: int) -> Batch:
    """Pack examples with their proteins' sequences, longest protein first, each distinct sequence once."""
    distinct = sorted(
        {sequence for group in proteins for sequence in group}, key=lambda sequence: (-len(sequence), sequence)
    )
    number_of = {sequence: number for number, sequence in enumerate(distinct)}
    numbers = [[number_of[sequence] for sequence in group] for group in proteins]
    return Batch(pack_proteins(distinct), pack_text(examples, numbers, num_latents))
