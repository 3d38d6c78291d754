"""The learning rate against transformers' schedule, which the published recipe used, and against the closed form."""

import math
from collections.abc import Callable

import pytest
import torch
from transformers import get_cosine_schedule_with_warmup

from protein2text.train.schedule import learning_rate


@pytest.mark.parametrize(("num_steps", "warmup_ratio"), [(100, 0.03), (1539, 0.03), (7, 0.0), (10, 0.5), (1, 0.03)])
def test_every_rate_equals_transformers(num_steps: int, warmup_ratio: float) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2e-3)
    reference = get_cosine_schedule_with_warmup(optimizer, math.ceil(num_steps * warmup_ratio), num_steps)
    for step in range(num_steps):
        expected = reference.get_last_lr()[0]
        assert math.isclose(rate(num_steps, warmup_ratio)(step), expected, rel_tol=1e-12, abs_tol=1e-18)
        optimizer.step()
        reference.step()


def rate(num_steps: int, warmup_ratio: float) -> Callable[[int], float]:
    return lambda step: learning_rate(step, num_steps=num_steps, peak=2e-3, warmup_ratio=warmup_ratio)


def test_the_rate_rises_to_its_peak_and_falls_to_zero() -> None:
    at = rate(1000, 0.1)
    assert [at(0), at(50), at(100), at(550)] == pytest.approx([0, 1e-3, 2e-3, 1e-3])
    assert 0 < at(999) < 1e-8
