"""Query scale and rotary positions on a fused QKV projection (K2)."""

from torch import Tensor

from protein2text_kernels.qkv_rope import naive


def qkv_rope(qkv_S3HC: Tensor, cos_SC: Tensor, sin_SC: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """Split a fused projection, scale the queries, rotate queries and keys (RoFormer, arXiv:2104.09864).

    Args:
        qkv_S3HC: ``(S, 3, H, C)`` projections with their bias.
        cos_SC: ``(S, C)`` cosines by packed row, so positions may restart anywhere; ``sin_SC`` alike.
        scale: on the queries before rotation, as ESM-2 does.

    Returns:
        Queries, keys and values, ``(S, H, C)`` each.
    """
    return naive.qkv_rope(qkv_S3HC, cos_SC, sin_SC, scale)
