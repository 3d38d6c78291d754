"""The floating-point operations that a training step needs, however it is computed.

What counts: products of matrices, two operations per multiply-add, forward; for the gradient of what goes in, the same
again; for the gradient of a trained weight, the same once more. What does not: padding, recomputation, filler
micro-batches, rows of logits that nobody supervises, keys that a causal row does not see, the encoder where its states
were kept, and all that is no product (norms, softmax, the optimizer). So six per weight and row for a trained layer,
four for a frozen one with something trained below it, two for the encoder. The usual six per weight would overstate
this training, whose large parts are frozen, by half.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

from torch import nn

from protein2text.models.batches import Batch, ProteinBatch, TextBatch
from protein2text.models.bridge import CrossAttention, GatedCrossAttention, Resampler
from protein2text.models.encoder import Encoder

if TYPE_CHECKING:  # it needs peft, which counting the bridge's operations does not
    from protein2text.models.protein_to_text import ProteinToText

MULTIPLY_ADD = 2
_ATTENTION_PRODUCTS = 6
"""Scores and their use with the values, forward; the gradients of queries, keys, values and weights, backward."""


class UsefulFlops:
    """Counts for one model in one stage: built once its stage is set, before anything wraps or splits it.

    Exact for what the project builds itself. A decoder is counted by its linear layers and its heads, as one that is
    dense and whose rows see all before them; the attention of an encoder of another family than ESM-2 is left out.
    """

    def __init__(self, model: "ProteinToText") -> None:
        language_model = model.decoder.language_model
        head = set(language_model.get_output_embeddings().modules())
        parts = [part for part in language_model.modules() if not isinstance(part, nn.Embedding)]
        self._per_token = sum(_per_row(part) for part in parts if part not in head)
        self._per_logits_row = sum(_per_row(part) for part in parts if part in head)
        config = language_model.config
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self._decoder_channels: int = config.num_hidden_layers * config.num_attention_heads * head_dim
        self._bridge, self._num_latents = model.bridge, model.config.bridge.num_latents
        self._encoder = EncoderFlops(model.encoder)

    def step(self, batch: Batch) -> int:
        """Of one forward and backward pass, the encoder included, which reads each of the batch's proteins once."""
        return self.encoder(batch.proteins) + self.trained(batch)

    def encoder(self, proteins: ProteinBatch) -> int:
        """Forward only, up to the layer whose states are wanted."""
        return self._encoder.forward(proteins.window_lengths)

    def trained(self, batch: Batch) -> int:
        """Bridge and decoder, forward and backward."""
        text = batch.text
        keys_seen = sum(length * (length + 1) // 2 for length in text.lengths)
        decoder = self._per_token * sum(text.lengths) + self._per_logits_row * len(text.labels_M)
        attention = _ATTENTION_PRODUCTS * MULTIPLY_ADD * self._decoder_channels * keys_seen
        return decoder + attention + self._bridge_flops(batch.proteins, text)

    def _bridge_flops(self, proteins: ProteinBatch, text: TextBatch) -> int:
        bridge, total = self._bridge, 0
        rows = sum(proteins.state_lengths)
        if bridge.mm_resampler is not None:
            total += resampler_flops(bridge.mm_resampler, proteins.state_lengths)
            rows = len(proteins.lengths) * self._num_latents
        first, *others = bridge.mm_projector
        total += rows * _per_row(first, input_grad=bridge.mm_resampler is not None)
        total += rows * sum(map(_per_row, others))
        if bridge.mm_gated_cross_attention is not None and any(text.protein_lengths):
            total += _question_reading(bridge.mm_gated_cross_attention, text)
        return total


class EncoderFlops:
    """Of a frozen encoder's forward pass, by the lengths of what attends to itself."""

    def __init__(self, encoder: nn.Module) -> None:
        self._per_row = sum(_per_row(part, input_grad=False) for part in encoder.modules())
        self._channels: int = len(encoder.layers) * encoder.width if isinstance(encoder, Encoder) else 0

    def forward(self, lengths: Sequence[int]) -> int:
        attention = 2 * MULTIPLY_ADD * self._channels * sum(length * length for length in lengths)
        return self._per_row * sum(lengths) + attention


def resampler_flops(resampler: Resampler, state_lengths: Sequence[int]) -> int:
    """Of a trained resampler's forward and backward pass over states that want no gradient."""
    own = len(resampler.latents)
    num_latents, num_rows = own * len(state_lengths), sum(state_lengths)
    scores = sum(own * (length + own) for length in state_lengths)
    total = 0
    for number, layer in enumerate(resampler.layers):
        attention, feed_forward = cast(tuple[CrossAttention, nn.Sequential], layer)
        num_projected = num_latents if number else own  # the first layer's are every protein's
        total += num_projected * (_per_row(attention.to_q) + _per_row(attention.to_kv))
        total += num_latents * sum(map(_per_row, [attention.to_out, *feed_forward]))
        total += num_rows * _per_row(attention.to_kv, input_grad=False)  # the position's gradient is of row sums
        total += _ATTENTION_PRODUCTS * MULTIPLY_ADD * attention.num_heads * attention.head_dim * scores
    return total


def _question_reading(gated: GatedCrossAttention, text: TextBatch) -> int:
    attention = gated.attn
    on_rows: Iterable[nn.Module] = [attention.to_q, attention.to_out, *gated.ff]
    lengths = zip(text.protein_lengths, text.question_lengths, strict=True)
    scores = sum(num_rows * num_words for num_rows, num_words in lengths)
    projections = sum(text.protein_lengths) * sum(map(_per_row, on_rows))
    projections += sum(text.question_lengths) * _per_row(attention.to_kv, input_grad=False)
    return projections + _ATTENTION_PRODUCTS * MULTIPLY_ADD * attention.num_heads * attention.head_dim * scores


def _per_row(module: nn.Module, input_grad: bool = True) -> int:
    """Operations of one row in a layer that multiplies it by a matrix; 0 for any other module.

    Args:
        input_grad: something below is trained, so that the gradient goes on through this layer.
    """
    weight = dict(module.named_parameters(recurse=False)).get("weight")  # peft's layers show their base's as their own
    if weight is None or weight.ndim != 2 or isinstance(module, nn.Embedding):
        return 0
    return int(MULTIPLY_ADD * weight.numel() * (1 + input_grad + weight.requires_grad))
