"""Plain form of `media_keys_values`, forward and backward, with the algebra that saves products.

With x' the normalized rows, ``W' = W diag(weight)`` and ``b' = W shift``, keys and values are ``kv = x' W'^T + b'``.
Backward, with upstream gradients d over all layers and ``c_r = d_r . (kv_r - b') / E``, the sum over r of row r's
gradient through the norm is ``u - mean(u) - x'^T (rstd c)`` where ``u = W'^T sum_r rstd_r d_r`` (layer norm:
arXiv:1607.06450): row sums, and no product of the size of the states.

Legend: S packed residue rows, E encoder width, F keys and values of a layer, L layers.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from protein2text_kernels.derivatives import first_only


class MediaKeysValues(torch.autograd.Function):
    """See the public function; statistics and folded weights are float32 at least, products in ``dtype``."""

    @staticmethod
    def forward(
        ctx: Any, states_SE: Tensor, position_E: Tensor, eps: float, dtype: torch.dtype, *layers: Tensor
    ) -> tuple[Tensor, ...]:
        wide = torch.promote_types(torch.promote_types(states_SE.dtype, position_E.dtype), torch.float32)
        weights, shifts, projections = layers[0::3], layers[1::3], layers[2::3]
        with torch.autocast(states_SE.device.type, enabled=False):
            media_SE = states_SE.to(wide) + position_E.to(wide)
            normed_SE, _, rstd_S1 = torch.native_layer_norm(media_SE, media_SE.shape[-1:], None, None, eps)
            folded = [
                projection.to(wide) * weight.to(wide)
                for projection, weight in zip(projections, weights, strict=True)
            ]  # fmt: skip
            bias = [projection.to(wide) @ shift.to(wide) for projection, shift in zip(projections, shifts, strict=True)]
            folded_LFE, bias_LF = torch.cat(folded).to(dtype), torch.cat(bias).to(dtype)
            normed_SE = normed_SE.to(dtype)
            stacked = F.linear(normed_SE, folded_LFE, bias_LF)
        ctx.save_for_backward(normed_SE, rstd_S1, stacked, folded_LFE, bias_LF, *layers)
        ctx.wide, ctx.dtypes = wide, (states_SE.dtype, position_E.dtype)
        return torch.split(stacked, [len(projection) for projection in projections], dim=1)

    @staticmethod
    @first_only
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        normed_SE, rstd_S1, stacked, folded_LFE, bias_LF, *layers = ctx.saved_tensors
        width, wide = normed_SE.shape[-1], ctx.wide
        through_SE = torch.zeros_like(normed_SE, dtype=wide) if ctx.needs_input_grad[0] else None
        sums_E = normed_SE.new_zeros(width, dtype=wide)
        inner_S1 = torch.zeros_like(rstd_S1, dtype=wide)
        gradients: list[Tensor] = []
        begin = 0
        for number, d_SF in enumerate(upstream):
            weight, shift, projection = (tensor.to(wide) for tensor in layers[3 * number : 3 * number + 3])
            rows = slice(begin, begin + len(projection))
            begin = rows.stop
            inner_S1 += (d_SF * (stacked[:, rows] - bias_LF[rows])).sum(1, keepdim=True, dtype=wide)
            sums_E += folded_LFE[rows].to(wide).T @ (d_SF.to(wide) * rstd_S1).sum(0)
            if through_SE is not None:
                through_SE += d_SF @ folded_LFE[rows]
            folded_gradient, bias_gradient = (d_SF.T @ normed_SE).to(wide), d_SF.sum(0, dtype=wide)
            gradients += [
                (folded_gradient * projection).sum(0),
                projection.T @ bias_gradient,
                folded_gradient * weight + torch.outer(bias_gradient, shift),
            ]
        scaled_S1 = inner_S1 / width
        position = sums_E - sums_E.mean() - (normed_SE.to(wide) * (rstd_S1 * scaled_S1)).sum(0)
        states = None
        if through_SE is not None:
            states = rstd_S1 * (through_SE - through_SE.mean(1, keepdim=True) - normed_SE.to(wide) * scaled_S1)
            states = states.to(ctx.dtypes[0])
        matched = [gradient.to(tensor.dtype) for gradient, tensor in zip(gradients, layers, strict=True)]
        return states, position.to(ctx.dtypes[1]), None, None, *matched
