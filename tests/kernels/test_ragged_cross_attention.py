"""Ragged two-segment attention against a brute-force softmax in float64."""

import pytest
import torch
from torch import Tensor

from protein2text_kernels.ragged_cross_attention import ragged_cross_attention


def brute_force(
    queries: Tensor, latent_keys: Tensor, latent_values: Tensor, keys: Tensor, values: Tensor, scale: float
) -> Tensor:
    """One protein, ``(K, H, C)``: every query against every key, one score at a time."""
    all_keys, all_values = torch.cat([latent_keys, keys]), torch.cat([latent_values, values])
    output = torch.empty_like(queries)
    for latent in range(queries.shape[0]):
        for head in range(queries.shape[1]):
            scores = torch.stack([(queries[latent, head] * key[head]).sum() * scale for key in all_keys])
            weights = (scores - scores.max()).exp()
            output[latent, head] = (weights[:, None] * all_values[:, head]).sum(0) / weights.sum()
    return output


@pytest.mark.parametrize("lengths", [[0], [1, 0, 5], [33, 7, 7, 2]])
@pytest.mark.parametrize("latents", [1, 3])
def test_equals_brute_force(lengths: list[int], latents: int) -> None:
    generator = torch.Generator().manual_seed(sum(lengths) + latents)
    make = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    heads, channels, total = 2, 5, sum(lengths)
    queries, latent_keys, latent_values = (make(len(lengths), latents, heads, channels) for _ in range(3))
    keys, values = make(total, heads, channels), make(total, heads, channels)
    starts = torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()], dtype=torch.int32)
    ours = ragged_cross_attention(
        queries, latent_keys, latent_values, keys, values, cu_seqlens_B1=starts, lengths=lengths, scale=0.7
    )
    for number in range(len(lengths)):
        rows = slice(int(starts[number]), int(starts[number + 1]))
        expected = brute_force(
            queries[number], latent_keys[number], latent_values[number], keys[rows], values[rows], 0.7
        )
        torch.testing.assert_close(ours[number], expected, rtol=1e-12, atol=1e-12)


def test_lengths_that_do_not_add_up_are_refused() -> None:
    latents = torch.zeros(1, 2, 1, 4)
    rows = torch.zeros(3, 1, 4)
    starts = torch.tensor([0, 2], dtype=torch.int32)
    with pytest.raises(ValueError, match="add up to 2"):
        ragged_cross_attention(latents, latents, latents, rows, rows, cu_seqlens_B1=starts, lengths=[2], scale=1.0)
