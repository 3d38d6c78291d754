"""Token embeddings and proteins' rows, spliced into the decoder's packed input (K8)."""

from typing import Any

import torch
from torch import Tensor

from protein2text_kernels.derivatives import first_only
from protein2text_kernels.registry import choose
from protein2text_kernels.splice import naive
from protein2text_kernels.splice.plan import Plan


def splice(words_VD: Tensor, rows_LD: Tensor, plan: Plan) -> Tensor:
    """Put each row of the decoder's input in its place, in one read and one write.

    Args:
        words_VD: ``(V, D)``, as a rule the decoder's frozen table of embeddings, which is read where it lies.
        rows_LD: ``(L, D)`` rows of proteins, any float dtype.
        plan: which row goes where, on the tensors' device.

    Returns:
        ``(T, D)`` in the words' dtype. The gradient of a protein's row is the sum over its places, in their order and
        in float32; words that want a gradient keep to plain torch.
    """
    trained = "the words want a gradient; the kernel leaves them none" if words_VD.requires_grad else None
    if choose("splice", words_VD, unable=trained) == "triton":
        spliced: Tensor = _TritonSplice.apply(words_VD, rows_LD, plan)  # type: ignore[no-untyped-call]
        return spliced
    return naive.splice(words_VD, rows_LD, plan)


class _TritonSplice(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, words_VD: Tensor, rows_LD: Tensor, plan: Plan) -> Tensor:
        from protein2text_kernels.splice import triton

        ctx.save_for_backward(plan.starts_L1, plan.places_P)
        ctx.dtype = rows_LD.dtype
        return triton.splice(words_VD, rows_LD, plan.sources_T)

    @staticmethod
    @first_only
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        from protein2text_kernels.splice import triton

        starts_L1, places_P = ctx.saved_tensors
        return None, triton.gather_gradients(upstream[0], starts_L1, places_P, ctx.dtype), None
