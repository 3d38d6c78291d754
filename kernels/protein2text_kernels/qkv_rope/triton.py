"""`qkv_rope` in Triton: one read and one write of queries, keys and values.

A program takes one of the three for ``ROWS`` rows and one head, so that both halves of a rotation are on chip.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from protein2text_kernels.ahead_of_time import DTYPES, ESM2, Case

ROWS, WARPS = 32, 4


@triton.jit(do_not_specialize=["num_rows"])  # type: ignore[untyped-decorator]
def qkv_rope_kernel(  # type: ignore[no-untyped-def]
    qkv, bias, cos, sin, output, num_rows, scale: tl.constexpr, HEADS: tl.constexpr, C: tl.constexpr,
    HALF: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """``qkv`` and ``output`` are contiguous ``(num_rows, 3, HEADS, C)``, tables ``(num_rows, C)``; HALF >= C / 2."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    part = tl.program_id(1) // HEADS
    low = tl.arange(0, HALF)[None, :]
    high = low + C // 2
    inside = (row < num_rows) & (low < C // 2)
    start = tl.program_id(1) * C
    place = row * (3 * HEADS * C) + start
    first = tl.load(qkv + place + low, mask=inside, other=0.0).to(tl.float32)
    second = tl.load(qkv + place + high, mask=inside, other=0.0).to(tl.float32)
    first += tl.load(bias + start + low, mask=low < C // 2, other=0.0).to(tl.float32)
    second += tl.load(bias + start + high, mask=low < C // 2, other=0.0).to(tl.float32)
    if part < 2:
        factor = tl.where(part == 0, scale, 1.0)
        first, second = first * factor, second * factor
        cos_low = tl.load(cos + row * C + low, mask=inside, other=0.0).to(tl.float32)
        sin_low = tl.load(sin + row * C + low, mask=inside, other=0.0).to(tl.float32)
        cos_high = tl.load(cos + row * C + high, mask=inside, other=0.0).to(tl.float32)
        sin_high = tl.load(sin + row * C + high, mask=inside, other=0.0).to(tl.float32)
        first, second = first * cos_low - second * sin_low, second * cos_high + first * sin_high
    tl.store(output + place + low, first, mask=inside)
    tl.store(output + place + high, second, mask=inside)


def qkv_rope(
    qkv_S3HC: Tensor, bias_3HC: Tensor, cos_SC: Tensor, sin_SC: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """See the public function; the three are views of one tensor."""
    qkv_S3HC = qkv_S3HC.contiguous()
    output_S3HC = torch.empty_like(qkv_S3HC)
    num_rows, _, heads, channels = qkv_S3HC.shape
    if num_rows:
        grid = (triton.cdiv(num_rows, ROWS), 3 * heads)
        qkv_rope_kernel[grid](
            qkv_S3HC, bias_3HC.contiguous(), cos_SC.contiguous(), sin_SC.contiguous(), output_S3HC, num_rows, scale,
            heads, channels, triton.next_power_of_2(channels // 2), ROWS, num_warps=WARPS,
        )  # fmt: skip
    queries, keys, values = output_S3HC.unbind(1)
    return queries, keys, values


def cases() -> list[Case]:
    """What the presets' encoders compile."""
    return [
        Case(qkv_rope_kernel, dtype, f"{ROWS}x{width // heads} of H={heads}", {
            "scale": (width // heads) ** -0.5, "HEADS": heads, "C": width // heads,
            "HALF": triton.next_power_of_2(width // heads // 2), "ROWS": ROWS,
        }, WARPS, other_types={"num_rows": "i32"})
        for dtype in DTYPES
        for width, heads in ESM2
    ]  # fmt: skip
