"""Attention over packed rows: sequences lie end to end, each attends within itself, nothing is padded.

``PACKED`` is registered with transformers, so a decoder of the library runs on packed rows unchanged. On a GPU torch's
``varlen_attn`` does the work, on a CPU one scaled-dot-product call per sequence.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from protein2text.errors import ConfigError

PACKED = "protein2text_packed"

NOT_PACKED = ("softcap", "s_aux", "position_bias")
"""Arguments of transformers' attention functions that change the result and that no packed path has."""

Side = tuple[Tensor, Sequence[int]]
"""Starts of packed sequences on the device, and their lengths as Python ints."""


def packed_attention(
    queries_SHC: Tensor, keys_SHC: Tensor, values_SHC: Tensor, *, cu_seqlens: Tensor, lengths: Sequence[int],
    scale: float, causal: bool, window: int | None = None,
) -> Tensor:  # fmt: skip
    """Self-attention within each of the packed sequences.

    Args:
        queries_SHC: ``(S, H, C)`` rows, heads, channels; keys and values alike, or with fewer heads that divide H.
        cu_seqlens: int32 ``(B+1,)`` starts of the sequences on the device.
        lengths: the same as Python ints, so that nothing waits for the device.
        scale: multiplies the scores.
        window: in causal attention, how many of the last rows a row sees, itself included; None is all.

    Returns:
        ``(S, H, C)``.
    """
    if _flash_takes(queries_SHC):
        reach = (-1 if window is None else window - 1, 0) if causal else (-1, -1)
        return _varlen(queries_SHC, keys_SHC, values_SHC, (cu_seqlens, lengths), (cu_seqlens, lengths), scale, reach)
    outputs = []
    for q, k, v in _split(queries_SHC, lengths, keys_SHC, values_SHC, lengths):
        mask = _window_mask(q, window) if causal and window is not None and q.shape[1] > window else None
        outputs.append(_attend(q, k, v, scale, is_causal=causal and mask is None, attn_mask=mask))
    return torch.cat(outputs, dim=1).transpose(0, 1)


def packed_cross_attention(
    queries_PHC: Tensor, keys_SHC: Tensor, values_SHC: Tensor, *, cu_seqlens: Tensor, lengths: Sequence[int],
    key_cu_seqlens: Tensor, key_lengths: Sequence[int], scale: float,
) -> Tensor:  # fmt: skip
    """Attention of each packed sequence of queries to the packed sequence of keys at the same place.

    Args:
        queries_PHC: ``(P, H, C)``; its sequences may be empty.
        keys_SHC: ``(S, H, C)``, values alike; none of its sequences is empty where the queries' is not.
        cu_seqlens: int32 ``(N+1,)`` starts of the queries' sequences, ``lengths`` their Python ints; keys alike.
        scale: multiplies the scores.

    Returns:
        ``(P, H, C)``.
    """
    if _flash_takes(queries_PHC):
        sides = (cu_seqlens, lengths), (key_cu_seqlens, key_lengths)
        return _varlen(queries_PHC, keys_SHC, values_SHC, *sides, scale, (-1, -1))
    parts = _split(queries_PHC, lengths, keys_SHC, values_SHC, key_lengths)
    return torch.cat([_attend(q, k, v, scale) for q, k, v in parts], dim=1).transpose(0, 1)


def _flash_takes(queries: Tensor) -> bool:
    """torch's ``varlen_attn`` is flash attention: half precisions on a GPU, channels in eights up to 256."""
    half = queries.dtype in (torch.bfloat16, torch.float16)
    return queries.is_cuda and half and queries.shape[-1] % 8 == 0 and queries.shape[-1] <= 256


def _varlen(
    queries: Tensor, keys: Tensor, values: Tensor, query_side: Side, key_side: Side, scale: float,
    window_size: tuple[int, int],
) -> Tensor:  # fmt: skip
    from torch.nn.attention.varlen import varlen_attn

    attended = varlen_attn(
        queries, keys, values, query_side[0], key_side[0], max(query_side[1]), max(key_side[1]),
        scale=scale, window_size=window_size, enable_gqa=queries.shape[1] != keys.shape[1],
    )  # fmt: skip
    assert isinstance(attended, Tensor), "varlen_attn returns a pair only when asked for statistics"
    return attended


def _split(
    queries: Tensor, lengths: Sequence[int], keys: Tensor, values: Tensor, key_lengths: Sequence[int]
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Queries, keys and values of one sequence after the other, ``(H, rows, C)``."""
    sides = ((queries, lengths), (keys, key_lengths), (values, key_lengths))
    return zip(*(torch.split(rows.transpose(0, 1), list(sizes), dim=1) for rows, sizes in sides), strict=True)


def _attend(queries: Tensor, keys: Tensor, values: Tensor, scale: float, **how: Any) -> Tensor:
    grouped = queries.shape[0] != keys.shape[0]
    return F.scaled_dot_product_attention(
        queries[None], keys[None], values[None], scale=scale, enable_gqa=grouped, **how
    )[0]


def _window_mask(queries: Tensor, window: int) -> Tensor:
    rows = torch.arange(queries.shape[1], device=queries.device)
    back = rows[:, None] - rows
    return (back >= 0) & (back < window)


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
    if unknown := sorted(name for name in NOT_PACKED if kwargs.get(name) is not None):
        raise ConfigError("model", "decoder.source", f"packed attention has no {unknown[0]}; choose another decoder")
    attended = packed_attention(
        query[0].transpose(0, 1), key[0].transpose(0, 1), value[0].transpose(0, 1),
        cu_seqlens=kwargs["packed_cu_seqlens"], lengths=lengths, scale=kwargs["scaling"], causal=True,
        window=kwargs.get("sliding_window"),
    )  # fmt: skip
    return attended[None], None


def _packed_mask(*args: Any, **kwargs: Any) -> Tensor | None:
    mask: Tensor | None = sdpa_mask(*args, **kwargs)
    return mask


AttentionInterface.register(PACKED, _packed_forward)
AttentionMaskInterface.register(PACKED, _packed_mask)
