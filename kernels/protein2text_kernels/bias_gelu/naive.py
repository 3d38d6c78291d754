"""Plain form of `bias_gelu`."""

import torch.nn.functional as F
from torch import Tensor


def bias_gelu(rows_SF: Tensor, bias_F: Tensor) -> Tensor:
    """See the public function."""
    return F.gelu(rows_SF + bias_F)
