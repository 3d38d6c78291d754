"""Attention over packed rows: sequences lie end to end, each attends within itself, nothing is padded.

``PACKED`` is registered with transformers, so a decoder of the library runs on packed rows unchanged. On a GPU torch's
``varlen_attn`` does the work, on a CPU one scaled-dot-product call per sequence.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

PACKED = "protein2text_packed"


def packed_attention(
    queries_SHC: Tensor, keys_SHC: Tensor, values_SHC: Tensor, *, cu_seqlens: Tensor, lengths: Sequence[int],
    scale: float, causal: bool,
) -> Tensor:  # fmt: skip
    """Self-attention within each of the packed sequences.

    Args:
        queries_SHC: ``(S, H, C)`` rows, heads, channels; keys and values alike, or with fewer heads that divide H.
        cu_seqlens: int32 ``(B+1,)`` starts of the sequences on the device.
        lengths: the same as Python ints, so that nothing waits for the device.
        scale: multiplies the scores.

    Returns:
        ``(S, H, C)``.
    """
    grouped = queries_SHC.shape[1] != keys_SHC.shape[1]
    if queries_SHC.is_cuda:
        from torch.nn.attention.varlen import varlen_attn

        longest = max(lengths)
        window = (-1, 0) if causal else (-1, -1)
        attended = varlen_attn(
            queries_SHC, keys_SHC, values_SHC, cu_seqlens, cu_seqlens, longest, longest,
            scale=scale, window_size=window, enable_gqa=grouped,
        )  # fmt: skip
        assert isinstance(attended, Tensor), "varlen_attn returns a pair only when asked for statistics"
        return attended
    packed = (queries_SHC, keys_SHC, values_SHC)
    parts = zip(*(torch.split(rows.transpose(0, 1), list(lengths), dim=1) for rows in packed), strict=True)
    outputs = [
        F.scaled_dot_product_attention(q[None], k[None], v[None], scale=scale, is_causal=causal, enable_gqa=grouped)[0]
        for q, k, v in parts
    ]
    return torch.cat(outputs, dim=1).transpose(0, 1)


def _packed_forward(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, Tensor | None]:
    """transformers' attention signature; rows without lengths (generation) take the library's SDPA path."""
    lengths = kwargs.pop("packed_lengths", None)
    if lengths is None:
        output: tuple[Tensor, Tensor | None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **kwargs
        )
        return output
    attended = packed_attention(
        query[0].transpose(0, 1), key[0].transpose(0, 1), value[0].transpose(0, 1),
        cu_seqlens=kwargs["packed_cu_seqlens"], lengths=lengths, scale=kwargs["scaling"], causal=True,
    )  # fmt: skip
    return attended[None], None


def _packed_mask(*args: Any, **kwargs: Any) -> Tensor | None:
    mask: Tensor | None = sdpa_mask(*args, **kwargs)
    return mask


AttentionInterface.register(PACKED, _packed_forward)
AttentionMaskInterface.register(PACKED, _packed_mask)
