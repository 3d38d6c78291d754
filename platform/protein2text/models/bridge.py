"""The bridge from residue states to decoder rows: a resampler, a projector and a gated cross-attention, by kind.

Perceiver resampler and gated cross-attention of Flamingo (arXiv:2204.14198) in the form of Protein2Text (NAACL 2025):
parameters carry the published names, so that published tensors load without renaming.

Legend: B proteins, S packed residue rows, E encoder width, K latents, L decoder rows of all proteins end to end,
T packed tokens, P the rows of T that proteins fill, H heads, C channels per head, D decoder width.
"""

from typing import cast

import torch
from torch import Tensor, nn

from protein2text.models.attention import packed_cross_attention
from protein2text.models.batches import ProteinBatch, TextBatch
from protein2text.models.model_config import BridgeConfig
from protein2text_kernels.media_keys_values import Layer, media_keys_values
from protein2text_kernels.ragged_cross_attention import ragged_cross_attention


class Bridge(nn.Module):
    """Up to three parts in a row; the configuration's kind says which.

    | kind | parts |
    |---|---|
    | resampler | resampler, projector |
    | projector | projector |
    | gated_cross_attention | resampler, projector, gated cross-attention |

    The first two see proteins alone, so their rows can be kept by sequence; only the third sees the question.
    """

    def __init__(self, config: BridgeConfig, encoder_width: int, decoder_width: int) -> None:
        super().__init__()
        self.mm_resampler = None if config.kind == "projector" else Resampler(encoder_width, config)
        self.mm_projector = build_projector(encoder_width, decoder_width)
        self.reads_question = config.kind == "gated_cross_attention"
        self.mm_gated_cross_attention = GatedCrossAttention(decoder_width, config) if self.reads_question else None

    def forward(self, states_SE: Tensor, proteins: ProteinBatch) -> Tensor:
        """Decoder rows of each protein, ``(L, D)``, as many as ``BridgeConfig.num_rows`` says.

        Args:
            states_SE: ``(S, E)`` packed rows as the encoder gives them.
            proteins: the batch they came from.
        """
        if self.mm_resampler is None:
            media = states_SE.to(cast(nn.Linear, self.mm_projector[0]).weight.dtype)
        else:
            media = self.mm_resampler(states_SE, proteins).flatten(0, 1)
        rows_LD: Tensor = self.mm_projector(media)
        return rows_LD

    def read_question(self, rows_PD: Tensor, embeddings_TD: Tensor, text: TextBatch) -> Tensor:
        """What the decoder gets for the proteins of each example, ``(P, D)``: their rows, once they read its question.

        Args:
            rows_PD: rows of each example's proteins, in the order of ``text.protein_rows_P``.
            embeddings_TD: token embeddings of ``text``.
        """
        if self.mm_gated_cross_attention is None or not len(rows_PD):
            return rows_PD
        read: Tensor = self.mm_gated_cross_attention(rows_PD, embeddings_TD[text.question_rows], text)
        return read


class CrossAttention(nn.Module):
    """Latents attend to residues and latents; both sides are normalized first, no projection has a bias."""

    def __init__(self, width: int, num_heads: int, head_dim: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim = num_heads, head_dim
        self.attend = ragged_cross_attention
        self.norm_media = nn.LayerNorm(width)
        self.norm_latents = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, num_heads * head_dim, bias=False)
        self.to_kv = nn.Linear(width, 2 * num_heads * head_dim, bias=False)
        self.to_out = nn.Linear(num_heads * head_dim, width, bias=False)

    def forward(self, keys_values_SF: Tensor, latents_BKE: Tensor, proteins: ProteinBatch) -> Tensor:
        """What the latents gather, ``(B, K, E)``.

        Args:
            keys_values_SF: of the residues, `Resampler.keys_values`.
            latents_BKE: or ``(1, K, E)`` where they are the same for every protein, and are then projected once.
            proteins: the batch.
        """
        heads = (self.num_heads, self.head_dim)
        normed_BKE = self.norm_latents(latents_BKE)
        keys_values_BKF = self.to_kv(normed_BKE)
        queries_BKHC = self.to_q(normed_BKE).unflatten(-1, heads)
        latent_keys, latent_values = keys_values_BKF.unflatten(-1, (2, *heads)).unbind(2)
        residue_keys, residue_values = keys_values_SF.view(-1, 2, *heads).unbind(1)
        per_protein = (len(proteins.lengths), -1, -1, -1)
        gathered = self.attend(
            queries_BKHC.expand(per_protein), latent_keys.expand(per_protein), latent_values.expand(per_protein),
            residue_keys, residue_values,
            cu_seqlens_B1=proteins.state_cu_seqlens_B1, lengths=proteins.state_lengths, scale=self.head_dim**-0.5,
        )  # fmt: skip
        attended: Tensor = self.to_out(gathered.flatten(2))
        return attended


class Resampler(nn.Module):
    """Any number of residue states in, K latents out."""

    def __init__(self, width: int, config: BridgeConfig) -> None:
        super().__init__()
        self.read_media = media_keys_values
        self.latents = nn.Parameter(torch.randn(config.num_latents, width))
        self.media_pos_emb = nn.Parameter(torch.randn(1, 1, width))
        self.layers = nn.ModuleList(
            nn.ModuleList([
                CrossAttention(width, config.num_heads, config.head_dim),
                build_feed_forward(width, config.feed_forward_multiple),
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
        latents_BKE = self.latents[None]
        for layer, keys_values_SF in zip(self.layers, self.keys_values(states_SE), strict=True):
            attention, feed_forward = cast(nn.ModuleList, layer)
            latents_BKE = latents_BKE + attention(keys_values_SF, latents_BKE, proteins)
            latents_BKE = latents_BKE + feed_forward(latents_BKE)
        normed: Tensor = self.norm(latents_BKE)
        return normed

    def keys_values(self, states_SE: Tensor) -> tuple[Tensor, ...]:
        """Keys and values of the residues for each layer, ``(S, F)`` each; keys of all heads first."""
        attentions = [cast(CrossAttention, cast(nn.ModuleList, layer)[0]) for layer in self.layers]
        parts = [Layer(each.norm_media.weight, each.norm_media.bias, each.to_kv.weight) for each in attentions]
        return self.read_media(states_SE, self.media_pos_emb[0, 0], parts, eps=attentions[0].norm_media.eps)


class QuestionAttention(nn.Module):
    """Rows attend to a text's token embeddings; only the rows are normalized, no projection has a bias."""

    def __init__(self, width: int, num_heads: int, head_dim: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim = num_heads, head_dim
        self.norm = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, num_heads * head_dim, bias=False)
        self.to_kv = nn.Linear(width, 2 * num_heads * head_dim, bias=False)
        self.to_out = nn.Linear(num_heads * head_dim, width, bias=False)

    def forward(self, rows_PD: Tensor, question_QD: Tensor, text: TextBatch) -> Tensor:
        """What the rows of each example gather from its question, ``(P, D)``."""
        heads = (self.num_heads, self.head_dim)
        keys, values = self.to_kv(question_QD).unflatten(-1, (2, *heads)).unbind(1)
        gathered = packed_cross_attention(
            self.to_q(self.norm(rows_PD)).unflatten(-1, heads), keys, values,
            cu_seqlens=text.protein_cu_seqlens_N1, lengths=text.protein_lengths,
            key_cu_seqlens=text.question_cu_seqlens_N1, key_lengths=text.question_lengths, scale=self.head_dim**-0.5,
        )  # fmt: skip
        attended: Tensor = self.to_out(gathered.flatten(1))
        return attended


class GatedCrossAttention(nn.Module):
    """Flamingo's gated block: attention to the question, then a feed-forward, each through a tanh gate that opens at 0.

    The reference attends over the whole text, in training the answer too; this one over ``TextBatch.question_rows``.
    """

    def __init__(self, width: int, config: BridgeConfig) -> None:
        super().__init__()
        self.attn = QuestionAttention(width, config.num_heads, config.head_dim)
        self.attn_gate = nn.Parameter(torch.zeros(1))
        self.ff = build_feed_forward(width, config.feed_forward_multiple)
        self.ff_gate = nn.Parameter(torch.zeros(1))

    def forward(self, rows_PD: Tensor, question_QD: Tensor, text: TextBatch) -> Tensor:
        """The rows with what they read added, ``(P, D)``."""
        rows_PD = rows_PD + self.attn_gate.tanh() * self.attn(rows_PD, question_QD.to(self.attn_gate.dtype), text)
        read_PD: Tensor = rows_PD + self.ff_gate.tanh() * self.ff(rows_PD)
        return read_PD


def build_feed_forward(width: int, multiple: int) -> nn.Sequential:
    """LayerNorm, linear, exact GELU, linear; no biases but the norm's."""
    hidden = width * multiple
    return nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, hidden, bias=False), nn.GELU(), nn.Linear(hidden, width, bias=False)
    )


def build_projector(encoder_width: int, decoder_width: int) -> nn.Sequential:
    """``mlp2x_gelu``: encoder width to decoder width, exact GELU, decoder width to decoder width."""
    return nn.Sequential(nn.Linear(encoder_width, decoder_width), nn.GELU(), nn.Linear(decoder_width, decoder_width))
