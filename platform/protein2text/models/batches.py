"""Packed batches, planned on the host: rows lie end to end, and all that a device step needs is already there.

Legend: B proteins, W windows of them (as many, unless a long protein is read in several), S packed residue rows,
L decoder rows of all proteins end to end, T packed tokens, N examples, P the rows of T that proteins fill (a protein in
two examples fills rows in both), M supervised tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Self

import torch
from torch import Tensor

from protein2text.errors import RecordError
from protein2text.models.chat import IGNORED, PROTEIN_ID, Example
from protein2text.models.long_proteins import EXACT, Reading
from protein2text.models.model_config import BridgeConfig
from protein2text_kernels.splice.plan import Plan, plan


def starts(lengths: Sequence[int]) -> Tensor:
    """int32 ``(len+1,)``: where each packed sequence begins, and the end of the last."""
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)


@dataclass(frozen=True)
class ProteinBatch:
    """Packed proteins as the encoder reads them: CLS, residues, EOS of each, end to end.

    A long protein may be read in overlapping windows (`long_proteins`); which of their states are kept is planned here,
    so that the encoder knows nothing of it.
    """

    sequences: tuple[str, ...]
    """In the batch's order, for whoever knows their states already."""
    ids_S: Tensor
    positions_S: Tensor
    """Restart at 0 in each window."""
    cu_seqlens_W1: Tensor
    window_lengths: tuple[int, ...]
    """Rows that attend to each other: those of a whole protein, or of one window of it."""
    lengths: tuple[int, ...]
    """Tokens per protein, residues + 2."""
    state_rows: Tensor
    """Rows whose states leave the encoder, by protein and in its order: residues and EOS, so residues + 1 each."""
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
    splice: Plan
    """The same as the splice reads it: for each of T, its token or its row of L."""
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
    moved: dict[str, Any] = {}
    for name, value in vars(batch).items():
        if isinstance(value, Tensor):
            moved[name] = sent(value, device)
        elif isinstance(value, Plan):
            moved[name] = Plan(*(sent(tensor, device) for tensor in value))
    return moved


def sent(tensor: Tensor, device: torch.device | str) -> Tensor:
    """A tensor on a device, without waiting: a GPU copies from pinned memory while the host goes on."""
    if torch.device(device).type == "cuda" and not tensor.is_cuda:
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def pack_proteins(sequences: Sequence[str], reading: Reading = EXACT) -> ProteinBatch:
    """Pack sequences of the encoder's letters, longest first being the caller's choice.

    Args:
        reading: the model's own, ``model.reading``; by default ESM-2's letters, one pass at any length.

    Raises:
        ValueError: no sequence, or a letter that `protein2text.proteins` should have refused.
        BeyondTraining: a protein that the reading refuses.
    """
    if not sequences:
        raise ValueError("a batch needs at least one protein")
    ids: list[int] = []
    window_lengths: list[int] = []
    state_rows: list[int] = []
    for number, sequence in enumerate(sequences):
        reading.check(f"protein {number} of the batch", len(sequence))
        row = reading.alphabet.row(sequence)
        for begin, end, first, last in reading.windows(len(sequence)):
            state_rows += range(len(ids) + first - begin, len(ids) + last - begin)
            ids += row[begin:end]
            window_lengths.append(end - begin)
    lengths = tuple(len(sequence) + 2 for sequence in sequences)
    return ProteinBatch(
        sequences=tuple(sequences), ids_S=torch.tensor(ids),
        positions_S=torch.cat([torch.arange(length) for length in window_lengths]),
        cu_seqlens_W1=starts(window_lengths), window_lengths=tuple(window_lengths), lengths=lengths,
        state_rows=torch.tensor(state_rows), state_cu_seqlens_B1=starts([length - 1 for length in lengths]),
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
        splice=plan(ids, dict(zip(protein_rows, sources, strict=True)), first_rows[-1]),
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


def pack(
    examples: Sequence[Example], proteins: Sequence[Sequence[str]], bridge: BridgeConfig, reading: Reading = EXACT
) -> Batch:
    """Pack examples with their proteins' sequences, longest protein first, each distinct sequence once."""
    distinct = sorted(
        {sequence for group in proteins for sequence in group}, key=lambda sequence: (-len(sequence), sequence)
    )
    number_of = {sequence: number for number, sequence in enumerate(distinct)}
    numbers = [[number_of[sequence] for sequence in group] for group in proteins]
    num_rows = [bridge.num_rows(len(sequence)) for sequence in distinct]
    return Batch(pack_proteins(distinct, reading), pack_text(examples, numbers, num_rows))
