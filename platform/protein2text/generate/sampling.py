"""Choose the next token of each answer from its logits, the same one whatever else is in the batch.

Legend: N answers under way, V vocabulary.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from protein2text.models.generation import Decoding

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_MIX = ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64))
"""SplitMix64's increment, and its shifts and multipliers, as signed 64-bit numbers (Steele et al., OOPSLA 2014)."""


@dataclass(frozen=True)
class Draw:
    """How and where one token is drawn."""

    decoding: Decoding
    position: int
    """0 for the first token of the answer."""


def choose(logits_NV: Tensor, draws: Sequence[Draw]) -> list[int]:
    """The next token id of each answer.

    Temperature 0 takes the most likely token. Otherwise Gumbel-max: the noise depends on the seed, the position in
    the answer and the token id alone, so an answer repeats alone, in a batch, and when it is taken up again
    half-way on another replica.

    Args:
        logits_NV: ``(N, V)``, any float dtype.
        draws: one per row.
    """
    ids = logits_NV.argmax(-1).tolist()
    sampled = [number for number, draw in enumerate(draws) if draw.decoding.temperature > 0]
    if sampled:
        settings = [draws[number].decoding for number in sampled]
        temperature_N1 = logits_NV.new_tensor([[s.temperature] for s in settings], dtype=torch.float32)
        top_p_N1 = logits_NV.new_tensor([[s.top_p] for s in settings], dtype=torch.float32)
        scaled_NV = most_likely(logits_NV[sampled].float() / temperature_N1, [s.top_k for s in settings])
        kept_NV = nucleus(scaled_NV, top_p_N1)
        keys = [key(draws[number].decoding.seed, draws[number].position) for number in sampled]
        noise_NV = gumbel(torch.tensor(keys, device=logits_NV.device), kept_NV.shape[1])
        for number, id in zip(sampled, (kept_NV + noise_NV).argmax(-1).tolist(), strict=True):
            ids[number] = id
    return list(ids)


def most_likely(logits_NV: Tensor, top_k: Sequence[int | None]) -> Tensor:
    """Logits with minus infinity below the ``top_k``-th highest of each row; its equals stay, and None keeps all."""
    if not any(top_k):
        return logits_NV
    limits = [min(k or logits_NV.shape[1], logits_NV.shape[1]) for k in top_k]
    highest_NK = logits_NV.topk(max(limits)).values
    last_N1 = highest_NK.gather(1, torch.tensor(limits, device=logits_NV.device)[:, None] - 1)
    return logits_NV.masked_fill(logits_NV < last_N1, -torch.inf)


def nucleus(logits_NV: Tensor, top_p_N1: Tensor) -> Tensor:
    """Logits with minus infinity outside the smallest set of tokens whose probability reaches ``top_p``.

    At least one token stays; 1 keeps all (nucleus sampling, arXiv:1904.09751).
    """
    sorted_NV, order_NV = logits_NV.sort(descending=True)
    probability_NV = sorted_NV.softmax(-1)
    before_NV = probability_NV.cumsum(-1) - probability_NV
    surplus_NV = (before_NV >= top_p_N1) & (top_p_N1 < 1)
    outside_NV = torch.zeros_like(surplus_NV).scatter(1, order_NV, surplus_NV)
    return logits_NV.masked_fill(outside_NV, -torch.inf)


def key(seed: int, position: int) -> int:
    """A signed 64-bit number for one token's place."""
    digest = hashlib.blake2b(f"{seed}:{position}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def gumbel(keys_N: Tensor, num_tokens: int) -> Tensor:
    """``(N, num_tokens)`` standard Gumbel noise, a function of key and token id.

    SplitMix64 in wrapping 64-bit integers, so that every device makes the same bits.
    """
    state = keys_N[:, None] + torch.arange(1, num_tokens + 1, device=keys_N.device) * _GOLDEN
    for shift, multiplier in _MIX:
        state = (state ^ _shift_right(state, shift)) * multiplier
    bits = _shift_right(state ^ _shift_right(state, 31), 11)
    uniform = (bits.double() + 0.5) * 2.0**-53
    return -torch.log(-torch.log(uniform)).float()


def _shift_right(state: Tensor, shift: int) -> Tensor:
    """Of the bits as unsigned; torch's own shift would copy the sign."""
    return (state >> shift) & ((1 << (64 - shift)) - 1)
