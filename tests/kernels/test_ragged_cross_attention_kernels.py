"""Attention's Triton kernels, forward and backward, against softmax written out in float64 and its autograd."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from protein2text_kernels.ragged_cross_attention import ragged_cross_attention
from protein2text_kernels.ragged_cross_attention.work import PART_ROWS, UNCUT, list_work
from protein2text_kernels.registry import forced

NAMES = ("queries", "latent keys", "latent values", "keys", "values")


def starts_of(lengths: list[int]) -> Tensor:
    return torch.tensor([0, *torch.tensor(lengths, dtype=torch.int64).cumsum(0).tolist()], dtype=torch.int32)


def written_out(operands: list[Tensor], lengths: list[int], scale: float) -> Tensor:
    """Every protein by itself: softmax over its latents and residues."""
    queries, latent_keys, latent_values, keys, values = operands
    outputs = []
    for number, (begin, end) in enumerate(zip(starts_of(lengths)[:-1], starts_of(lengths)[1:], strict=True)):
        all_keys = torch.cat((keys[begin:end], latent_keys[number]))
        all_values = torch.cat((values[begin:end], latent_values[number]))
        weights = torch.einsum("khc,nhc->hkn", queries[number], all_keys).mul(scale).softmax(-1)
        outputs.append(torch.einsum("hkn,nhc->khc", weights, all_values))
    return torch.stack(outputs)


def attend(operands: list[Tensor], lengths: list[int], scale: float) -> Tensor:
    with forced("triton"):
        return ragged_cross_attention(*operands, cu_seqlens_B1=starts_of(lengths), lengths=lengths, scale=scale)


def gradients_of(output: Tensor, operands: list[Tensor], upstream: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(output, operands, upstream))


SHAPES = [
    ([0], 1, 1, 4),
    ([5, 0, 70], 3, 2, 5),
    ([1, 63, 64, 65], 16, 1, 16),
    ([17, 130], 20, 3, 24),
    ([33], 64, 1, 64),
    ([40], 128, 1, 16),
    ([9, 2], 2, 16, 4),
    ([21], 5, 1, 128),
]
"""Lengths of the proteins, latents, heads, channels."""


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize(("lengths", "latents", "heads", "channels"), SHAPES)
def test_outputs_and_gradients(
    lengths: list[int], latents: int, heads: int, channels: int, draw: Any, close: Any
) -> None:
    shapes = [(len(lengths), latents, heads, channels)] * 3 + [(sum(lengths), heads, channels)] * 2
    operands = [draw(*shape).requires_grad_() for shape in shapes]
    exact = [operand.detach().double().requires_grad_() for operand in operands]
    scale = channels**-0.5
    output, reference = attend(operands, lengths, scale), written_out(exact, lengths, scale)
    close(output, reference)
    upstream = draw(*output.shape)
    expected = gradients_of(reference, exact, upstream.double())
    for ours, exactly in zip(gradients_of(output, operands, upstream), expected, strict=True):
        close(ours, exactly)


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("latents", [2, 130])
def test_a_protein_in_parts_and_latents_in_blocks(
    latents: int, draw: Any, close: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of 32 rows stand in for those of a long protein; 130 latents fill two blocks."""
    monkeypatch.setattr("protein2text_kernels.ragged_cross_attention.work.PART_ROWS", 32)
    lengths = [33, 100, 32, 0]
    shapes = [(4, latents, 1, 8)] * 3 + [(165, 1, 8)] * 2
    operands = [draw(*shape).requires_grad_() for shape in shapes]
    exact = [operand.detach().double().requires_grad_() for operand in operands]
    output, reference = attend(operands, lengths, 0.5), written_out(exact, lengths, 0.5)
    close(output, reference)
    upstream = draw(*output.shape)
    expected = gradients_of(reference, exact, upstream.double())
    for ours, exactly in zip(gradients_of(output, operands, upstream), expected, strict=True):
        close(ours, exactly)


def test_queries_shared_by_all_proteins_and_strided_keys_need_no_copy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Layer 1's latents are the same for every protein, and keys and values of all layers lie in one tensor."""
    torch.manual_seed(0)
    lengths = [3, 9]
    shared = [torch.randn(4, 2, 8).expand(2, -1, -1, -1) for _ in range(3)]
    stacked = torch.randn(12, 3, 2, 2, 8)
    operands = [*shared, stacked[:, 1, 0], stacked[:, 1, 1]]
    expected = attend([operand.clone() for operand in operands], lengths, 0.3)
    monkeypatch.setattr(Tensor, "contiguous", lambda self, **_: pytest.fail(f"copied {tuple(self.shape)}"))
    assert torch.equal(attend(operands, lengths, 0.3), expected)


def test_a_protein_has_the_same_bits_alone_and_in_any_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protein2text_kernels.ragged_cross_attention.work.PART_ROWS", 24)
    torch.manual_seed(1)
    lengths = [5, 50, 0, 31]
    operands = [torch.randn(4, 6, 2, 8) for _ in range(3)] + [torch.randn(86, 2, 8) for _ in range(2)]
    upstream = torch.randn(4, 6, 2, 8)

    def run(chosen: list[int]) -> list[Tensor]:
        rows = [row for number in chosen for row in range(*starts_of(lengths)[number : number + 2].tolist())]
        parts = [operand[chosen] for operand in operands[:3]] + [operand[rows] for operand in operands[3:]]
        parts = [part.clone().requires_grad_() for part in parts]
        output = attend(parts, [lengths[number] for number in chosen], 0.4)
        return [output.detach(), *gradients_of(output, parts, upstream[chosen])]

    together, again = run([0, 1, 2, 3]), run([0, 1, 2, 3])
    assert all(torch.equal(one, other) for one, other in zip(together, again, strict=True))
    for number in range(4):
        begin, end = starts_of(lengths)[number : number + 2].tolist()
        alone = run([number])
        for one, many in zip(alone[:4], together[:4], strict=True):
            assert torch.equal(one[0], many[number])
        for one, many in zip(alone[4:], together[4:], strict=True):
            assert torch.equal(one, many[begin:end])


def test_a_second_derivative_is_refused() -> None:
    """The kernels compute the first only."""
    operands = [torch.randn(1, 2, 1, 8, requires_grad=True) for _ in range(3)]
    operands += [torch.randn(3, 1, 8, requires_grad=True) for _ in range(2)]
    with pytest.raises(RuntimeError, match="first derivatives only"):
        torch.autograd.grad(attend(operands, [3], 0.5).sum(), operands[0], create_graph=True)


def test_the_list_covers_every_row_once_and_begins_with_the_longest() -> None:
    lengths = [0, 1, PART_ROWS, 35_213, PART_ROWS + 1]
    items, cut = list_work(lengths)
    covered = sorted(row for protein, begin, end, _ in items for row in range(begin, end))
    assert covered == list(range(sum(lengths)))
    assert items[0][0] == 3
    assert {protein for protein, _, _, slot in items if slot == UNCUT} == {0, 1, 2}
    assert cut == [(3, 0, 35), (4, 35, 2)]
    assert sorted(slot for *_, slot in items if slot != UNCUT) == list(range(37))


def test_heads_too_wide_for_a_program_run_in_plain_torch() -> None:
    operands = [torch.randn(1, 2, 1, 136) for _ in range(3)] + [torch.randn(3, 1, 136) for _ in range(2)]
    ours = attend(operands, [3], 0.1)
    torch.testing.assert_close(ours, written_out(operands, [3], 0.1))


def test_no_product_of_float32_is_rounded_to_tf32(repository: Any, interpreted: Callable[[str], ModuleType]) -> None:
    """The interpreter would hide it, and it would miss the tolerance 500-fold."""
    module = interpreted("ragged_cross_attention")
    for tile_of in (module.forward_tile, module.backward_tile):
        assert {tile_of(torch.float32, channels).precision for channels in (16, 64, 128)} <= {"tf32x3", "ieee"}
    for path in (repository / "kernels").rglob("*.py"):
        source = path.read_text()
        assert source.count("tl.dot(") == source.count("input_precision=PRECISION"), path
