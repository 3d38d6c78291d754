"""A frozen encoder that remembers: a protein whose states are in a folder is not read again.

Worth it where records share proteins: in instruction tuning each carries some forty questions, so an epoch would encode
it forty times. The folder is the run's own, or one that its user names and that runs share and ``protein2text embed``
fills beforehand.

Legend: R residues and the end token of one protein, S packed residue rows, E encoder width.
"""

import hashlib
import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from protein2text.errors import MissingFile
from protein2text.models.batches import ProteinBatch, pack_proteins, sent
from protein2text.models.encoders import ResidueEncoder
from protein2text.models.feature_store import SHARD_BYTES, FeatureStore, checksum_of
from protein2text.models.long_proteins import Reading

logger = logging.getLogger(__name__)

WRITTEN_AFTER_S = 10.0
"""New states wait for company no longer than this before they become a shard, which other processes then see."""


def encoding_of(encoder: nn.Module, reading: Reading, precision: str) -> dict[str, Any]:
    """All that residue states depend on beside the sequence.

    Args:
        encoder: with its weights, of which those above the chosen layer are not loaded: so equal weights are the same
            encoding from whatever file or format, and another layer is another one. Its ``shape``, where it has one,
            counts too: heads, token dropout and the norms' epsilon change states and leave no trace in the weights.
        reading: how sequences become its input.
        precision: ``bf16`` if it runs under autocast, else ``fp32``.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return {
        "weights_sha256": digest.hexdigest(),
        "shape": asdict(encoder.shape) if hasattr(encoder, "shape") else None,  # type: ignore[call-overload]
        "rope": getattr(encoder, "rope", None),
        "letters": reading.alphabet.letters,
        "long_proteins": reading.long_proteins,
        "training_residues": reading.training_residues,
        "precision": precision,
    }


class FeatureCache(nn.Module):
    """Stands in an encoder's place; takes states from a store, and gives it those that it had to compute.

    Each protein is encoded alone, since the last bits of its states depend on what else is in a batch: so nothing
    depends on what is kept already, and a run that was killed goes on with the same states as one that was not. Only
    `embed` encodes in batches, for speed; a run takes what that left as it is.
    """

    def __init__(self, encoder: ResidueEncoder, reading: Reading, store: FeatureStore) -> None:
        super().__init__()
        self.encoder = encoder
        self.width, self.row_bytes = encoder.width, encoder.row_bytes
        self.num_encoded = self.num_remembered = self.num_not_kept = 0
        self._reading, self._store = reading, store
        self._waiting: dict[str, Tensor] = {}
        self._waiting_bytes = 0
        self._waiting_since = 0.0

    @torch.no_grad()
    def forward(self, proteins: ProteinBatch) -> Tensor:
        """Residue states ``(S, E)``, as the encoder gives them for each protein alone, or as they were left."""
        device = proteins.ids_S.device
        states_RE = [self._states_of(sequence, device) for sequence in proteins.sequences]
        self._write_if_due()
        return torch.cat(states_RE)

    def flush(self) -> None:
        """Write what waits."""
        if self._waiting and not self._store.add(self._waiting):
            if not self.num_not_kept:
                logger.warning("%s is full; proteins that it lacks are encoded each time", self._store.root)
            self.num_not_kept += len(self._waiting)
        self._waiting, self._waiting_bytes = {}, 0

    @property
    def counts(self) -> str:
        """What was done, for a person."""
        not_kept = f", {self.num_not_kept} of them not kept for want of room" if self.num_not_kept else ""
        return f"{self.num_encoded} proteins encoded{not_kept}, {self.num_remembered} times remembered"

    def _states_of(self, sequence: str, device: torch.device) -> Tensor:
        checksum = checksum_of(sequence)
        known_RE = self._waiting.get(checksum)
        if known_RE is None:
            known_RE = self._store.read(checksum)
        if known_RE is not None:
            self.num_remembered += 1
            return sent(known_RE, device)
        states_RE: Tensor = self.encoder(pack_proteins([sequence], self._reading).to(device))
        self.num_encoded += 1
        if states_RE.nbytes <= self._store.max_bytes:
            self._waiting_since = self._waiting_since if self._waiting else time.monotonic()
            self._waiting[checksum] = states_RE.cpu()
            self._waiting_bytes += states_RE.nbytes
        return states_RE

    def _write_if_due(self) -> None:
        if (
            self._waiting_bytes >= min(SHARD_BYTES, self._store.max_bytes // 8)
            or time.monotonic() - self._waiting_since >= WRITTEN_AFTER_S
        ):
            self.flush()


def open_cache(encoder: Any, reading: Reading, precision: str, folder: Path, max_bytes: int) -> FeatureCache:
    """An encoder, still on the CPU, that remembers in a folder; see `encoding_of` and `FeatureStore`.

    Raises:
        MissingFile: no such folder, and nothing may be added to it.
    """
    if not max_bytes and not folder.is_dir():
        remedy = "Fill it with `protein2text embed`, or set state_cache_gib of the stage so that the run does."
        raise MissingFile(str(folder), "the folder of data.features", remedy)
    return FeatureCache(encoder, reading, FeatureStore(folder, encoding_of(encoder, reading, precision), max_bytes))
