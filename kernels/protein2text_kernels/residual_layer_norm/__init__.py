"""Residual, bias and layer norm in one step (K3)."""

from torch import Tensor

from protein2text_kernels.registry import choose
from protein2text_kernels.residual_layer_norm import naive


def residual_layer_norm(
    residual_SE: Tensor, branch_SE: Tensor, bias_E: Tensor, weight_E: Tensor, shift_E: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Add a branch to the residual stream and normalize the sum for the next branch, in a frozen layer.

    Args:
        residual_SE: ``(S, E)`` stream so far.
        branch_SE: ``(S, E)`` output of a linear layer without its bias.
        bias_E: that bias, ``(E,)``.
        weight_E: scale of the layer norm, ``(E,)``; ``shift_E`` its shift.

    Returns:
        The new stream and its normalized form, ``(S, E)`` each.
    """
    if choose("residual_layer_norm", residual_SE) == "triton":
        from protein2text_kernels.residual_layer_norm import triton

        return triton.residual_layer_norm(residual_SE, branch_SE, bias_E, weight_E, shift_E, eps)
    return naive.residual_layer_norm(residual_SE, branch_SE, bias_E, weight_E, shift_E, eps)
