"""`residual_layer_norm` in Triton: a row is on chip from the sum to its normalized form.

The statistics are those of the sum before it is rounded to the stream's dtype: mean first, then the variance of what
is left, in float32.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from protein2text_kernels.ahead_of_time import DTYPES, ESM2, Case


@triton.jit  # type: ignore[untyped-decorator]
def residual_layer_norm_kernel(  # type: ignore[no-untyped-def]
    residual, branch, bias, weight, shift, stream, normed, eps: tl.constexpr, E: tl.constexpr, COLUMNS: tl.constexpr
):
    """One contiguous row of E columns a program; COLUMNS is a power of two that holds them."""
    column = tl.arange(0, COLUMNS)
    inside = column < E
    place = tl.program_id(0).to(tl.int64) * E + column
    total = tl.load(branch + place, mask=inside, other=0.0).to(tl.float32)
    total += tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
    total += tl.load(residual + place, mask=inside, other=0.0).to(tl.float32)
    tl.store(stream + place, total, mask=inside)
    centred = tl.where(inside, total - tl.sum(total, 0) / E, 0.0)
    scaled = centred * tl.rsqrt(tl.sum(centred * centred, 0) / E + eps)
    scaled *= tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    scaled += tl.load(shift + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(normed + place, scaled, mask=inside)


def residual_layer_norm(
    residual_SE: Tensor, branch_SE: Tensor, bias_E: Tensor, weight_E: Tensor, shift_E: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """See the public function."""
    residual_SE, branch_SE = residual_SE.contiguous(), branch_SE.contiguous()
    stream_SE, normed_SE = torch.empty_like(residual_SE), torch.empty_like(residual_SE)
    num_rows, width = residual_SE.shape
    if num_rows:
        columns = triton.next_power_of_2(width)
        residual_layer_norm_kernel[(num_rows,)](
            residual_SE, branch_SE, bias_E, weight_E, shift_E, stream_SE, normed_SE, eps, width, columns,
            num_warps=_num_warps(columns),
        )  # fmt: skip
    return stream_SE, normed_SE


def cases() -> list[Case]:
    """What the presets' encoders compile."""
    return [
        Case(
            residual_layer_norm_kernel, dtype, f"1x{triton.next_power_of_2(width)} of E={width}",
            {"eps": 1e-5, "E": width, "COLUMNS": triton.next_power_of_2(width)},
            _num_warps(triton.next_power_of_2(width)),
        )
        for dtype in DTYPES
        for width, _ in ESM2
    ]  # fmt: skip


def _num_warps(columns: int) -> int:
    return min(8, max(1, columns // 256))
