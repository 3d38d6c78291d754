"""ESM-2 on packed rows: no padding, one fused QKV projection, no layer above the one whose states are wanted.

Lin et al., Science 379:1123 (2023). Rotary positions: RoFormer, arXiv:2104.09864. The module holds its own weights;
`encoder_weights` reads them from either published format.

Legend: B proteins, W windows of them, S packed residue rows, E encoder width, H heads, C channels per head.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from protein2text.errors import ConfigError
from protein2text.models.attention import packed_attention
from protein2text.models.batches import ProteinBatch
from protein2text.models.reference_arithmetic import encoder_layer
from protein2text_kernels.bias_gelu import bias_gelu
from protein2text_kernels.qkv_rope import qkv_rope
from protein2text_kernels.residual_layer_norm import residual_layer_norm

ROTARY_BASE = 10_000.0
TOKEN_DROPOUT_SCALE = 1 - 0.15 * 0.8
"""ESM-2 scales embeddings by the share of tokens left visible in training; without masks that is a constant."""


@dataclass(frozen=True)
class EncoderShape:
    """Sizes of an ESM-2 and its two switches."""

    width: int
    num_layers: int
    num_heads: int
    feed_forward: int
    token_dropout: bool = True
    eps: float = 1e-5

    def layer_index(self, layer: int) -> int:
        """Index from 0 (embeddings) to ``num_layers``, negative ones counted from the end.

        Raises:
            ConfigError: outside that range.
        """
        index = layer + self.num_layers + 1 if layer < 0 else layer
        if not 1 <= index <= self.num_layers:
            message = f"{layer} selects layer {index}; this encoder has layers 1 to {self.num_layers}"
            raise ConfigError("model", "encoder.layer", message)
        return index


class EncoderLayer(nn.Module):
    """One pre-norm transformer layer's parameters; the encoder runs them."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(shape.width, eps=shape.eps)
        self.qkv = nn.Linear(shape.width, 3 * shape.width)
        self.attention_out = nn.Linear(shape.width, shape.width)
        self.feed_forward_norm = nn.LayerNorm(shape.width, eps=shape.eps)
        self.feed_forward_in = nn.Linear(shape.width, shape.feed_forward)
        self.feed_forward_out = nn.Linear(shape.feed_forward, shape.width)


class Encoder(nn.Module):
    """ESM-2 up to a chosen layer.

    ``as_reference`` makes it round where the published checkpoint's reference does, see `reference_arithmetic`.
    """

    as_reference = False

    def __init__(self, shape: EncoderShape, *, layer: int = -2, rope: str = "exact") -> None:
        super().__init__()
        self.shape, self.rope = shape, rope
        num_layers = shape.layer_index(layer)
        self.embeddings = nn.Embedding(33, shape.width)
        self.layers = nn.ModuleList(EncoderLayer(shape) for _ in range(num_layers))
        self.final_norm = nn.LayerNorm(shape.width, eps=shape.eps) if num_layers == shape.num_layers else None
        head_dim = shape.width // shape.num_heads
        frequencies = ROTARY_BASE ** -(torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
        self.register_buffer("frequencies_C", frequencies, persistent=False)
        self.frequencies_C: Tensor

    @property
    def width(self) -> int:
        return self.shape.width

    @property
    def row_bytes(self) -> int:
        """Most that a forward has allocated at once, per row: in the GELU, 5 tensors of width E and 3 of the hidden
        width, and the rotary tables."""
        width, hidden, head_dim = self.shape.width, self.shape.feed_forward, self.shape.width // self.shape.num_heads
        return (5 * width + 3 * hidden + 2 * head_dim) * self.embeddings.weight.element_size()

    def _apply(self, fn, recurse=True):  # type: ignore[no-untyped-def]
        """Cast parameters, but keep the rotary frequencies in float32: casting them is how positions get lost."""
        frequencies = self.frequencies_C
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.frequencies_C = frequencies.to(self.frequencies_C.device)
        return self

    def _rotary(self, positions_S: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosines and sines, ``(S, C)``; ``legacy_bf16`` rounds positions and angles as the reference did."""
        rounding = torch.bfloat16 if self.rope == "legacy_bf16" else torch.float32
        angles = positions_S.to(rounding)[:, None] * self.frequencies_C.to(rounding)
        angles_SC = torch.cat((angles, angles), dim=-1)
        return angles_SC.cos().to(dtype), angles_SC.sin().to(dtype)

    @torch.no_grad()
    def forward(self, proteins: ProteinBatch) -> Tensor:
        """Residue states of the chosen layer.

        Returns:
            ``(sum of residues + 1, E)``: the rows of each protein without CLS, with EOS, in the weights' dtype.
        """
        stream_SE = self.embeddings(proteins.ids_S)
        if self.shape.token_dropout:
            stream_SE = stream_SE * TOKEN_DROPOUT_SCALE
        cos_SC, sin_SC = self._rotary(proteins.positions_S, stream_SE.dtype)
        if self.as_reference:
            return self._reference_states(stream_SE, proteins, cos_SC, sin_SC)
        first: EncoderLayer = self.layers[0]  # type: ignore[assignment]
        normed_SE = first.attention_norm(stream_SE)
        for number in range(len(self.layers)):
            stream_SE, normed_SE = self._layer(number, stream_SE, normed_SE, proteins, cos_SC, sin_SC)
        states_SE = stream_SE if self.final_norm is None else normed_SE
        selected: Tensor = states_SE[proteins.state_rows]
        return selected

    def _reference_states(self, stream_SE: Tensor, proteins: ProteinBatch, cos_SC: Tensor, sin_SC: Tensor) -> Tensor:
        for layer in self.layers:
            assert isinstance(layer, EncoderLayer)
            stream_SE = encoder_layer(layer, stream_SE, cos_SC, sin_SC, proteins.window_lengths, self.shape.num_heads)
        states_SE: Tensor = stream_SE if self.final_norm is None else self.final_norm(stream_SE)
        return states_SE[proteins.state_rows]

    def _layer(
        self, number: int, stream_SE: Tensor, normed_SE: Tensor, proteins: ProteinBatch, cos_SC: Tensor, sin_SC: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One layer; its second norm already belongs to the next one, so that residual, bias and norm are one step."""
        layer: EncoderLayer = self.layers[number]  # type: ignore[assignment]
        branch_SE = self._attention(layer, normed_SE, proteins, cos_SC, sin_SC)
        norm, eps = layer.feed_forward_norm, self.shape.eps
        stream_SE, normed_SE = residual_layer_norm(
            stream_SE, branch_SE, layer.attention_out.bias, norm.weight, norm.bias, eps
        )
        hidden_SF = bias_gelu(F.linear(normed_SE, layer.feed_forward_in.weight), layer.feed_forward_in.bias)
        branch_SE = F.linear(hidden_SF, layer.feed_forward_out.weight)
        following = self._norm_after(number)
        if following is None:
            return stream_SE + (branch_SE + layer.feed_forward_out.bias), normed_SE
        return residual_layer_norm(
            stream_SE, branch_SE, layer.feed_forward_out.bias, following.weight, following.bias, eps
        )

    def _attention(
        self, layer: EncoderLayer, normed_SE: Tensor, proteins: ProteinBatch, cos_SC: Tensor, sin_SC: Tensor
    ) -> Tensor:
        """What a layer's attention adds, ``(S, E)`` without its bias; its queries, keys and values end here."""
        qkv_S3HC = F.linear(normed_SE, layer.qkv.weight).view(len(normed_SE), 3, self.shape.num_heads, -1)
        bias_3HC = layer.qkv.bias.view(qkv_S3HC.shape[1:])
        queries, keys, values = qkv_rope(qkv_S3HC, bias_3HC, cos_SC, sin_SC, qkv_S3HC.shape[-1] ** -0.5)
        attended = packed_attention(
            queries, keys, values,
            cu_seqlens=proteins.cu_seqlens_W1, lengths=proteins.window_lengths, scale=1.0, causal=False,
        )  # fmt: skip
        return F.linear(attended.flatten(1), layer.attention_out.weight)

    def _norm_after(self, number: int) -> nn.LayerNorm | None:
        if number + 1 < len(self.layers):
            following: EncoderLayer = self.layers[number + 1]  # type: ignore[assignment]
            return following.attention_norm
        return self.final_norm
