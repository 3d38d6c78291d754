"""The encoder's layer and the resampler's attention in the reference's order of operations, for compatibility mode.

In bfloat16 every operation rounds, so fused kernels, exact as they are, drift from what the reference computed by
about 1e-2 over a few layers. These forms round where it rounded. Rows stay packed; only attention goes protein by
protein.

Legend: S packed rows, E encoder width, H heads, C channels per head, K latents, B proteins.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from protein2text_kernels.media_keys_values import Layer
from protein2text_kernels.qkv_rope.naive import split_and_rotate

if TYPE_CHECKING:
    from protein2text.models.encoder import EncoderLayer

QUERY_BLOCK = 1024
"""Queries per matrix of scores, which bounds memory and changes no result."""


def encoder_layer(
    layer: "EncoderLayer", stream_SE: Tensor, cos_SC: Tensor, sin_SC: Tensor, lengths: Sequence[int], num_heads: int
) -> Tensor:
    """One pre-norm layer of ESM-2, ``(S, E)`` to ``(S, E)``."""
    qkv_S3HC = layer.qkv(layer.attention_norm(stream_SE)).unflatten(-1, (3, num_heads, -1))
    rows = split_and_rotate(qkv_S3HC, cos_SC, sin_SC, qkv_S3HC.shape[-1] ** -0.5)
    parts = zip(*(torch.split(part.transpose(0, 1), list(lengths), dim=1) for part in rows), strict=True)
    attended = torch.cat([_attend(queries, keys, values) for queries, keys, values in parts], dim=1)
    stream_SE = layer.attention_out(attended.transpose(0, 1).flatten(1)) + stream_SE
    hidden = layer.feed_forward_in(layer.feed_forward_norm(stream_SE))
    hidden = hidden * 0.5 * (1.0 + torch.erf(hidden / math.sqrt(2.0)))
    output: Tensor = layer.feed_forward_out(hidden) + stream_SE
    return output


def _attend(queries_HRC: Tensor, keys_HRC: Tensor, values_HRC: Tensor) -> Tensor:
    blocks = torch.split(queries_HRC, QUERY_BLOCK, dim=1)
    return torch.cat([(block @ keys_HRC.mT).softmax(-1) @ values_HRC for block in blocks], dim=1)


def media_keys_values(
    states_SE: Tensor, position_E: Tensor, layers: Sequence[Layer], *, eps: float
) -> tuple[Tensor, ...]:
    """The kernel of this name, layer by layer."""
    media_SE = states_SE.to(position_E.dtype) + position_E
    return tuple(
        F.linear(F.layer_norm(media_SE, media_SE.shape[-1:], layer.weight_E, layer.shift_E, eps), layer.to_kv_FE)
        for layer in layers
    )


def ragged_cross_attention(
    queries_BKHC: Tensor, latent_keys_BKHC: Tensor, latent_values_BKHC: Tensor, residue_keys_SHC: Tensor,
    residue_values_SHC: Tensor, *, cu_seqlens_B1: Tensor, lengths: Sequence[int], scale: float,
) -> Tensor:  # fmt: skip
    """The kernel of this name with scores, shifted scores and probabilities rounded one by one."""
    keys = torch.split(residue_keys_SHC.transpose(0, 1), list(lengths), dim=1)
    values = torch.split(residue_values_SHC.transpose(0, 1), list(lengths), dim=1)
    outputs = []
    for number in range(len(lengths)):
        keys_HRC = torch.cat((keys[number], latent_keys_BKHC[number].transpose(0, 1)), dim=1)
        values_HRC = torch.cat((values[number], latent_values_BKHC[number].transpose(0, 1)), dim=1)
        scores = (queries_BKHC[number].transpose(0, 1) * scale) @ keys_HRC.mT
        outputs.append((scores - scores.amax(-1, keepdim=True)).softmax(-1) @ values_HRC)
    return torch.stack(outputs).transpose(1, 2)
