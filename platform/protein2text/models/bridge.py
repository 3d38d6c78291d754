"""The bridge from residue states to decoder tokens: perceiver resampler, then projector.

Perceiver resampler of Flamingo (arXiv:2204.14198) in the form of Protein2Text (NAACL 2025): parameters carry the
published checkpoint's names, so that its tensors load without renaming.

Legend: B proteins, S packed residue rows, E encoder width, K latents, H heads, C channels per head, D decoder width.
"""

from typing import cast

import torch
from torch import Tensor, nn

from protein2text.models.batches import ProteinBatch
from protein2text.models.model_config import BridgeConfig
from protein2text_kernels.ragged_cross_attention import ragged_cross_attention


class CrossAttention(nn.Module):
    """Latents attend to residues and latents; both sides are normalized first, no projection has a bias."""

    def __init__(self, width: int, num_heads: int, head_dim: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim = num_heads, head_dim
        self.norm_media = nn.LayerNorm(width)
        self.norm_latents = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, num_heads * head_dim, bias=False)
        self.to_kv = nn.Linear(width, 2 * num_heads * head_dim, bias=False)
        self.to_out = nn.Linear(num_heads * head_dim, width, bias=False)

    def forward(self, states_SE: Tensor, latents_BKE: Tensor, proteins: ProteinBatch) -> Tensor:
        """What the latents gather, ``(B, K, E)``."""
        normed_BKE = self.norm_latents(latents_BKE)
        heads = (self.num_heads, self.head_dim)
        queries = self.to_q(normed_BKE).unflatten(-1, heads)
        latent_keys, latent_values = self.to_kv(normed_BKE).unflatten(-1, (2, *heads)).unbind(2)
        residue_keys, residue_values = self.to_kv(self.norm_media(states_SE)).unflatten(-1, (2, *heads)).unbind(1)
        gathered = ragged_cross_attention(
            queries, latent_keys, latent_values, residue_keys, residue_values,
            cu_seqlens_B1=proteins.state_cu_seqlens_B1, lengths=proteins.state_lengths, scale=self.head_dim**-0.5,
        )  # fmt: skip
        attended: Tensor = self.to_out(gathered.flatten(2))
        return attended


class Resampler(nn.Module):
    """Any number of residue states in, K latents out."""

    def __init__(self, width: int, config: BridgeConfig) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(config.num_latents, width))
        self.media_pos_emb = nn.Parameter(torch.randn(1, 1, width))
        hidden = width * config.feed_forward_multiple
        self.layers = nn.ModuleList(
            nn.ModuleList([
                CrossAttention(width, config.num_heads, config.head_dim),
                nn.Sequential(
                    nn.LayerNorm(width), nn.Linear(width, hidden, bias=False),
                    nn.GELU(), nn.Linear(hidden, width, bias=False),
                ),
            ])
            for _ in range(config.depth)
        )  # fmt: skip
        self.norm = nn.LayerNorm(width)

    def forward(self, states_SE: Tensor, proteins: ProteinBatch) -> Tensor:
        """Pool each protein's residue states into latents.

        Args:
            states_SE: ``(S, E)`` packed rows as the encoder gives them.
            proteins: the batch they came from.

        Returns:
            ``(B, K, E)`` in the parameters' dtype.
        """
        media_SE = states_SE.to(self.latents.dtype) + self.media_pos_emb[0, 0]
        latents_BKE = self.latents.expand(len(proteins.lengths), -1, -1)
        for layer in self.layers:
            attention, feed_forward = cast(nn.ModuleList, layer)
            latents_BKE = latents_BKE + attention(media_SE, latents_BKE, proteins)
            latents_BKE = latents_BKE + feed_forward(latents_BKE)
        normed: Tensor = self.norm(latents_BKE)
        return normed


def build_projector(encoder_width: int, decoder_width: int) -> nn.Sequential:
    """``mlp2x_gelu``: encoder width to decoder width, exact GELU, decoder width to decoder width."""
    return nn.Sequential(nn.Linear(encoder_width, decoder_width), nn.GELU(), nn.Linear(decoder_width, decoder_width))
