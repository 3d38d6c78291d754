"""Every operation at shapes and lengths that nobody chose, Triton's form in the interpreter, against float64.

In float32: half precision's tolerances hold for many numbers together, and a drawn shape may have one. Errors are
measured against what they grow with, where a result may cancel to nothing.
"""

import importlib
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from protein2text_kernels.media_keys_values import Layer, media_keys_values
from protein2text_kernels.ragged_cross_attention import work
from protein2text_kernels.registry import forced
from protein2text_kernels.splice import splice
from protein2text_kernels.splice.plan import plan
from tests.kernels.conftest import guarded_memory
from tests.kernels.test_encoder_kernels import rotation_by_complex_numbers
from tests.kernels.test_media_keys_values import EPS, one_by_one
from tests.kernels.test_ragged_cross_attention_kernels import attend, gradients_of, written_out
from tests.kernels.test_splice import one_at_a_time

TOLERANCE = 1e-6
few = settings(max_examples=12, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def drawn(seed: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator) for shape in shapes]


def kernel(operation: str) -> Any:
    return getattr(importlib.import_module(f"protein2text_kernels.{operation}.triton"), operation)


def close(ours: Tensor, exact: Tensor, scale: Tensor) -> None:
    """``scale``: what the error may be in proportion to."""
    assert ours.shape == exact.shape
    assert not ours.isnan().any()
    assert float((ours.double() - exact).norm()) <= TOLERANCE * float(scale.norm())


@few
@given(seed=seeds, rows=st.integers(1, 40), width=st.integers(1, 1100))
def test_bias_gelu(seed: int, rows: int, width: int) -> None:
    values, bias = drawn(seed, (rows, width), (width,))
    with guarded_memory():
        ours = kernel("bias_gelu")(values, bias)
    total = values.double() + bias.double()
    close(ours, F.gelu(total), total)


@few
@given(seed=seeds, rows=st.integers(1, 70), heads=st.integers(1, 5), pairs=st.integers(1, 40))
def test_qkv_rope(seed: int, rows: int, heads: int, pairs: int) -> None:
    qkv, bias, turns = drawn(seed, (rows, 3, heads, 2 * pairs), (3, heads, 2 * pairs), (rows, pairs))
    angles = turns.double() * 9
    doubled = torch.cat((angles, angles), dim=-1)
    with guarded_memory():
        ours = kernel("qkv_rope")(qkv, bias, doubled.cos().float(), doubled.sin().float(), 0.3)
    total = qkv.double() + bias.double()
    scaled = [total[:, 0] * 0.3, total[:, 1]]
    for part, exact in zip(
        ours, [*(rotation_by_complex_numbers(rows, angles) for rows in scaled), total[:, 2]], strict=True
    ):
        close(part, exact, exact)


@few
@given(seed=seeds, rows=st.integers(1, 20), width=st.integers(16, 1100))
def test_residual_layer_norm(seed: int, rows: int, width: int) -> None:
    residual, branch, bias, weight, shift = drawn(seed, (rows, width), (rows, width), (width,), (width,), (width,))
    with guarded_memory():
        stream, normed = kernel("residual_layer_norm")(residual, branch, bias, weight, shift, 1e-5)
    total = residual.double() + branch.double() + bias.double()
    exact = F.layer_norm(total, (width,), weight.double(), shift.double(), 1e-5)
    close(stream, total, total)
    close(normed, exact, exact)


@few
@given(
    seed=seeds,
    lengths=st.lists(st.integers(0, 80), min_size=1, max_size=4),
    latents=st.integers(1, 20),
    heads=st.integers(1, 3),
    channels=st.integers(4, 40),
)
def test_ragged_cross_attention_and_its_gradients(
    seed: int, lengths: list[int], latents: int, heads: int, channels: int
) -> None:
    """Parts of 32 rows, so that most proteins are in several."""
    own, residues = (len(lengths), latents, heads, channels), (sum(lengths), heads, channels)
    *drawn_operands, upstream = drawn(seed, own, own, own, residues, residues, own)
    operands = [operand.requires_grad_() for operand in drawn_operands]
    exact = [operand.detach().double().requires_grad_() for operand in operands]
    scale = channels**-0.5
    with pytest.MonkeyPatch.context() as patch, guarded_memory():
        patch.setattr(work, "PART_ROWS", 32)
        work.plan.cache_clear()
        ours = attend(operands, lengths, scale)
        gradients = gradients_of(ours, operands, upstream)
    work.plan.cache_clear()
    expected = written_out(exact, lengths, scale)
    wanted = gradients_of(expected, exact, upstream.double())
    close(ours.detach(), expected.detach(), expected.detach())
    flat = torch.cat([gradient.flatten() for gradient in wanted])
    close(torch.cat([gradient.flatten() for gradient in gradients]), flat, flat)


@few
@given(seed=seeds, tokens=st.lists(st.integers(0, 8), max_size=30), num_rows=st.integers(0, 9), data=st.data())
def test_splice_and_its_gradients(seed: int, tokens: list[int], num_rows: int, data: st.DataObject) -> None:
    places = st.sets(st.integers(0, len(tokens) - 1)) if tokens and num_rows else st.just(set[int]())
    proteins = {place: data.draw(st.integers(0, num_rows - 1)) for place in data.draw(places)}
    width = data.draw(st.integers(1, 1100))
    words, rows, upstream = drawn(seed, (9, width), (num_rows, width), (len(tokens), width))
    rows.requires_grad_()
    with forced("triton"), guarded_memory():
        ours = splice(words, rows, plan(tokens, proteins, num_rows))
        (gradient,) = torch.autograd.grad(ours, rows, upstream)
    expected = torch.zeros(num_rows, width, dtype=torch.float64)
    for place, row in proteins.items():
        expected[row] += upstream[place].double()
    if tokens:
        assert torch.equal(ours, one_at_a_time(words, rows, tokens, proteins))
    close(gradient, expected, upstream)


@few
@given(seed=seeds, rows=st.integers(1, 40), width=st.integers(4, 40), depth=st.integers(1, 5))
def test_media_keys_values(seed: int, rows: int, width: int, depth: int) -> None:
    states, position, *flat = drawn(seed, (rows, width), (width,), *([(width,), (width,), (6, width)] * depth))
    layers = [Layer(*flat[3 * number : 3 * number + 3]) for number in range(depth)]
    exact = one_by_one(
        states.double(), position.double(), [Layer(*(each.double() for each in layer)) for layer in layers]
    )
    for ours, one in zip(media_keys_values(states, position, layers, eps=EPS), exact, strict=True):
        close(ours, one, one)
