"""Bias and exact GELU of a feed-forward layer (K1)."""

from torch import Tensor

from protein2text_kernels.bias_gelu import naive


def bias_gelu(rows_SF: Tensor, bias_F: Tensor) -> Tensor:
    """``gelu(rows + bias)`` with the exact, erf-based GELU of ESM-2.

    Args:
        rows_SF: ``(S, F)``, any float dtype.
        bias_F: ``(F,)``.
    """
    return naive.bias_gelu(rows_SF, bias_F)
