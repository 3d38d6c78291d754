"""Plain form of `residual_layer_norm`."""

import torch.nn.functional as F
from torch import Tensor


def residual_layer_norm(
    residual_SE: Tensor, branch_SE: Tensor, bias_E: Tensor, weight_E: Tensor, shift_E: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """See the public function."""
    stream = residual_SE + (branch_SE + bias_E)
    return stream, F.layer_norm(stream, weight_E.shape, weight_E, shift_E, eps)
