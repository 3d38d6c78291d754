"""`ragged_cross_attention` in Triton: what the kernels of `triton_kernels` are given, and what they leave."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from protein2text_kernels.ahead_of_time import DTYPES, Case
from protein2text_kernels.ragged_cross_attention.triton_kernels import (
    RAGGED,
    attention_backward_kernel,
    attention_forward_kernel,
    join_attention_kernel,
    join_gradients_kernel,
)
from protein2text_kernels.ragged_cross_attention.work import Work

LOG2_E = 1.4426950408889634
NARROWEST = 64
"""Of a block, in latents and in channels: the warp-group products take 64 rows, and what is masked costs no memory."""


class Tile(NamedTuple):
    """Sizes of a kernel's blocks."""

    latents: int
    keys: int
    num_warps: int
    num_stages: int = 1
    precision: str = "tf32x3"
    """Of float32 products; plain tf32 would miss their tolerance."""


class Operands(NamedTuple):
    """What is attended with and to, see the public function."""

    queries_BKHC: Tensor
    latent_keys_BKHC: Tensor
    latent_values_BKHC: Tensor
    keys_SHC: Tensor
    values_SHC: Tensor
    cu_seqlens_B1: Tensor


def forward_tile(dtype: torch.dtype, channels: int) -> Tile:
    """Blocks of the forward kernel; float32 takes three products where others take one, and more registers."""
    if dtype == torch.float32:
        return Tile(128, 32, 8) if channels <= 64 else Tile(32, 32, 8)
    return Tile(128, 64, 8, num_stages=2)


def backward_tile(dtype: torch.dtype, channels: int) -> Tile:
    """Blocks of the backward kernel, by what compiles well.

    In half precision narrow heads leave the warp-group products with 32 keys and spill with 128; wide ones spill with
    32 under Triton 3.9. So do narrow ones in float32 with 64 latents, and with 8 warps under Triton 3.7.
    """
    if dtype == torch.float32:
        return Tile(32, 16, 4, precision="ieee") if channels <= 64 else Tile(16, 16, 8, precision="ieee")
    return Tile(128, 64, 8) if channels <= 64 else Tile(64, 16, 8)


def join_tile(channels: int) -> Tile:
    """Blocks of the kernels that join the parts of a protein."""
    return Tile(64 if channels <= 64 else 32, 0, 8)


def attend(operands: Operands, work: Work, scale: float) -> tuple[Tensor, Tensor]:
    """The attended values ``(B, K, H, C)`` and softmax's normalizers in base 2, float32 ``(B, K, H)``."""
    operands = _dense(operands)
    shape = operands.queries_BKHC.shape
    _, latents, heads, channels = shape
    output = torch.empty(shape, dtype=operands.queries_BKHC.dtype, device=operands.queries_BKHC.device)
    normalizers = torch.empty(shape[:3], dtype=torch.float32, device=output.device)
    parts = (work.num_slots, latents, heads)
    part_sums = torch.empty((*parts, channels), dtype=torch.float32, device=output.device)
    part_normalizers = torch.empty(parts, dtype=torch.float32, device=output.device)
    tile = forward_tile(output.dtype, channels)
    sizes, num_blocks = _sizes(latents, heads, channels, tile)
    attention_forward_kernel[(len(work.items), heads, num_blocks)](
        *operands[:5], output, normalizers, part_sums, part_normalizers, work.items, *_strides(operands),
        scale * LOG2_E, operands.cu_seqlens_B1, **sizes, **_arithmetic(output.dtype, tile),
        num_warps=tile.num_warps, num_stages=tile.num_stages,
    )  # fmt: skip
    if len(work.cut):
        _join(join_attention_kernel, work, (part_sums, part_normalizers, output, normalizers), output.shape)
    return output, normalizers


def differentiate(
    operands: Operands, work: Work, scale: float, output_BKHC: Tensor, normalizers_BKH: Tensor, upstream_BKHC: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of queries, latent keys, latent values, residue keys and values, each of its operand's shape."""
    operands = _dense(operands)
    _, latents, heads, channels = output_BKHC.shape
    tile = backward_tile(output_BKHC.dtype, channels)
    sizes, num_blocks = _sizes(latents, heads, channels, tile)
    query_gradients = torch.empty(output_BKHC.shape, dtype=output_BKHC.dtype, device=output_BKHC.device)
    between = output_BKHC.dtype if num_blocks == 1 else torch.float32
    by_block = [
        torch.empty((num_blocks, *operand.shape), dtype=between, device=operand.device) for operand in operands[1:5]
    ]
    block_rows = (len(operands.keys_SHC), len(output_BKHC) * latents)
    parts = (work.num_slots, latents, heads, channels)
    part_gradients = torch.empty(parts, dtype=torch.float32, device=output_BKHC.device)
    attention_backward_kernel[(len(work.items), heads, num_blocks)](
        *operands[:5], output_BKHC, upstream_BKHC.contiguous(), normalizers_BKH, query_gradients, *by_block,
        part_gradients, work.items, *_strides(operands), scale * LOG2_E, scale, operands.cu_seqlens_B1, *block_rows,
        **sizes, **_arithmetic(output_BKHC.dtype, tile), num_warps=tile.num_warps, num_stages=tile.num_stages,
    )  # fmt: skip
    if len(work.cut):
        _join(join_gradients_kernel, work, (part_gradients, query_gradients), output_BKHC.shape)
    latent_keys, latent_values, keys, values = (_over_blocks(each, output_BKHC.dtype) for each in by_block)
    return query_gradients, latent_keys, latent_values, keys, values


def _join(kernel: Any, work: Work, tensors: tuple[Tensor, ...], shape: Sequence[int]) -> None:
    _, latents, heads, channels = shape
    tile = join_tile(channels)
    sizes, num_blocks = _sizes(latents, heads, channels, tile)
    kernel[(len(work.cut), heads, num_blocks)](*tensors, work.cut, **sizes, num_warps=tile.num_warps)


def _over_blocks(gradients: Tensor, dtype: torch.dtype) -> Tensor:
    return gradients[0] if len(gradients) == 1 else gradients.sum(0).to(dtype)


def _dense(operands: Operands) -> Operands:
    """Heads and channels of each operand lie together; rows may be strided, or the same for every protein."""
    dense = [
        operand if operand.stride(-1) == 1 and operand.stride(-2) == operand.shape[-1] else operand.contiguous()
        for operand in operands[:5]
    ]
    queries, latent_keys, latent_values, keys, values = dense
    return Operands(queries, latent_keys, latent_values, keys, values, operands.cu_seqlens_B1)


def _strides(operands: Operands) -> list[int]:
    return [stride for operand in operands[:5] for stride in operand.stride()[:-2]]


def _sizes(latents: int, heads: int, channels: int, tile: Tile) -> tuple[dict[str, int], int]:
    """What the kernels are compiled for, and how many blocks of latents there are."""
    block = min(tile.latents, max(NARROWEST, triton.next_power_of_2(latents)))
    widest = max(NARROWEST, triton.next_power_of_2(channels))
    return {"K": latents, "H": heads, "C": channels, "BLOCK_K": block, "BLOCK_C": widest}, triton.cdiv(latents, block)


def _arithmetic(dtype: torch.dtype, tile: Tile) -> dict[str, Any]:
    interpreted = bool(triton.knobs.runtime.interpret) and dtype != torch.float32
    return {"BLOCK_N": tile.keys, "PRECISION": tile.precision, "UPCAST": interpreted}


SHAPES = ((128, 64), (64, 64), (128, 128), (64, 128), (32, 40), (16, 24))
"""Latents and channels that are compiled ahead: protein2text-8b's first, starter's and tiny's last."""


def cases() -> list[Case]:
    """Every block there is, filled, and the shipped presets', which fill none; parts are joined in two blocks only."""
    names = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    found = []
    for name in DTYPES:
        for latents, channels in SHAPES:
            for tile_of, kernel in (
                (forward_tile, attention_forward_kernel),
                (backward_tile, attention_backward_kernel),
            ):
                tile = tile_of(names[name], channels)
                sizes, _ = _sizes(latents, 8, channels, tile)
                found.append(_case(kernel, name, sizes | _arithmetic(names[name], tile) | {"UPCAST": False}, tile))
        for channels in (64, 128):
            for kernel in (join_attention_kernel, join_gradients_kernel):
                sizes, _ = _sizes(128, 8, channels, join_tile(channels))
                found.append(_case(kernel, name, sizes, join_tile(channels)))
    return found


def _case(kernel: Any, dtype: str, constants: dict[str, Any], tile: Tile) -> Case:
    floats = ("normalizers", "part_sums", "part_normalizers", "part_gradients")
    types = dict.fromkeys(floats, "*fp32") | dict.fromkeys(("items", "cut", "first_rows"), "*i32")
    types |= {name: "i32" for name in kernel.arg_names if "_stride" in name or name in RAGGED}
    types |= {"factor": "fp32", "scale": "fp32"}
    size = f"{constants['BLOCK_K']}x{tile.keys}x{constants['BLOCK_C']} of K={constants['K']} C={constants['C']}"
    return Case(
        kernel, dtype, size, constants, tile.num_warps, tile.num_stages,
        {name: kind for name, kind in types.items() if name in kernel.arg_names}, multiplies=bool(tile.keys),
    )  # fmt: skip
