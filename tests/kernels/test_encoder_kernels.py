"""The frozen encoder's three operations: Triton's form against float64, at sizes that fill no block."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

Interpreted = Callable[[str], ModuleType]


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize(("rows", "width"), [(1, 1), (7, 96), (9, 513), (33, 1300)])
def test_bias_gelu(rows: int, width: int, interpreted: Interpreted, draw: Any, close: Any) -> None:
    values, bias = draw(rows, width, scale=2.0), draw(width)
    reference = F.gelu(values.double() + bias.double())
    close(interpreted("bias_gelu").bias_gelu(values, bias), reference)


def rotation_by_complex_numbers(rows: Tensor, angles: Tensor) -> Tensor:
    """RoPE as its paper has it: pairs of channels are complex numbers, turned by their angle."""
    low, high = rows.chunk(2, dim=-1)
    turned = torch.complex(low, high) * torch.polar(torch.ones_like(angles), angles)[:, None]
    return torch.cat((turned.real, turned.imag), dim=-1)


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize(("rows", "heads", "channels"), [(1, 1, 2), (33, 2, 20), (64, 3, 64), (70, 6, 16)])
def test_qkv_rope(rows: int, heads: int, channels: int, interpreted: Interpreted, draw: Any, close: Any) -> None:
    qkv, bias = draw(rows, 3, heads, channels), draw(3, heads, channels)
    positions = torch.arange(rows) % 29
    angles = positions[:, None] * 10_000.0 ** -(torch.arange(0, channels, 2, dtype=torch.float64) / channels)
    doubled = torch.cat((angles, angles), dim=-1)
    cos, sin = doubled.cos().to(qkv.dtype), doubled.sin().to(qkv.dtype)
    scale = channels**-0.5
    queries, keys, values = interpreted("qkv_rope").qkv_rope(qkv, bias, cos, sin, scale)
    expected = qkv.double() + bias.double()
    close(queries, rotation_by_complex_numbers(expected[:, 0] * scale, angles))
    close(keys, rotation_by_complex_numbers(expected[:, 1], angles))
    close(values, expected[:, 2])


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize(("rows", "width"), [(1, 1), (5, 96), (3, 1280), (2, 2049)])
@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_residual_layer_norm(
    rows: int, width: int, offset: float, interpreted: Interpreted, draw: Any, close: Any
) -> None:
    """Also where the mean is far from zero, which a one-pass variance would not survive."""
    residual, branch, bias, weight, shift = (
        draw(rows, width) + offset,
        draw(rows, width),
        draw(width),
        draw(width),
        draw(width),
    )
    total = residual.double() + branch.double() + bias.double()
    normed = F.layer_norm(total, (width,), weight.double(), shift.double(), 1e-5)
    stream, ours = interpreted("residual_layer_norm").residual_layer_norm(residual, branch, bias, weight, shift, 1e-5)
    close(stream, total)
    close(ours, normed)


def test_nothing_is_launched_for_no_rows(interpreted: Interpreted) -> None:
    none, vector = torch.empty(0, 8), torch.zeros(8)
    assert interpreted("bias_gelu").bias_gelu(none, vector).shape == (0, 8)
    stream, normed = interpreted("residual_layer_norm").residual_layer_norm(none, none, vector, vector, vector, 1e-5)
    assert stream.shape == normed.shape == (0, 8)
    qkv = torch.empty(0, 3, 2, 4)
    tables = torch.empty(0, 4)
    assert [
        part.shape for part in interpreted("qkv_rope").qkv_rope(qkv, qkv.new_zeros(3, 2, 4), tables, tables, 1.0)
    ] == [(0, 2, 4)] * 3


@pytest.mark.usefixtures("guarded")
def test_a_row_has_the_same_bits_alone_and_among_others(interpreted: Interpreted) -> None:
    generator = torch.Generator().manual_seed(1)
    rows, other, vector = (torch.randn(shape, generator=generator) for shape in ((40, 96), (40, 96), (96,)))
    norm, gelu = interpreted("residual_layer_norm").residual_layer_norm, interpreted("bias_gelu").bias_gelu
    among = norm(rows, other, vector, vector, vector, 1e-5)
    alone = norm(rows[17:18], other[17:18], vector, vector, vector, 1e-5)
    assert all(torch.equal(one, many[17:18]) for one, many in zip(alone, among, strict=True))
    assert torch.equal(gelu(rows[17:18], vector), gelu(rows, vector)[17:18])
    rope = interpreted("qkv_rope").qkv_rope
    qkv, bias, cos, sin = (
        torch.randn(shape, generator=generator) for shape in ((40, 3, 2, 20), (3, 2, 20), (40, 20), (40, 20))
    )
    turned = rope(qkv, bias, cos, sin, 0.3)
    alone = rope(qkv[33:34], bias, cos[33:34], sin[33:34], 0.3)
    assert all(torch.equal(one, many[33:34]) for one, many in zip(alone, turned, strict=True))


@pytest.mark.usefixtures("guarded")
def test_every_run_has_the_same_bits(interpreted: Interpreted) -> None:
    generator = torch.Generator().manual_seed(2)
    rows, other, vector = (torch.randn(shape, generator=generator) for shape in ((9, 80), (9, 80), (80,)))
    qkv, bias, table = (torch.randn(shape, generator=generator) for shape in ((9, 3, 2, 20), (3, 2, 20), (9, 20)))

    def run() -> list[Tensor]:
        return [
            interpreted("bias_gelu").bias_gelu(rows, vector),
            *interpreted("residual_layer_norm").residual_layer_norm(rows, other, vector, vector, vector, 1e-5),
            *interpreted("qkv_rope").qkv_rope(qkv, bias, table, table, 0.3),
        ]

    assert all(torch.equal(once, again) for once, again in zip(run(), run(), strict=True))
