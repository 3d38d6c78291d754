"""Ragged cross-attention of the resampler, forward and backward, beside what libraries have for it.

Legend: B proteins, S packed residue rows, K latents, H heads, C channels per head, N keys of the longest protein.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from kernel_cases import Case, Sizes, Step, rotating
from kernel_ops import SETS, TOLERANCES, Draw, backward
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from protein2text.models.attention import packed_cross_attention
from protein2text_kernels.ragged_cross_attention import naive, ragged_cross_attention, work
from protein2text_kernels.registry import ran

MOST_PADDED_ROWS = 3_000_000
"""Of proteins padded to the longest; with titin among 64 they are 2.3 million."""
UNCUT = 2**30


class Attention:
    """Inputs of one batch, and the ways to attend."""

    def __init__(self, sizes: Sizes, lengths: list[int], draw: Draw) -> None:
        self.lengths = [length + 1 for length in lengths]  # the end token has a state too
        self.batch, self.latents, self.heads, self.channels = (
            len(lengths), sizes.num_latents, sizes.bridge_heads, sizes.head_dim,
        )  # fmt: skip
        self.draw, self.rows, self.scale = draw, sum(self.lengths), sizes.head_dim**-0.5
        self.key_lengths, self.query_lengths = (
            [each + self.latents for each in self.lengths],
            [self.latents] * self.batch,
        )
        self.starts, self.key_starts, self.query_starts = map(
            self._starts, (self.lengths, self.key_lengths, self.query_lengths)
        )
        own, residues = (self.batch, self.latents), (self.rows,)
        shapes = [(*first, self.heads, self.channels) for first in (own, own, own, residues, residues)]
        self.sets = [tuple(draw(*shape, grad=True) for shape in shapes) for _ in range(SETS)]
        self.upstream = draw(*shapes[0])

    def _starts(self, lengths: Sequence[int]) -> Tensor:
        return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=self.draw.device)

    def ours(self, *operands: Tensor) -> Tensor:
        return ragged_cross_attention(*operands, cu_seqlens_B1=self.starts, lengths=self.lengths, scale=self.scale)

    def loop(self, *operands: Tensor) -> Tensor:
        return naive.ragged_cross_attention(*operands, self.lengths, self.scale)

    def joined(self, own: Tensor, residues: Tensor) -> Tensor:
        """Each protein's residues and its latents in one piece of memory."""
        pairs = zip(residues.split(self.lengths), own, strict=True)
        return torch.cat([piece for pair in pairs for piece in pair])

    def varlen(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """torch's flash attention over packed rows, as the product's other attention calls it; on a CPU its plain form.

        Raises:
            TypeError: a GPU and float32, which flash attention does not take.
        """
        if queries.is_cuda and queries.dtype == torch.float32:
            raise TypeError("flash attention takes half precisions")
        found = packed_cross_attention(
            queries.flatten(0, 1), keys, values, cu_seqlens=self.query_starts, lengths=self.query_lengths,
            key_cu_seqlens=self.key_starts, key_lengths=self.key_lengths, scale=self.scale,
        )  # fmt: skip
        return found.view_as(queries)

    def varlen_with_concat(
        self, queries: Tensor, own_keys: Tensor, own_values: Tensor, keys: Tensor, values: Tensor
    ) -> Tensor:
        return self.varlen(queries, self.joined(own_keys, keys), self.joined(own_values, values))

    def joined_sets(self) -> list[tuple[Tensor, ...]]:
        """What varlen attends to, joined beforehand."""
        return [
            (queries, self.joined(own_keys, keys).detach().requires_grad_(),
             self.joined(own_values, values).detach().requires_grad_())
            for queries, own_keys, own_values, keys, values in self.sets
        ]  # fmt: skip

    def padded_sets(self) -> list[tuple[Tensor, ...]]:
        """Queries, keys and values ``(B, H, rows, C)``, padded beforehand, and which keys are real."""
        lengths = self.key_lengths
        if self.batch * max(lengths) > MOST_PADDED_ROWS:
            raise MemoryError(f"{self.batch * max(lengths)} padded rows")
        real = (
            torch.arange(max(lengths), device=self.draw.device)
            < torch.tensor(lengths, device=self.draw.device)[:, None]
        )
        sets = []
        for queries, *joined in self.joined_sets():
            padded = [
                torch.nn.utils.rnn.pad_sequence(each.split(lengths), batch_first=True).transpose(1, 2)
                for each in joined
            ]
            turned = [queries.transpose(1, 2), *padded]
            sets.append((*(each.detach().contiguous().requires_grad_() for each in turned), real[:, None, None]))
        return sets

    def padded(self, queries: Tensor, keys: Tensor, values: Tensor, real: Tensor) -> Tensor:
        """cuDNN's attention and no other on a GPU."""
        backend = SDPBackend.CUDNN_ATTENTION if queries.is_cuda else SDPBackend.MATH
        with sdpa_kernel(backend):
            found = F.scaled_dot_product_attention(queries, keys, values, attn_mask=real, scale=self.scale)
        return found.transpose(1, 2)

    def of_joined(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Gradients of what was joined, in the form of the five operands'."""
        queries, *joined = gradients
        lengths = [size for length in self.lengths for size in (length, self.latents)]
        pieces = [each.split(lengths) for each in joined]
        return [queries, *(torch.stack(each[1::2]) for each in pieces), *(torch.cat(each[::2]) for each in pieces)]

    def of_padded(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        turned = [each.transpose(1, 2) for each in gradients]
        lengths = [length + self.latents for length in self.lengths]
        packed = [torch.cat([rows[:length] for rows, length in zip(each, lengths, strict=True)]) for each in turned[1:]]
        return self.of_joined([turned[0], *packed])

    def unsplit(self) -> Callable[..., Tensor]:
        """The forward kernel where no protein is cut, however long."""
        from protein2text_kernels.ragged_cross_attention.triton import Operands, attend

        before, work.PART_ROWS = work.PART_ROWS, UNCUT
        try:
            whole = work.plan.__wrapped__(tuple(self.lengths), self.draw.device)
        finally:
            work.PART_ROWS = before
        return lambda *operands: attend(Operands(*operands, self.starts), whole, self.scale)[0]

    def alone_as_in_the_batch(self) -> bool:
        """Whether the last protein's output has the same bits alone, as Triton's form promises."""
        *own, keys, values = self.sets[0]
        last = self.lengths[-1]
        parts = [*(each[-1:] for each in own), keys[-last:], values[-last:]]
        alone = ragged_cross_attention(*parts, cu_seqlens_B1=self._starts([last]), lengths=[last], scale=self.scale)
        return ran["ragged_cross_attention"].name == "naive" or torch.equal(alone[0], self.ours(*self.sets[0])[-1])


def attention(sizes: Sizes, name: str, dtype: torch.dtype, device: torch.device) -> Iterator[Case]:
    """K5 and K6 at one batch of proteins."""
    made = Attention(sizes, sizes.batches[name], Draw(device, dtype))
    exact_inputs = lambda: [each.detach().double().requires_grad_() for each in made.sets[0]]  # noqa: E731

    def exact_gradients() -> Sequence[Tensor]:
        operands = exact_inputs()
        return torch.autograd.grad(made.loop(*operands), operands, made.upstream.double())

    own, rows = made.batch * made.latents, made.rows
    per_row = made.heads * made.channels
    number = dtype.itemsize
    scores = sum(made.latents * (length + made.latents) for length in made.lengths)
    shape = f"{name} S={rows} K={made.latents} H={made.heads} C={made.channels}"
    yield Case(
        "ragged_cross_attention", "forward", shape, dtype, number * per_row * (4 * own + 2 * rows),
        4 * per_row * scores, TOLERANCES[dtype], lambda: [made.loop(*exact_inputs()).detach()],
        _forward_providers(made, sizes.exact_up_to), made.alone_as_in_the_batch,
    )  # fmt: skip
    yield Case(
        "ragged_cross_attention", "backward", shape, dtype, number * per_row * (8 * own + 4 * rows),
        10 * per_row * scores, TOLERANCES[dtype], exact_gradients, _backward_providers(made),
    )  # fmt: skip


def _forward_providers(made: Attention, long: int) -> dict[str, Callable[[], Step]]:
    providers = {
        "ours": lambda: Step(rotating(made.sets, made.ours)),
        "loop over proteins, SDPA": lambda: Step(rotating(made.sets, made.loop)),
        "varlen_attn with its concat": lambda: Step(rotating(made.sets, made.varlen_with_concat)),
        "varlen_attn, joined before": lambda: Step(rotating(made.joined_sets(), made.varlen)),
        "SDPA padded before, cuDNN": lambda: Step(rotating(made.padded_sets(), made.padded)),
    }
    if max(made.lengths) > long:
        providers["ours, unsplit"] = lambda: Step(rotating(made.sets, made.unsplit()))
    return providers


def _backward_providers(made: Attention) -> dict[str, Callable[[], Step]]:
    def step(do: Callable[..., Tensor], sets: Sequence[tuple[Tensor, ...]], back: Any = None) -> Step:
        of = backward(do, sets, made.upstream, lambda inputs: [each for each in inputs if each.requires_grad])
        return of if back is None else of._replace(results=back)

    return {
        "ours": lambda: step(made.ours, made.sets),
        "loop over proteins, SDPA": lambda: step(made.loop, made.sets),
        "varlen_attn with its concat": lambda: step(made.varlen_with_concat, made.sets),
        "varlen_attn, joined before": lambda: step(made.varlen, made.joined_sets(), made.of_joined),
        "SDPA padded before, cuDNN": lambda: step(made.padded, made.padded_sets(), made.of_padded),
    }
