"""Bias and exact GELU of a feed-forward layer (K1)."""

from torch import Tensor

from protein2text_kernels.bias_gelu import naive
from protein2text_kernels.registry import choose


def bias_gelu(rows_SF: Tensor, bias_F: Tensor) -> Tensor:
    """``gelu(rows + bias)`` with the exact, erf-based GELU of ESM-2; the forward pass of a frozen layer.

    Args:
        rows_SF: ``(S, F)``, any float dtype.
        bias_F: ``(F,)``.
    """
    if choose("bias_gelu", rows_SF) == "triton":
        from protein2text_kernels.bias_gelu import triton

        return triton.bias_gelu(rows_SF, bias_F)
    return naive.bias_gelu(rows_SF, bias_F)
