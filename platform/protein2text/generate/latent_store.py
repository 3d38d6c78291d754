"""Latents of the proteins that are wanted now: each sequence is encoded once in a run, however often it is asked about.

Legend: K latents, D decoder width.
"""

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from protein2text.models.protein_to_text import ProteinToText


class LatentStore:
    """Holds the latents of the sequences in use. One that will be used again later waits on disk.

    Args:
        model: encodes.
        max_residues: of one forward of the encoder; a longer protein goes alone.
        uses: how many questions name each sequence.
    """

    def __init__(self, model: ProteinToText, max_residues: int, uses: Counter[str]) -> None:
        self._model, self._max_residues, self._uses = model, max_residues, uses
        self._held: dict[str, Tensor] = {}
        self._on_disk: dict[str, Path] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="protein2text-latents-")
        self.num_encoded = self.num_passes = self.num_hits = 0

    def close(self) -> None:
        """Remove what waits on disk."""
        self._folder.cleanup()

    @torch.inference_mode()
    def hold(self, groups: Sequence[Sequence[str]]) -> None:
        """Have the latents of all these questions' sequences in memory."""
        wanted = Counter(sequence for group in groups for sequence in group)
        missing = sorted(set(wanted) - set(self._held), key=lambda sequence: (-len(sequence), sequence))
        for sequence in self._on_disk.keys() & missing:
            self._held[sequence] = load_file(self._on_disk[sequence])["latents"].to(self._model.device)
        absent = [sequence for sequence in missing if sequence not in self._held]
        for batch in encoder_batches(absent, self._max_residues):
            self._held |= {name: rows_KD.clone() for name, rows_KD in self._model.latent_bank(set(batch)).items()}
            self.num_passes += 1
        self.num_encoded += len(absent)
        self.num_hits += wanted.total() - len(absent)

    def of(self, group: Sequence[str]) -> list[Tensor]:
        """Latents ``(K, D)`` of a question's sequences, which must be held."""
        return [self._held[sequence] for sequence in group]

    def release(self, groups: Iterable[Sequence[str]]) -> None:
        """These questions need no latents any more."""
        self._uses.subtract(sequence for group in groups for sequence in group)
        for sequence in list(self._held):
            latents_KD = self._held.pop(sequence)
            if self._uses[sequence] > 0 and sequence not in self._on_disk:
                self._on_disk[sequence] = Path(self._folder.name) / f"{len(self._on_disk)}.safetensors"
                save_file({"latents": latents_KD.cpu().contiguous()}, self._on_disk[sequence])


def encoder_batches(sequences: Sequence[str], max_residues: int) -> Iterator[list[str]]:
    """Sequences in their order, cut so that no batch holds more residues than allowed; a longer one stands alone."""
    batch: list[str] = []
    num_residues = 0
    for sequence in sequences:
        if batch and num_residues + len(sequence) > max_residues:
            yield batch
            batch, num_residues = [], 0
        batch.append(sequence)
        num_residues += len(sequence)
    if batch:
        yield batch
