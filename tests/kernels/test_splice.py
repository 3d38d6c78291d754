"""Splicing in Triton's interpreter against rows put in place one at a time, in float64."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from protein2text_kernels.registry import forced, ran
from protein2text_kernels.splice import naive, splice
from protein2text_kernels.splice.plan import plan

# words of the rows, protein rows by place, protein rows, width
SHAPES: list[tuple[list[int], dict[int, int], int, int]] = [
    ([2], {}, 0, 1),
    ([0, 0, 0], {0: 2, 1: 0, 2: 1}, 3, 5),
    ([4, 0, 0, 1, 0, 3, 0], {1: 0, 2: 1, 4: 0, 6: 0}, 4, 33),  # one row in three places, two in none
    ([1, 0, 2], {1: 0}, 1, 1025),
]


def one_at_a_time(words: Tensor, rows: Tensor, tokens: list[int], proteins: dict[int, int]) -> Tensor:
    places = [rows[proteins[place]] if place in proteins else words[token] for place, token in enumerate(tokens)]
    return torch.stack(places)


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize(("tokens", "proteins", "num_rows", "width"), SHAPES)
def test_outputs_and_gradients(
    tokens: list[int], proteins: dict[int, int], num_rows: int, width: int, draw: Any, close: Any
) -> None:
    words, rows = draw(5, width), draw(num_rows, width).requires_grad_()
    exact = rows.detach().double().requires_grad_()
    with forced("triton"):
        ours = splice(words, rows, plan(tokens, proteins, num_rows))
    assert ran["splice"].name == "triton"
    expected = one_at_a_time(words.double(), exact, tokens, proteins)
    close(ours, expected)
    if proteins:
        upstream = draw(*ours.shape)
        (gradient,) = torch.autograd.grad(ours, rows, upstream)
        (exactly,) = torch.autograd.grad(expected, exact, upstream.double())
        close(gradient, exactly)


@pytest.mark.parametrize(("tokens", "proteins", "num_rows", "width"), SHAPES)
def test_plain_torch_and_its_gradients_of_rows_and_words(
    tokens: list[int], proteins: dict[int, int], num_rows: int, width: int
) -> None:
    torch.manual_seed(0)
    words = torch.randn(5, width, dtype=torch.float64, requires_grad=True)
    rows = torch.randn(num_rows, width, dtype=torch.float64, requires_grad=True)
    with forced("triton"):
        ours = splice(words, rows, plan(tokens, proteins, num_rows))  # words that want a gradient run in plain torch
    expected = one_at_a_time(words, rows, tokens, proteins)
    assert torch.equal(ours, expected)
    leaves = [words, rows]
    found = torch.autograd.grad(ours.square().sum(), leaves, allow_unused=True, materialize_grads=True)
    wanted = torch.autograd.grad(expected.square().sum(), leaves, allow_unused=True, materialize_grads=True)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-13, atol=1e-13)


@pytest.mark.usefixtures("guarded")
def test_rows_of_another_dtype_are_rounded_once_and_get_their_gradients_unrounded(draw: Any) -> None:
    words, rows = draw(3, 17), draw(2, 17).float().requires_grad_()
    with forced("triton"):
        spliced = splice(words, rows, plan([1, 0, 0], {1: 1, 2: 1}, 2))
    assert torch.equal(spliced, torch.stack([words[1], rows[1].to(words.dtype), rows[1].to(words.dtype)]))
    upstream = draw(3, 17)
    (gradient,) = torch.autograd.grad(spliced, rows, upstream)
    assert torch.equal(gradient, torch.stack([torch.zeros(17), upstream[1].float() + upstream[2].float()]))


def test_an_example_has_the_same_bits_alone_and_in_any_batch(interpreted: Callable[[str], ModuleType]) -> None:
    """Its rows, and their gradients where no other example speaks of the protein; and at every run."""
    torch.manual_seed(2)
    module, words, rows = interpreted("splice"), torch.randn(9, 40), torch.randn(6, 40)
    upstream = torch.randn(8, 40)
    both = plan([7, 0, 0, 8, 0, 0, 0, 1], {1: 3, 2: 4, 4: 0, 5: 0, 6: 1}, 6)
    alone = plan([7, 0, 0, 8], {1: 0, 2: 1}, 3)
    together = module.splice(words, rows, both.sources_T)
    assert torch.equal(module.splice(words, rows[3:], alone.sources_T), together[:4])
    gradients = module.gather_gradients(upstream, both.starts_L1, both.places_P, torch.float32)
    one = module.gather_gradients(upstream[:4], alone.starts_L1, alone.places_P, torch.float32)
    assert torch.equal(one, gradients[3:])
    assert torch.equal(module.splice(words, rows, both.sources_T), together)
    assert torch.equal(module.gather_gradients(upstream, both.starts_L1, both.places_P, torch.float32), gradients)


def test_rows_of_its_own_for_each_place_and_words_that_lie_in_place() -> None:
    shared = plan([4, 0, 3, 0], {1: 0, 3: 0}, 1)
    own = shared.with_own_words().with_own_rows(torch.tensor([3, 1]))
    words, rows = torch.randn(4, 2), torch.randn(2, 2)
    expected = torch.stack([words[0], rows[1], words[2], rows[0]])
    assert torch.equal(naive.splice(words, rows, own), expected)
    with forced("triton"):
        assert torch.equal(splice(words, rows, own), expected)
    assert [each.dtype for each in own] == [torch.int32] * 4
    assert own.starts_L1.tolist() == [0, 1, 2]


def test_nothing_is_launched_for_no_rows() -> None:
    with forced("triton"):
        assert splice(torch.zeros(3, 4), torch.zeros(0, 4), plan([], {}, 0)).shape == (0, 4)
