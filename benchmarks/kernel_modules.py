"""The two whole modules: ESM-2 650M up to layer 32, and the resampler at two depths, beside how others run them.

Legend: B proteins, S packed rows, E encoder width, H heads, C channels per head, K latents, F keys and values.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from kernel_attention import MOST_PADDED_ROWS, Attention
from kernel_cases import Case, Sizes, Step
from kernel_ops import EPS, HALF_TOLERANCE, LIBRARY_TOLERANCE, Draw, compiled
from reference_way import resample
from torch import Tensor, nn
from transformers import EsmConfig, EsmModel

from protein2text.models.attention import packed_attention
from protein2text.models.batches import ProteinBatch, pack_proteins
from protein2text.models.bridge import Resampler
from protein2text.models.encoder import TOKEN_DROPOUT_SCALE, Encoder, EncoderShape
from protein2text.models.flops import EncoderFlops, resampler_flops
from protein2text.models.model_config import BridgeConfig
from protein2text_kernels.qkv_rope import naive as plain_rope
from protein2text_kernels.registry import forced

BUDGET_TOKENS = 16_384
"""Of a padded batch of neighbours in length."""
MOST_PADDED_TOKENS = 250_000
PARTS = {
    "attention_norm": "attention.LayerNorm", "attention_out": "attention.output.dense",
    "feed_forward_norm": "LayerNorm", "feed_forward_in": "intermediate.dense", "feed_forward_out": "output.dense",
}  # fmt: skip
"""Of a layer, ours and as transformers has them."""


def encoder(sizes: Sizes, name: str, dtype: torch.dtype, device: torch.device) -> Case:
    """Packed ESM-2, forward."""
    torch.manual_seed(0)
    shape = EncoderShape(sizes.width, sizes.num_layers + 1, sizes.num_heads, 4 * sizes.width, eps=EPS)
    with device:
        ours = Encoder(shape, layer=-2).requires_grad_(False).eval().to(dtype)
    proteins = pack_proteins(
        ["ACDEFGHIKLMNPQRSTVWY" * (length // 20) + "M" * (length % 20) for length in sizes.batches[name]]
    )
    batch = proteins.to(device)
    weights = sum(parameter.numel() for parameter in ours.parameters())
    rows = len(proteins.ids_S)

    def plain(run: Callable[[ProteinBatch], Tensor]) -> Callable[[], Tensor]:
        def step() -> Tensor:
            with forced("naive"):
                return run(batch)

        return step

    def exact() -> Sequence[Tensor]:
        wide = Encoder(shape, layer=-2).to(device).double()
        wide.load_state_dict(ours.state_dict())
        return [plain(wide)()]

    return Case(
        "encoder", "forward", f"{name} S={rows} E={sizes.width} layers={sizes.num_layers}", dtype,
        dtype.itemsize * (weights + rows * sizes.width), EncoderFlops(ours).forward(proteins.window_lengths),
        LIBRARY_TOLERANCE if dtype == torch.float32 else HALF_TOLERANCE,
        exact if max(sizes.batches[name]) <= sizes.exact_up_to else None,
        {
            "ours": lambda: Step(lambda: ours(batch)),
            "packed, eager": lambda: Step(plain(ours)),
            "packed, torch.compile": lambda: Step(lambda: packed_and_compiled(ours, batch)),
            "sorted by length, token budget, SDPA": lambda: padded_encoder(ours, proteins, BUDGET_TOKENS, device),
            "padded to the longest, SDPA": lambda: padded_encoder(ours, proteins, None, device),
        },
    )  # fmt: skip


def before_attention(
    normed: Tensor, weight: Tensor, bias: Tensor, cos: Tensor, sin: Tensor, num_heads: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of a layer, in plain torch."""
    qkv = F.linear(normed, weight, bias).unflatten(-1, (3, num_heads, -1))
    return plain_rope.split_and_rotate(qkv, cos, sin, qkv.shape[-1] ** -0.5)


def after_attention(stream: Tensor, attended: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """What follows attention in a layer, and the next layer's first norm."""
    out, out_bias, scale, shift, up, up_bias, down, down_bias, next_scale, next_shift = weights
    stream = stream + F.linear(attended.flatten(1), out, out_bias)
    hidden = F.gelu(F.linear(F.layer_norm(stream, scale.shape, scale, shift, EPS), up, up_bias))
    stream = stream + F.linear(hidden, down, down_bias)
    return stream, F.layer_norm(stream, next_scale.shape, next_scale, next_shift, EPS)


@torch.no_grad()
def packed_and_compiled(encoder: Encoder, batch: ProteinBatch) -> Tensor:
    """The same weights, all but attention compiled by torch."""
    stream = encoder.embeddings(batch.ids_S) * TOKEN_DROPOUT_SCALE
    cos, sin = encoder._rotary(batch.positions_S, stream.dtype)
    layers: Any = list(encoder.layers)
    normed = layers[0].attention_norm(stream)
    for layer, following in zip(layers, [*layers[1:], layers[0]], strict=True):
        queries, keys, values = compiled(before_attention)(
            normed, layer.qkv.weight, layer.qkv.bias, cos, sin, encoder.shape.num_heads
        )
        attended = packed_attention(
            queries, keys, values, cu_seqlens=batch.cu_seqlens_W1, lengths=batch.window_lengths, scale=1.0, causal=False
        )
        parts = (layer.attention_out, layer.feed_forward_norm, layer.feed_forward_in, layer.feed_forward_out)
        weights = [tensor for part in (*parts, following.attention_norm) for tensor in (part.weight, part.bias)]
        stream, normed = compiled(after_attention)(stream, attended, weights)
    return stream[batch.state_rows]


def padded_encoder(encoder: Encoder, proteins: ProteinBatch, budget: int | None, device: torch.device) -> Step:
    """transformers' ESM-2 with the same weights on padded batches: neighbours in length, or all together."""
    chunks = chunked(proteins.lengths, budget)
    padded = sum(max(chunk) * len(chunk) for chunk in chunks)
    if padded > MOST_PADDED_TOKENS:
        raise MemoryError(f"{padded} padded tokens")
    model = transformers_encoder(encoder, device)
    rows = iter(proteins.ids_S.split(list(proteins.lengths)))
    inputs = []
    for chunk in chunks:
        ids = nn.utils.rnn.pad_sequence([next(rows) for _ in chunk], batch_first=True, padding_value=1)
        inputs.append((ids.to(device), (ids != 1).long().to(device)))

    @torch.no_grad()
    def run() -> list[Tensor]:
        return [model(input_ids=ids, attention_mask=mask).last_hidden_state for ids, mask in inputs]

    def packed(found: list[Tensor]) -> list[Tensor]:
        pairs = [
            (states, length)
            for each, chunk in zip(found, chunks, strict=True)
            for states, length in zip(each, chunk, strict=True)
        ]
        return [torch.cat([states[1:length] for states, length in pairs])]

    return Step(run, packed)


def chunked(lengths: Sequence[int], budget: int | None) -> list[list[int]]:
    """Neighbours of a descending order, as many as fit the budget when padded; all, or one at least."""
    chunks: list[list[int]] = [[]]
    for length in lengths:
        if chunks[-1] and budget is not None and chunks[-1][0] * (len(chunks[-1]) + 1) > budget:
            chunks.append([])
        chunks[-1].append(length)
    return chunks


def transformers_encoder(encoder: Encoder, device: torch.device) -> Any:
    """transformers' ESM-2 up to the layer whose states are wanted, with our weights."""
    shape, dtype = encoder.shape, encoder.embeddings.weight.dtype
    config = EsmConfig(
        vocab_size=33, pad_token_id=1, mask_token_id=32, hidden_size=shape.width, num_hidden_layers=len(encoder.layers),
        num_attention_heads=shape.num_heads, intermediate_size=shape.feed_forward, layer_norm_eps=shape.eps,
        position_embedding_type="rotary", emb_layer_norm_before=False, token_dropout=True, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, attn_implementation="sdpa",
    )  # fmt: skip
    with device:
        model: Any = EsmModel(config, add_pooling_layer=False).eval()
    model.to(dtype)
    model.encoder.emb_layer_norm_after = None
    model.embeddings.word_embeddings.weight = encoder.embeddings.weight
    for ours, theirs in zip(encoder.layers, model.encoder.layer, strict=True):
        for part, name in PARTS.items():
            theirs.get_submodule(name).load_state_dict(ours.get_submodule(part).state_dict())
        projections = (theirs.attention.self.query, theirs.attention.self.key, theirs.attention.self.value)
        fused: Any = ours.qkv
        for own, weight, bias in zip(projections, fused.weight.chunk(3), fused.bias.chunk(3), strict=True):
            own.load_state_dict({"weight": weight, "bias": bias})
    return model


class Pooling:
    """The resampler's forward and backward pass on one batch: parameters in float32, products in ``dtype``."""

    def __init__(self, sizes: Sizes, name: str, depth: int, dtype: torch.dtype, device: torch.device) -> None:
        torch.manual_seed(0)
        self.config = BridgeConfig(
            num_latents=sizes.num_latents, depth=depth, num_heads=sizes.bridge_heads, head_dim=sizes.head_dim
        )
        with device:
            self.module = Resampler(sizes.width, self.config)
        self.attention = Attention(sizes, sizes.batches[name], Draw(device, dtype))
        self.proteins = pack_proteins(["A" * length for length in sizes.batches[name]]).to(device)
        self.states = Draw(device, dtype)(self.attention.rows, sizes.width)
        self.upstream = Draw(device, torch.float32)(len(sizes.batches[name]), sizes.num_latents, sizes.width)
        self.dtype, self.device, self.sizes = dtype, device, sizes

    def differentiated(self, pool: Callable[[], Tensor], module: nn.Module | None = None) -> list[Tensor]:
        """The latents, and all gradients in one piece."""
        parameters = list((module or self.module).parameters())
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            pooled = pool()
        gradients = torch.autograd.grad(pooled, parameters, self.upstream.to(pooled.dtype))
        return [pooled.detach(), torch.cat([gradient.flatten() for gradient in gradients])]

    def exact(self) -> Sequence[Tensor]:
        wide = Resampler(self.sizes.width, self.config).to(self.device).double()
        wide.load_state_dict(self.module.state_dict())
        with forced("naive"), torch.autocast(self.device.type, enabled=False):
            pooled = wide(self.states.double(), self.proteins)
        gradients = torch.autograd.grad(pooled, list(wide.parameters()), self.upstream.double())
        return [pooled.detach(), torch.cat([gradient.flatten() for gradient in gradients])]

    def published_loop(self) -> Tensor:
        weights = {f"mm_resampler.{name}": parameter for name, parameter in self.module.named_parameters()}
        sizes = {"depth": self.config.depth, "num_heads": self.config.num_heads}
        states = self.states.float().split(self.attention.lengths)
        return torch.stack([resample(weights, each, **sizes) for each in states])

    def padded(self) -> Tensor:
        """Every protein padded to the longest, one SDPA for all."""
        lengths = torch.tensor(self.attention.lengths, device=self.device)
        if len(lengths) * max(self.attention.lengths) > MOST_PADDED_ROWS // 2:
            raise MemoryError(f"{len(lengths) * max(self.attention.lengths)} padded rows")
        media = nn.utils.rnn.pad_sequence(self.states.split(self.attention.lengths), batch_first=True)
        media = media + self.module.media_pos_emb[0, 0]
        real = torch.arange(media.shape[1], device=self.device) < lengths[:, None]
        real = F.pad(real, (0, self.config.num_latents), value=True)[:, None, None]
        latents = self.module.latents.expand(len(lengths), -1, -1)
        heads = (self.config.num_heads, -1)
        for attention, feed_forward in self.layers():
            normed = attention.norm_latents(latents)
            joined = attention.to_kv(torch.cat([attention.norm_media(media), normed], dim=1))
            queries, keys, values = (
                rows.unflatten(-1, heads).transpose(1, 2) for rows in (attention.to_q(normed), *joined.chunk(2, dim=-1))
            )
            found = F.scaled_dot_product_attention(queries, keys, values, attn_mask=real)
            latents = latents + attention.to_out(found.transpose(1, 2).flatten(2))
            latents = latents + feed_forward(latents)
        return self.module.norm(latents)

    def varlen_and_compiled(self) -> Tensor:
        """Packed rows, each layer's norms and projections, torch's flash attention; all but attention compiled."""
        media = self.states + self.module.media_pos_emb[0, 0]
        latents = self.module.latents.expand(self.attention.batch, -1, -1)
        heads = (self.config.num_heads, self.config.head_dim)
        for attention, feed_forward in self.layers():
            queries, own, residues = compiled(project)(
                media, latents, affine(attention.norm_media), affine(attention.norm_latents),
                attention.to_q.weight, attention.to_kv.weight,
            )  # fmt: skip
            keys, values = self.attention.joined(own, residues).unflatten(-1, (2, *heads)).unbind(1)
            found = self.attention.varlen(queries.unflatten(-1, heads), keys, values)
            norm, up, _, down = feed_forward
            latents = compiled(feed)(latents, found, attention.to_out.weight, affine(norm), up.weight, down.weight)
        return self.module.norm(latents)

    def layers(self) -> Iterator[tuple[Any, Any]]:
        for layer in self.module.layers:
            attention, feed_forward = layer  # type: ignore[misc]
            yield attention, feed_forward


def project(
    media: Tensor,
    latents: Tensor,
    media_norm: Sequence[Tensor],
    latent_norm: Sequence[Tensor],
    to_q: Tensor,
    to_kv: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """A layer's queries, and keys and values of latents and residues. Of tensors alone: a module compiles by itself."""
    normed = F.layer_norm(latents, latents.shape[-1:], *latent_norm, EPS)
    residues = F.layer_norm(media, media.shape[-1:], *media_norm, EPS)
    return F.linear(normed, to_q), F.linear(normed, to_kv), F.linear(residues, to_kv)


def feed(latents: Tensor, attended: Tensor, to_out: Tensor, norm: Sequence[Tensor], up: Tensor, down: Tensor) -> Tensor:
    """What follows attention in a layer."""
    latents = latents + F.linear(attended.flatten(2), to_out)
    hidden = F.gelu(F.linear(F.layer_norm(latents, latents.shape[-1:], *norm, EPS), up))
    return latents + F.linear(hidden, down)


def affine(norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """Scale and shift."""
    return norm.weight, norm.bias


def resampler(sizes: Sizes, name: str, depth: int, dtype: torch.dtype, device: torch.device) -> Case:
    """The whole resampler, forward and backward."""
    made = Pooling(sizes, name, depth, dtype, device)

    def step(pool: Callable[[], Tensor]) -> Callable[[], Step]:
        return lambda: Step(lambda: made.differentiated(pool))

    features, rows = 2 * sizes.bridge_heads * sizes.head_dim * depth, made.attention.rows
    shape = f"{name} S={rows} K={sizes.num_latents} depth={depth} E={sizes.width}"
    return Case(
        "resampler", "forward + backward", shape, dtype, dtype.itemsize * 2 * rows * (sizes.width + features),
        resampler_flops(made.module, made.attention.lengths),
        LIBRARY_TOLERANCE if dtype == torch.float32 else HALF_TOLERANCE, made.exact,
        {
            "ours": step(lambda: made.module(made.states, made.proteins)),
            "published loop": step(made.published_loop),
            "padded, SDPA": step(made.padded),
            "packed, varlen_attn, torch.compile": step(made.varlen_and_compiled),
        },
    )  # fmt: skip
