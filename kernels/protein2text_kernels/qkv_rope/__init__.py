"""Bias, query scale and rotary positions on a fused QKV projection (K2)."""

from torch import Tensor

from protein2text_kernels.qkv_rope import naive
from protein2text_kernels.registry import choose


def qkv_rope(
    qkv_S3HC: Tensor, bias_3HC: Tensor, cos_SC: Tensor, sin_SC: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Add a fused projection's bias, scale the queries, rotate queries and keys (RoFormer, arXiv:2104.09864).

    The forward pass of a frozen layer.

    Args:
        qkv_S3HC: ``(S, 3, H, C)`` projections without their bias; C is even.
        bias_3HC: that bias, ``(3, H, C)``.
        cos_SC: ``(S, C)`` cosines by packed row, so positions may restart anywhere; ``sin_SC`` alike.
        scale: on the queries before rotation, as ESM-2 does.

    Returns:
        Queries, keys and values, ``(S, H, C)`` each.
    """
    if choose("qkv_rope", qkv_S3HC) == "triton":
        from protein2text_kernels.qkv_rope import triton

        return triton.qkv_rope(qkv_S3HC, bias_3HC, cos_SC, sin_SC, scale)
    return naive.qkv_rope(qkv_S3HC, bias_3HC, cos_SC, sin_SC, scale)
