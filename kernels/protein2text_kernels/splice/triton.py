"""`splice` in Triton: forward one read and one write of each row, backward one read of each place and one write.

A program takes ``COLUMNS`` columns of one row; which one, it reads from the plan.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from protein2text_kernels.ahead_of_time import DTYPES, Case

COLUMNS, WARPS = 1024, 4


@triton.jit  # type: ignore[untyped-decorator]
def splice_kernel(words, rows, sources, output, D: tl.constexpr, COLUMNS: tl.constexpr):  # type: ignore[no-untyped-def]
    """All are contiguous, of D columns."""
    place = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < D
    source = tl.load(sources + place).to(tl.int64)
    if source >= 0:
        tl.store(output + place * D + column, tl.load(words + source * D + column, mask=inside), mask=inside)
    else:
        value = tl.load(rows + (-1 - source) * D + column, mask=inside)
        tl.store(output + place * D + column, value.to(output.dtype.element_ty), mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def gather_gradients_kernel(  # type: ignore[no-untyped-def]
    upstream, starts, places, gradients, D: tl.constexpr, COLUMNS: tl.constexpr
):
    """Add the upstream rows of a protein row's places, in their order; zero for a row that has none."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < D
    total = tl.zeros([COLUMNS], tl.float32)
    for number in range(tl.load(starts + row), tl.load(starts + row + 1)):
        place = tl.load(places + number).to(tl.int64)
        total += tl.load(upstream + place * D + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(gradients + row * D + column, total.to(gradients.dtype.element_ty), mask=inside)


def splice(words_VD: Tensor, rows_LD: Tensor, sources_T: Tensor) -> Tensor:
    """See the public function."""
    output_TD = torch.empty((len(sources_T), words_VD.shape[1]), dtype=words_VD.dtype, device=words_VD.device)
    _launch(splice_kernel, output_TD, words_VD.contiguous(), rows_LD.contiguous(), sources_T)
    return output_TD


def gather_gradients(upstream_TD: Tensor, starts_L1: Tensor, places_P: Tensor, dtype: torch.dtype) -> Tensor:
    """Gradients of the proteins' rows, ``(L, D)``."""
    shape = (len(starts_L1) - 1, upstream_TD.shape[1])
    gradients_LD = torch.empty(shape, dtype=dtype, device=upstream_TD.device)
    _launch(gather_gradients_kernel, gradients_LD, upstream_TD.contiguous(), starts_L1, places_P)
    return gradients_LD


def _launch(kernel: triton.JITFunction, output: Tensor, *operands: Tensor) -> None:
    num_rows, width = output.shape
    if num_rows:
        columns = _columns(width)
        kernel[(num_rows, triton.cdiv(width, columns))](*operands, output, width, columns, num_warps=WARPS)


def _columns(width: int) -> int:
    return int(min(COLUMNS, triton.next_power_of_2(width)))


def cases() -> list[Case]:
    """Llama 3.1 8B's width; rows of proteins come in the words' dtype or in float32."""
    sizes = {"D": 4096, "COLUMNS": _columns(4096)}
    plan = dict.fromkeys(("sources", "starts", "places"), "*i32")
    found = []
    for dtype in DTYPES:
        for kernel, operand in ((splice_kernel, "rows"), (gather_gradients_kernel, "gradients")):
            kept = {name: kind for name, kind in plan.items() if name in kernel.arg_names}
            tile = f"1x{sizes['COLUMNS']}"
            found.append(Case(kernel, dtype, tile, sizes, WARPS, other_types=kept))
            if dtype != "float32":
                found.append(
                    Case(
                        kernel, dtype, f"{tile} float32 {operand}", sizes, WARPS, other_types=kept | {operand: "*fp32"}
                    )
                )
    return found
