"""One vector for a protein: the mean of its residue states, of length 1. Loads torch.

Legend: N sequences, S packed residue rows, R residues of one protein, E encoder width.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from protein2text.errors import CorruptCheckpoint
from protein2text.generate.latent_store import encoder_batches
from protein2text.generate.model_answerer import CPU_RESIDUES
from protein2text.models.batches import pack_proteins
from protein2text.models.checkpoints import sha256_of
from protein2text.models.encoders import build_encoder, family_of, layer_of
from protein2text.models.long_proteins import Reading
from protein2text.models.model_config import EncoderConfig
from protein2text.models.model_folder import base_files
from protein2text.models.sources import resolve_source

GPU_RESIDUES = 32_768
"""Residues of one forward of the encoder on a GPU."""
PLACE = ("source", "revision")
"""What of a configuration says where weights lie, and not what they are."""


class Embedder:
    """A loaded encoder. Proteins above its training length are read in windows.

    Raises:
        ConfigError: the family is not registered.
        MissingWeights: the weights cannot be found or do not fit.
    """

    def __init__(self, config: EncoderConfig, device: str) -> None:
        self._encoder, self._device = build_encoder(config).to(device), device
        self._reading = reading_of(config)
        self._max_residues = GPU_RESIDUES if device == "cuda" else CPU_RESIDUES

    @torch.inference_mode()
    def vectors(self, sequences: Sequence[str]) -> np.ndarray:
        """Float32 ``(N, E)``; a sequence's last bits depend on those that it is read with."""
        means = []
        for batch in encoder_batches(sequences, self._max_residues):
            proteins = pack_proteins(batch, self._reading).to(self._device)
            states_SE = self._encoder(proteins)
            for states_RE in states_SE.split(proteins.state_lengths):
                mean_E = states_RE[:-1].double().mean(dim=0)  # the last row is the end token's
                means.append((mean_E / mean_E.norm()).float())
        return torch.stack(means).cpu().numpy()


def reading_of(config: EncoderConfig) -> Reading:
    """How an encoder reads proteins here: in one pass up to its training length, in windows above."""
    family = family_of(config)
    return Reading(family.alphabet, family.training_residues, "auto")


def described(config: EncoderConfig) -> dict[str, Any]:
    """What an index says of its encoder: configuration, and the SHA-256 of each file of its weights.

    Raises:
        ConfigError: the family is not registered.
        MissingWeights: the weights cannot be found.
    """
    path = Path(config.source).expanduser()
    source = str(path.resolve()) if path.exists() else config.source
    config = config.model_copy(update={"source": source, "layer": layer_of(config)})
    files = base_files(resolve_source(source, config.revision))
    return {"config": config.model_dump(), "files": {file.name: sha256_of(file) for file in files}}


def weights_key(description: dict[str, Any]) -> str:
    """Equal for the same weights read in the same way, wherever they lie; hexadecimal."""
    config = {name: value for name, value in description["config"].items() if name not in PLACE}
    return hashlib.sha256(json.dumps([config, description["files"]], sort_keys=True).encode()).hexdigest()


def open_described(folder: Path, description: dict[str, Any]) -> Embedder:
    """The encoder that an index was embedded with, on the GPU where there is one.

    Args:
        folder: of the index, for the message.
        description: as `described` gave it.

    Raises:
        MissingWeights: it is not where it was.
        CorruptCheckpoint: other weights lie there.
    """
    config = EncoderConfig.parse(description["config"], path=str(folder))
    now = described(config)
    if weights_key(now) != weights_key(description):
        odd = sorted(dict(description["files"].items() ^ now["files"].items()))
        problem = f"the weights of {config.source} are not those of its embeddings: {', '.join(odd[:3])}"
        remedy = f"Put the old ones back, or run `protein2text index embed {folder} --encoder ENCODER` again."
        raise CorruptCheckpoint(str(folder), "index.json", problem, remedy)
    return Embedder(config, "cuda" if torch.cuda.is_available() else "cpu")
