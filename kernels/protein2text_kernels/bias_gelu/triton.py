"""`bias_gelu` in Triton: one read and one write of each element.

A program takes ``ROWS`` rows of ``COLUMNS`` columns, so that it reads its part of the bias once.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from protein2text_kernels.ahead_of_time import DTYPES, ESM2, Case

ROWS, COLUMNS, WARPS = 8, 512, 4


@triton.jit(do_not_specialize=["num_rows"])  # type: ignore[untyped-decorator]
def bias_gelu_kernel(rows, bias, output, num_rows, F: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # type: ignore[no-untyped-def]
    """``rows`` and ``output`` are contiguous ``(num_rows, F)``; any number of rows, any F."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    inside = (row < num_rows) & (column < F)
    value = tl.load(rows + row * F + column, mask=inside, other=0.0).to(tl.float32)
    value += tl.load(bias + column, mask=column < F, other=0.0).to(tl.float32)
    value = 0.5 * value * (1.0 + tl.erf(value * 0.7071067811865476))
    tl.store(output + row * F + column, value, mask=inside)


def bias_gelu(rows_SF: Tensor, bias_F: Tensor) -> Tensor:
    """See the public function."""
    rows_SF = rows_SF.contiguous()
    output_SF = torch.empty_like(rows_SF)
    num_rows, width = rows_SF.shape
    if num_rows:
        grid = (triton.cdiv(num_rows, ROWS), triton.cdiv(width, COLUMNS))
        bias_gelu_kernel[grid](rows_SF, bias_F, output_SF, num_rows, width, ROWS, COLUMNS, num_warps=WARPS)
    return output_SF


def cases() -> list[Case]:
    """What the presets' encoders compile; their feed-forward is four times as wide."""
    return [
        Case(
            bias_gelu_kernel, dtype, f"{ROWS}x{COLUMNS} of F={4 * width}",
            {"F": 4 * width, "ROWS": ROWS, "COLUMNS": COLUMNS}, WARPS, other_types={"num_rows": "i32"},
        )
        for dtype in DTYPES
        for width, _ in ESM2
    ]  # fmt: skip
