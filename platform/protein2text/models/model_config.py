"""What a Protein2Text model is made of, as configuration."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from protein2text.base_config import Config
from protein2text.models.long_proteins import LongProteins

ESM2_LAYER = -2
"""The last layer but one, before the final norm: what Protein2Text was trained on (NAACL 2025)."""

Dtype = Literal["float32", "bfloat16", "float16"]
Part = Literal["encoder", "decoder"]
PARTS: tuple[Part, ...] = ("encoder", "decoder")
"""What a model is made from, each a base of its own."""


class EncoderConfig(Config):
    """The frozen protein encoder: ESM-2 of any size, or another that `encoders` knows."""

    family: str = "esm2"
    """Registered architecture."""
    source: str
    """Hugging Face folder, fair-esm ``.pt`` file, hub id, or ``preset:NAME`` for weights that ship with the package."""
    revision: str | None = None
    """Hub revision; needed for a hub id."""
    layer: int | None = None
    """Index into the states (embeddings, layer 1, …, layer N), negative ones from the end; by default the family's own,
    for ESM-2 -2, the output of the last layer but one."""
    dtype: Dtype = "float32"
    esm_rope: Literal["exact", "legacy_bf16"] = "exact"
    """``legacy_bf16`` builds rotary positions in bfloat16, as the published checkpoint saw them."""


class BridgeConfig(Config):
    """From residue states to decoder rows. Every kind ends in the two-layer GELU projector."""

    kind: Literal["resampler", "projector", "gated_cross_attention"] = "resampler"
    """``resampler`` pools a protein into latents, ``projector`` gives the decoder every residue state,
    ``gated_cross_attention`` lets the resampled latents read the question (Flamingo, arXiv:2204.14198)."""
    num_latents: int = Field(128, ge=1)
    """Latents K per protein. This and all below size the resampler and the cross-attention; a projector has none."""
    depth: int = Field(2, ge=1)
    num_heads: int = Field(8, ge=1)
    head_dim: int = Field(64, ge=1)
    feed_forward_multiple: int = Field(2, ge=1)

    def num_rows(self, num_residues: int) -> int:
        """Decoder rows that a protein takes."""
        return num_residues + 1 if self.kind == "projector" else self.num_latents

    def num_positions(self, num_ids: int, sequences: Iterable[str]) -> int:
        """Decoder positions of ``num_ids`` token ids once the placeholder of each sequence has widened to its rows."""
        return num_ids + sum(self.num_rows(len(sequence)) - 1 for sequence in sequences)


class LoraConfig(Config):
    """Low-rank adapters (arXiv:2106.09685) on the decoder's linear layers; trained in instruction tuning."""

    rank: int = Field(64, ge=1)
    alpha: int = Field(16, ge=1)
    dropout: float = Field(0.05, ge=0.0, lt=1.0)
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class DecoderConfig(Config):
    """The language model: LLaMA or any causal decoder with a chat template."""

    source: str
    """Hugging Face folder, hub id, or ``preset:NAME``."""
    revision: str | None = None
    dtype: Dtype = "float32"
    lora: LoraConfig = LoraConfig()


class ModelConfig(Config):
    """Encoder, bridge and decoder of one model."""

    encoder: EncoderConfig
    bridge: BridgeConfig = BridgeConfig()
    decoder: DecoderConfig
    origin: Literal["trained", "published"] = "trained"
    """Trained by this program, or converted from a checkpoint of the published layout."""
    long_proteins: LongProteins = "auto"
    """How proteins above the encoder's training length (ESM-2: 1,022 residues) are read."""

    @classmethod
    def stored_in(cls, folder: Path) -> Self:
        """What ``config.json`` of a model folder says; raises what ``parse`` raises."""
        path = folder / "config.json"
        return cls.parse(json.loads(path.read_text(encoding="utf-8")), path=str(path))

    @model_validator(mode="after")
    def _encoder_is_frozen_whole(self) -> Self:
        if self.encoder.layer == 0:
            raise ValueError(
                "encoder.layer=0 selects the embeddings, which know nothing of context; use 1 or above, or negative"
            )
        return self
