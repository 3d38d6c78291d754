"""A training step as LLaVA's code does it, restated plainly for comparison: padded batches and loops over samples.

Proteins are padded to the longest of their micro-batch and the encoder attends eagerly over the rectangle; the
resampler pools one protein after the other; latents are spliced into one sample after the other, which are padded to
the longest; logits are made at every position. The decoder's attention is what transformers chooses by default. Same
weights and examples as the product's step, so the same loss. Kinder than the original in two things: the encoder's last
layer, whose states nobody takes, is not run, and the loss is that of the whole batch instead of a mean of means.

Legend: N samples, R padded residues, E encoder width, H heads, C channels, K latents, T padded tokens, D decoder width.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from protein2text.models.alphabet import PAD_ID
from protein2text.models.chat import IGNORED, PROTEIN_ID, Example
from protein2text.models.encoder import TOKEN_DROPOUT_SCALE
from protein2text.models.protein_to_text import ProteinToText

DECODER_ATTENTION = "sdpa"


class LlavaWay:
    """The model's own weights, used sample by sample; one protein per sample."""

    def __init__(self, model: ProteinToText) -> None:
        self.model = model

    def loss_sum(self, examples: Sequence[Example], sequences: Sequence[str]) -> Tensor:
        """Cross-entropy summed over the samples' supervised tokens, nats."""
        rows_KD = [self._pool(states_RE) for states_RE in self._states(sequences)]
        spliced = [self._splice(example, rows) for example, rows in zip(examples, rows_KD, strict=True)]
        inputs_NTD = pad_sequence([inputs for inputs, _ in spliced], batch_first=True)
        labels_NT = pad_sequence([labels for _, labels in spliced], batch_first=True, padding_value=IGNORED)
        lengths = torch.tensor([len(labels) for _, labels in spliced], device=labels_NT.device)
        mask_NT = torch.arange(labels_NT.shape[1], device=labels_NT.device) < lengths[:, None]
        language_model = self.model.decoder.language_model
        logits_NTV = language_model(inputs_embeds=inputs_NTD, attention_mask=mask_NT.long(), use_cache=False).logits
        shifted, wanted = logits_NTV[:, :-1].flatten(0, 1), labels_NT[:, 1:].flatten()
        return F.cross_entropy(shifted.float(), wanted, ignore_index=IGNORED, reduction="sum")

    @torch.no_grad()
    def _states(self, sequences: Sequence[str]) -> list[Tensor]:
        """Residue states ``(residues + 1, E)`` of each protein, from one padded batch."""
        encoder, device = self.model.encoder, self.model.device
        rows = [torch.tensor(self.model.reading.alphabet.row(sequence)) for sequence in sequences]
        ids_NR = pad_sequence(rows, batch_first=True, padding_value=PAD_ID).to(device)
        hidden_mask = (ids_NR == PAD_ID)[:, None, None]
        stream = encoder.embeddings(ids_NR) * (TOKEN_DROPOUT_SCALE if encoder.shape.token_dropout else 1.0)
        cos_RC, sin_RC = encoder._rotary(torch.arange(ids_NR.shape[1], device=device), stream.dtype)
        for layer in encoder.layers:
            qkv = layer.qkv(layer.attention_norm(stream)).unflatten(-1, (3, encoder.shape.num_heads, -1))
            queries, keys, values = (part.transpose(1, 2) for part in qkv.unbind(2))
            queries = _rotated(queries * queries.shape[-1] ** -0.5, cos_RC, sin_RC)
            scores = queries @ _rotated(keys, cos_RC, sin_RC).transpose(-1, -2)
            weights = scores.masked_fill(hidden_mask, float("-inf")).softmax(-1).to(values.dtype)
            stream = stream + layer.attention_out((weights @ values).transpose(1, 2).flatten(2))
            hidden = F.gelu(layer.feed_forward_in(layer.feed_forward_norm(stream)))
            stream = stream + layer.feed_forward_out(hidden)
        states = stream if encoder.final_norm is None else encoder.final_norm(stream)
        return [states[number, 1 : len(row)] for number, row in enumerate(rows)]

    def _pool(self, states_RE: Tensor) -> Tensor:
        """Decoder rows of one protein, ``(K, D)``; residues and latents are joined in memory."""
        resampler: Any = self.model.bridge.mm_resampler
        latents_KE = resampler.latents
        media_RE = states_RE.to(latents_KE.dtype) + resampler.media_pos_emb[0, 0]
        for attention, feed_forward in resampler.layers:
            heads = (attention.num_heads, attention.head_dim)
            normed_KE = attention.norm_latents(latents_KE)
            joined = attention.to_kv(torch.cat([attention.norm_media(media_RE), normed_KE]))
            keys, values = (part.unflatten(-1, heads).transpose(0, 1) for part in joined.chunk(2, dim=-1))
            queries = attention.to_q(normed_KE).unflatten(-1, heads).transpose(0, 1)
            weights = ((queries * attention.head_dim**-0.5) @ keys.transpose(1, 2)).softmax(-1).to(values.dtype)
            latents_KE = latents_KE + attention.to_out((weights @ values).transpose(0, 1).flatten(1))
            latents_KE = latents_KE + feed_forward(latents_KE)
        rows_KD: Tensor = self.model.bridge.mm_projector(resampler.norm(latents_KE))
        return rows_KD

    def _splice(self, example: Example, rows_KD: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs ``(T, D)`` and labels of one sample, the protein's rows in place of its placeholder."""
        device, place = self.model.device, example.ids.index(PROTEIN_ID)
        before, after = (torch.tensor(ids, device=device) for ids in (example.ids[:place], example.ids[place + 1 :]))
        embed = self.model.decoder.embed
        inputs_TD = torch.cat([embed(before), rows_KD.to(embed(before).dtype), embed(after)])
        labels = [*example.labels[:place], *[IGNORED] * len(rows_KD), *example.labels[place + 1 :]]
        return inputs_TD, torch.tensor(labels, device=device)


def _rotated(rows: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    low, high = rows.chunk(2, dim=-1)
    return rows * cos + torch.cat((-high, low), dim=-1) * sin
