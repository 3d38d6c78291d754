"""Folded and stacked projections equal norm after norm and product after product, gradients and all."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from protein2text_kernels.media_keys_values import Layer, media_keys_values

EPS = 1e-5


def drawn(rows: int, width: int, depth: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, list[Layer]]:
    generator = torch.Generator().manual_seed(rows + depth)
    make = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()  # noqa: E731
    layers = [Layer(make(width), make(width), make(6 + 2 * number, width)) for number in range(depth)]
    return make(rows, width), make(width), layers


def one_by_one(states: Tensor, position: Tensor, layers: list[Layer]) -> list[Tensor]:
    media = states + position
    return [
        F.layer_norm(media, media.shape[-1:], layer.weight_E, layer.shift_E, EPS) @ layer.to_kv_FE.T for layer in layers
    ]


def gradients(outputs: list[Tensor], leaves: list[Tensor]) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(9)
    upstream = [torch.randn(out.shape, generator=generator, dtype=torch.float64).to(out.dtype) for out in outputs]
    return torch.autograd.grad(outputs, leaves, upstream)


@pytest.mark.parametrize(("rows", "width", "depth"), [(1, 5, 1), (33, 12, 2), (7, 40, 6), (5, 9, 8)])
@pytest.mark.parametrize("with_states", [True, False])
def test_equals_the_layers_one_by_one(rows: int, width: int, depth: int, with_states: bool) -> None:
    states, position, layers = drawn(rows, width, depth, torch.float64)
    states.requires_grad_(with_states)
    leaves = [*([states] if with_states else []), position, *(tensor for layer in layers for tensor in layer)]
    ours = list(media_keys_values(states, position, layers, eps=EPS))
    plain = one_by_one(states, position, layers)
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    for one, other in zip(gradients(ours, leaves), gradients(plain, leaves), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


def test_float32_keeps_its_digits_where_the_mean_is_far_from_zero() -> None:
    states, position, layers = drawn(50, 64, 2, torch.float32)
    far = (states.detach() + 40).requires_grad_()
    exact_layers = [Layer(*(tensor.detach().double() for tensor in layer)) for layer in layers]
    exact = one_by_one(far.detach().double(), position.detach().double(), exact_layers)
    for one, other in zip(media_keys_values(far, position, layers, eps=EPS), exact, strict=True):
        assert ((one.double() - other).norm() / other.norm()).item() < 2e-6


def test_autocast_computes_products_in_half_and_statistics_in_float32() -> None:
    states, position, layers = drawn(40, 64, 2, torch.float32)
    exact = one_by_one(states, position, layers)
    with torch.autocast("cpu", torch.bfloat16):
        halves = list(media_keys_values(states.detach().bfloat16(), position, layers, eps=EPS))
    assert {half.dtype for half in halves} == {torch.bfloat16}
    for half, one in zip(halves, exact, strict=True):
        assert ((half.double() - one).norm() / one.norm()).item() < 8e-3
    leaves = [position, *(tensor for layer in layers for tensor in layer)]
    for half, one in zip(gradients(halves, leaves), gradients(exact, leaves), strict=True):
        assert half.dtype == torch.float32
        assert ((half - one).norm() / one.norm()).item() < 2e-2


@pytest.mark.parametrize("loss", [torch.sum, torch.norm])
def test_a_second_derivative_is_refused(loss: Callable[[Tensor], Tensor]) -> None:
    """It would lack what comes through the operands, even below a sum, whose own gradient is constant."""
    states, position, layers = drawn(4, 6, 1, torch.float64)
    (keys_values,) = media_keys_values(states, position, layers, eps=EPS)
    with pytest.raises(RuntimeError, match="first derivatives only"):
        torch.autograd.grad(loss(keys_values), position, create_graph=True)
