"""A frozen encoder that remembers: a protein that comes back is not read again.

Worth it where records share proteins: in instruction tuning each carries some forty questions, so an epoch would encode
it forty times. What is kept is bounded, since the states of a whole corpus would be hundreds of gigabytes, and lies in
a folder: the workers of a run, its stages, and a run that goes on after a kill share it.

Legend: R residues and the end token of one protein, S packed residue rows, E encoder width.
"""

import hashlib
import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from protein2text.models.batches import ProteinBatch, pack_proteins
from protein2text.models.encoders import ResidueEncoder
from protein2text.models.long_proteins import Reading


class StateCache(nn.Module):
    """Stands in an encoder's place, and keeps the residue states of each sequence in a file.

    Each protein is encoded alone, since the last bits of its states depend on what else is in a batch: so nothing
    depends on what is kept already, and a run that was killed goes on with the same states as one that was not.
    """

    def __init__(self, encoder: ResidueEncoder, reading: Reading, folder: Path, max_bytes: int) -> None:
        """Keep states in a folder, which may hold some already.

        Args:
            encoder: the frozen encoder.
            reading: how sequences become its input, ``model.reading``.
            folder: for this encoder, reading and precision alone; made if it is not there.
            max_bytes: that this process adds to the folder; after that, unknown proteins are encoded each time.
        """
        super().__init__()
        self.encoder = encoder
        self.width, self.row_bytes = encoder.width, encoder.row_bytes
        self.num_encoded = self.num_remembered = 0
        self._reading, self._folder, self._bytes_left = reading, folder, max_bytes
        folder.mkdir(parents=True, exist_ok=True)

    @torch.no_grad()
    def forward(self, proteins: ProteinBatch) -> Tensor:
        """Residue states ``(S, E)``, as the encoder gives them for each protein alone."""
        device = proteins.ids_S.device
        states_RE = [self._states_of(sequence, device) for sequence in proteins.sequences]
        return torch.cat(states_RE).to(device, non_blocking=True)

    def _states_of(self, sequence: str, device: torch.device) -> Tensor:
        """Of one protein, ``(R, E)`` in host memory."""
        path = self._folder / f"{hashlib.sha256(sequence.encode()).hexdigest()}.safetensors"
        try:
            states_RE = load_file(path)["states"]
        except (FileNotFoundError, SafetensorError):  # unknown, or cut short when the machine stopped
            states_RE = self.encoder(pack_proteins([sequence], self._reading).to(device)).cpu()
            self.num_encoded += 1
            self._keep(states_RE, path)
        else:
            self.num_remembered += 1
        return states_RE

    def _keep(self, states_RE: Tensor, path: Path) -> None:
        if states_RE.nbytes > self._bytes_left:
            return
        partial = path.with_suffix(f".{os.getpid()}.partial")  # two workers may write the same states at once
        save_file({"states": states_RE.contiguous()}, partial)
        partial.replace(path)
        self._bytes_left -= states_RE.nbytes
