"""The choice of one token: the distribution it draws from, and what it depends on."""

import math

import pytest
import torch

from protein2text.generate.sampling import choose, gumbel, nucleus

LOGITS_V = torch.tensor([2.0, 1.0, 0.0, -1.0, -4.0])


def frequencies(temperature: float, top_p: float, count: int = 6000) -> torch.Tensor:
    drawn = [choose(LOGITS_V, temperature=temperature, top_p=top_p, seed=seed, position=3) for seed in range(count)]
    return torch.bincount(torch.tensor(drawn), minlength=5) / count


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_come_with_their_softmax_probability(temperature: float) -> None:
    expected_V = (LOGITS_V / temperature).softmax(-1)
    spread_V = (expected_V * (1 - expected_V) / 6000).sqrt()
    assert ((frequencies(temperature, 1.0) - expected_V).abs() < 5 * spread_V + 1e-9).all()


def test_top_p_keeps_the_smallest_sufficient_set_and_its_proportions() -> None:
    probability_V = LOGITS_V.softmax(-1)  # 0.64, 0.24, 0.09, 0.03, 0.00
    kept = frequencies(1.0, 0.8)
    assert kept[2:].tolist() == [0, 0, 0]
    assert math.isclose(kept[0] / kept[1], probability_V[0] / probability_V[1], rel_tol=0.1)


def test_top_p_keeps_at_least_the_most_likely_token_wherever_it_stands() -> None:
    shuffled_V = LOGITS_V[torch.tensor([4, 2, 0, 3, 1])]
    assert torch.isfinite(nucleus(shuffled_V, 1e-6)).tolist() == [False, False, True, False, False]
    assert torch.equal(nucleus(shuffled_V, 1.0), shuffled_V)


def test_temperature_zero_is_greedy_whatever_the_seed() -> None:
    assert {choose(LOGITS_V, temperature=0, top_p=0.1, seed=seed, position=seed) for seed in range(20)} == {0}


def test_noise_is_a_function_of_seed_and_position() -> None:
    torch.manual_seed(0)
    first = gumbel(5, 9, 1000)
    torch.manual_seed(1)
    assert torch.equal(gumbel(5, 9, 1000), first)
    assert not torch.equal(gumbel(5, 10, 1000), first)
    assert not torch.equal(gumbel(6, 9, 1000), first)
    assert torch.equal(gumbel(2**63 - 1, 9, 10), gumbel(2**63 - 1, 9, 10))
    assert torch.isfinite(first).all()


def test_bfloat16_logits_are_drawn_in_full_precision() -> None:
    logits_V = torch.full((4,), 100.0, dtype=torch.bfloat16)
    drawn = {choose(logits_V, temperature=1.0, top_p=1.0, seed=seed, position=0) for seed in range(60)}
    assert drawn == {0, 1, 2, 3}
