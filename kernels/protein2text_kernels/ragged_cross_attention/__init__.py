"""Latents attend to their protein's residues and to themselves (K5), and the gradients of that (K6)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from protein2text_kernels.derivatives import first_only
from protein2text_kernels.ragged_cross_attention import naive
from protein2text_kernels.ragged_cross_attention.work import plan
from protein2text_kernels.registry import choose

MAX_CHANNELS = 128
"""Of a head, in one program of the kernels; wider ones run in plain torch."""


def ragged_cross_attention(
    queries_BKHC: Tensor, latent_keys_BKHC: Tensor, latent_values_BKHC: Tensor, residue_keys_SHC: Tensor,
    residue_values_SHC: Tensor, *, cu_seqlens_B1: Tensor, lengths: Sequence[int], scale: float,
) -> Tensor:  # fmt: skip
    """Cross-attention of the perceiver resampler (Flamingo, arXiv:2204.14198) over packed proteins.

    Keys and values come in two segments, residues and latents, so nobody concatenates them in memory; a protein without
    residues is allowed and attends to its latents alone.

    Args:
        queries_BKHC: ``(B, K, H, C)`` proteins, latents, heads, channels; latent keys and values alike.
        residue_keys_SHC: ``(S, H, C)`` packed rows of all proteins; values alike.
        cu_seqlens_B1: int32 ``(B+1,)`` starts of the proteins, on the tensors' device.
        lengths: residue rows per protein as Python ints, so that nothing waits for the device.
        scale: multiplies the scores.

    Returns:
        ``(B, K, H, C)`` in the queries' dtype.

    Raises:
        ValueError: the lengths do not add up to S.
    """
    if sum(lengths) != residue_keys_SHC.shape[0] or len(lengths) != queries_BKHC.shape[0]:
        raise ValueError(
            f"lengths of {len(lengths)} proteins add up to {sum(lengths)}; the tensors hold "
            f"{queries_BKHC.shape[0]} proteins and {residue_keys_SHC.shape[0]} residue rows"
        )
    channels = queries_BKHC.shape[3]
    too_wide = f"heads of {channels} channels; the kernels take {MAX_CHANNELS}" if channels > MAX_CHANNELS else None
    if choose("ragged_cross_attention", queries_BKHC, unable=too_wide) == "triton":
        attended: Tensor = _TritonAttention.apply(  # type: ignore[no-untyped-call]
            queries_BKHC, latent_keys_BKHC, latent_values_BKHC, residue_keys_SHC, residue_values_SHC, cu_seqlens_B1,
            tuple(lengths), scale,
        )  # fmt: skip
        return attended
    return naive.ragged_cross_attention(
        queries_BKHC, latent_keys_BKHC, latent_values_BKHC, residue_keys_SHC, residue_values_SHC, lengths, scale
    )


class _TritonAttention(torch.autograd.Function):
    """Forward keeps the output and softmax's normalizers; backward reads everything once."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        from protein2text_kernels.ragged_cross_attention.triton import Operands, attend

        *tensors, lengths, scale = arguments
        operands, work = Operands(*tensors), plan(lengths, tensors[0].device)
        output, normalizers = attend(operands, work, scale)
        ctx.save_for_backward(*operands, output, normalizers)
        ctx.work, ctx.scale = work, scale
        return output

    @staticmethod
    @first_only
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        from protein2text_kernels.ragged_cross_attention.triton import Operands, differentiate

        *operands, output, normalizers = ctx.saved_tensors
        gradients = differentiate(Operands(*operands), ctx.work, ctx.scale, output, normalizers, *upstream)
        return *gradients, None, None, None
