"""The choice of one token: the distribution it draws from, and what it depends on."""

import math

import pytest
import torch
from transformers import TopKLogitsWarper, TopPLogitsWarper

from protein2text.generate.sampling import Draw, choose, gumbel, key, most_likely, nucleus
from protein2text.generate.seeds import record_seed
from protein2text.models.generation import Decoding

LOGITS_V = torch.tensor([2.0, 1.0, 0.0, -1.0, -4.0])


def draw(temperature: float, top_p: float, seed: int, position: int) -> Draw:
    return Draw(Decoding(temperature=temperature, top_p=top_p, seed=seed), position)


def frequencies(temperature: float, top_p: float, count: int = 6000) -> torch.Tensor:
    drawn = choose(LOGITS_V.expand(count, -1), [draw(temperature, top_p, seed, 3) for seed in range(count)])
    return torch.bincount(torch.tensor(drawn), minlength=5) / count


def splitmix64(state: int, count: int) -> list[int]:
    """The published generator in Python's integers of any size."""
    numbers = []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) % 2**64
        numbers.append(mixed ^ (mixed >> 31))
    return numbers


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
    shuffled_NV = LOGITS_V[torch.tensor([4, 2, 0, 3, 1])].expand(2, -1)
    kept_NV = nucleus(shuffled_NV, torch.tensor([[1e-6], [1.0]]))
    assert torch.isfinite(kept_NV[0]).tolist() == [False, False, True, False, False]
    assert torch.equal(kept_NV[1], shuffled_NV[1])


def test_cuts_are_those_of_transformers_in_its_order() -> None:
    generator = torch.Generator().manual_seed(0)
    logits_NV = (3 * torch.randn(40, 101, generator=generator)).round(decimals=1)  # with equals
    for top_k, top_p in ((50, 0.9), (3, 0.9), (1, 0.5), (101, 0.99), (500, 0.3)):
        theirs_NV = TopPLogitsWarper(top_p)(None, TopKLogitsWarper(top_k)(None, logits_NV))
        ours_NV = nucleus(most_likely(logits_NV, [top_k] * 40), torch.full((40, 1), top_p))
        kept = [[sorted(row[row.isfinite()].tolist()) for row in rows] for rows in (ours_NV, theirs_NV)]
        assert kept[0] == kept[1], (top_k, top_p)


def test_each_row_has_its_own_top_k() -> None:
    kept_NV = most_likely(LOGITS_V.expand(4, -1), [None, 2, 5, 1])
    assert torch.isfinite(kept_NV).sum(1).tolist() == [5, 2, 5, 1]
    alone = {choose(LOGITS_V[None], [Draw(Decoding(temperature=5.0, top_k=2, seed=seed), 0)])[0] for seed in range(99)}
    assert alone == {0, 1}


def test_temperature_zero_is_greedy_whatever_the_seed_and_the_company() -> None:
    draws = [draw(0, 0.1, seed, seed) if seed % 2 else draw(1.0, 1.0, seed, seed) for seed in range(40)]
    drawn = choose(LOGITS_V.expand(40, -1), draws)
    assert set(drawn[1::2]) == {0}
    assert len(set(drawn[::2])) > 1


def test_a_row_is_drawn_alike_alone_and_in_any_batch() -> None:
    generator = torch.Generator().manual_seed(0)
    logits_NV = torch.randn(7, 301, generator=generator)
    draws = [draw(0.3 * row, 1 - 0.1 * row, row * 2**60, row) for row in range(7)]
    together = choose(logits_NV, draws)
    assert together == [choose(logits_NV[row : row + 1], draws[row : row + 1])[0] for row in range(7)]
    assert together == choose(logits_NV.flip(0), draws[::-1])[::-1]


@pytest.mark.parametrize("state", [0, 1, -1, 2**63 - 1, -(2**63)])
def test_noise_is_that_of_the_published_generator(state: int) -> None:
    noise_V = gumbel(torch.tensor([state]), 50)[0]
    expected = [-math.log(-math.log(((number >> 11) + 0.5) / 2**53)) for number in splitmix64(state % 2**64, 50)]
    assert torch.allclose(noise_V, torch.tensor(expected), rtol=1e-6, atol=1e-6)


def test_seeds_positions_and_records_each_change_the_noise() -> None:
    assert len({key(seed, position) for seed in (0, 5, 2**63 - 1) for position in range(50)}) == 150
    assert len({record_seed(seed, record) for seed in (0, 1) for record in ("P1_0", "P1_1", "P10")}) == 6
    assert all(0 <= record_seed(seed, "P1") < 2**63 for seed in range(100))


def test_bfloat16_logits_are_drawn_in_full_precision() -> None:
    logits_NV = torch.full((60, 4), 100.0, dtype=torch.bfloat16)
    assert set(choose(logits_NV, [draw(1.0, 1.0, seed, 0) for seed in range(60)])) == {0, 1, 2, 3}
