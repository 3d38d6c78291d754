"""Plain form of `qkv_rope`."""

import torch
from torch import Tensor


def qkv_rope(
    qkv_S3HC: Tensor, bias_3HC: Tensor, cos_SC: Tensor, sin_SC: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """See the public function."""
    return split_and_rotate(qkv_S3HC + bias_3HC, cos_SC, sin_SC, scale)


def split_and_rotate(qkv_S3HC: Tensor, cos_SC: Tensor, sin_SC: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """The same of projections that hold their bias."""
    queries, keys, values = qkv_S3HC.unbind(1)
    cos, sin = cos_SC[:, None], sin_SC[:, None]
    return _rotate(queries * scale, cos, sin), _rotate(keys, cos, sin), values


def _rotate(rows_SHC: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    low, high = rows_SHC.chunk(2, dim=-1)
    return rows_SHC * cos + torch.cat((-high, low), dim=-1) * sin
