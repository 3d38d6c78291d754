"""Packed batches, planned on the host: rows lie end to end, and all that a device step needs is already there.

Legend: B proteins, S packed residue rows, L decoder rows of all proteins end to end, T packed tokens, N examples,
P the rows of T that proteins fill (a protein in two examples fills rows in both), M supervised tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Self

import torch
from torch import Tensor

from protein2text.errors import RecordError
from protein2text.models.chat import IGNORED, PROTEIN_ID, Example
from protein2text.models.model_config import BridgeConfig

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
    """Token ids; 0 where a protein's row will be put."""
    positions_T: Tensor
    """Restart at 0 in each example."""
    cu_seqlens_N1: Tensor
    lengths: tuple[int, ...]
    protein_rows_P: Tensor
    """Rows of T that receive a row of a protein."""
    protein_sources_P: Tensor
    """For each of those, which of the L rows."""
    protein_cu_seqlens_N1: Tensor
    protein_lengths: tuple[int, ...]
    """Of those rows, how many are in each example."""
    question_rows: Tensor
    """Rows of T that hold the prompt's text: the tokens of each example before its first supervised one."""
    question_cu_seqlens_N1: Tensor
    question_lengths: tuple[int, ...]
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


def pack_text(
    examples: Sequence[Example], protein_numbers: Sequence[Sequence[int]], num_rows: Sequence[int]
) -> TextBatch:
    """Pack examples; each placeholder widens to its protein's rows.

    Args:
        examples: ids with placeholders, labels alike.
        protein_numbers: for each example, the batch's protein that each placeholder stands for.
        num_rows: decoder rows of each of the batch's proteins.

    Raises:
        RecordError: an example whose placeholders and proteins differ in number.
    """
    first_rows = list(accumulate(num_rows, initial=0))
    ids: list[int] = []
    labels: list[int] = []
    protein_rows: list[int] = []
    sources: list[int] = []
    question_rows: list[int] = []
    lengths: list[tuple[int, int, int]] = []
    for number, (example, proteins) in enumerate(zip(examples, protein_numbers, strict=True)):
        _check_placeholders(number, example, len(proteins))
        begin = (len(ids), len(protein_rows), len(question_rows))
        answer_begins = next((at for at, label in enumerate(example.labels) if label != IGNORED), len(example.ids))
        following = iter(proteins)
        for at, (token, label) in enumerate(zip(example.ids, example.labels, strict=True)):
            if token == PROTEIN_ID:
                protein = next(following)
                protein_rows += range(len(ids), len(ids) + num_rows[protein])
                sources += range(first_rows[protein], first_rows[protein + 1])
                ids += [0] * num_rows[protein]
                labels += [IGNORED] * num_rows[protein]
                continue
            if at < answer_begins:
                question_rows.append(len(ids))
            ids.append(token)
            labels.append(label)
        lengths.append((len(ids) - begin[0], len(protein_rows) - begin[1], len(question_rows) - begin[2]))
    supervised = [row for row in range(1, len(ids)) if labels[row] != IGNORED]
    all_lengths, protein_lengths, question_lengths = zip(*lengths, strict=True)
    return TextBatch(
        ids_T=torch.tensor(ids), positions_T=torch.cat([torch.arange(length) for length in all_lengths]),
        cu_seqlens_N1=starts(all_lengths), lengths=all_lengths,
        protein_rows_P=_indices(protein_rows), protein_sources_P=_indices(sources),
        protein_cu_seqlens_N1=starts(protein_lengths), protein_lengths=protein_lengths,
        question_rows=_indices(question_rows), question_cu_seqlens_N1=starts(question_lengths),
        question_lengths=question_lengths,
        supervised_rows_M=_indices([row - 1 for row in supervised]),
        labels_M=_indices([labels[row] for row in supervised]),
    )  # fmt: skip


def _check_placeholders(number: int, example: Example, num_proteins: int) -> None:
    if example.num_proteins != num_proteins:
        raise RecordError(
            f"example {number} of the batch", "messages", f"{example.num_proteins} placeholders",
            f"{num_proteins} proteins", "Write <protein_sequence> once per protein in the user's turn.",
        )  # fmt: skip


def _indices(values: Sequence[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.long)


def pack(examples: Sequence[Example], proteins: Sequence[Sequence[str]], bridge: BridgeConfig) -> Batch:
    """Pack examples with their proteins' sequences, longest protein first, each distinct sequence once."""
    distinct = sorted(
        {sequence for group in proteins for sequence in group}, key=lambda sequence: (-len(sequence), sequence)
    )
    number_of = {sequence: number for number, sequence in enumerate(distinct)}
    numbers = [[number_of[sequence] for sequence in group] for group in proteins]
    num_rows = [bridge.num_rows(len(sequence)) for sequence in distinct]
    return Batch(pack_proteins(distinct), pack_text(examples, numbers, num_rows))
