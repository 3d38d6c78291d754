"""Choose the next token of one answer from its logits, the same one whatever else is in the batch."""

import hashlib

import torch
from torch import Tensor


def choose(logits_V: Tensor, *, temperature: float, top_p: float, seed: int, position: int) -> int:
    """The next token id.

    Temperature 0 takes the most likely token. Otherwise Gumbel-max: the noise depends on the seed, the position in
    the answer and the token id alone, so an answer repeats alone, in a batch, and when it is taken up again
    half-way on another replica.

    Args:
        logits_V: ``(V,)`` of one row, any float dtype.
        temperature: 0 or above.
        top_p: keep the smallest set of most likely tokens whose probability reaches this (nucleus sampling,
            arXiv:1904.09751), at least one.
        seed: of the request.
        position: 0 for the first token of the answer.
    """
    if temperature == 0:
        return int(logits_V.argmax())
    scaled_V = nucleus(logits_V.float().cpu() / temperature, top_p)
    return int((scaled_V + gumbel(seed, position, len(scaled_V))).argmax())


def nucleus(logits_V: Tensor, top_p: float) -> Tensor:
    """Logits with minus infinity outside the smallest set of tokens whose probability reaches ``top_p``."""
    if top_p >= 1:
        return logits_V
    sorted_V, order_V = logits_V.sort(descending=True)
    probability_V = sorted_V.softmax(-1)
    before_V = probability_V.cumsum(-1) - probability_V
    outside_V = torch.zeros_like(order_V, dtype=torch.bool).scatter(0, order_V, before_V >= top_p)
    return logits_V.masked_fill(outside_V, -torch.inf)


def gumbel(seed: int, position: int, num_tokens: int) -> Tensor:
    """``(num_tokens,)`` standard Gumbel noise, a function of seed, position and token id."""
    key = hashlib.blake2b(f"{seed}:{position}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(key, "big") >> 1)
    uniform_V = torch.rand(num_tokens, generator=generator, dtype=torch.float64).clamp_min(1e-300)
    return -torch.log(-torch.log(uniform_V)).float()
