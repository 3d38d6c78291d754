"""The published implementation's way of answering, restated plainly for comparison: one question at a time.

Every question encodes its protein again; the encoder runs all its layers on one protein; the resampler joins residues
and latents and pools one protein; the decoder generates for one prompt. Same weights, same answers as the product's.

Legend: R residues and end, E encoder width, K latents, T prompt tokens, D decoder width.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoModelForCausalLM, EsmModel, EsmTokenizer

from protein2text.models.chat import PROTEIN_ID
from protein2text.models.sources import resolve_source

if TYPE_CHECKING:  # it needs peft, which timing the resampler alone does not
    from protein2text.models.protein_to_text import ProteinToText

Attention = Literal["eager", "sdpa"]
"""Of the encoder: ``eager`` at the version of transformers that the published implementation pins, ``sdpa`` today."""


class ReferenceWay:
    """Encoder and decoder as transformers has them; the bridge's weights are the model's own."""

    def __init__(self, model: "ProteinToText", attention: Attention) -> None:
        encoder, decoder = model.config.encoder, model.config.decoder
        folder = resolve_source(encoder.source, encoder.revision)
        self.tokenizer = EsmTokenizer.from_pretrained(folder)
        self.encoder: Any = EsmModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation=attention)
        self.encoder.eval()
        self.layer = encoder.layer
        self.decoder: Any = AutoModelForCausalLM.from_pretrained(
            resolve_source(decoder.source, decoder.revision), dtype=torch.float32
        )
        self.decoder.eval()
        self.bridge = {name: tensor.detach() for name, tensor in model.bridge_state().items()}
        self.num_heads, self.depth = model.config.bridge.num_heads, model.config.bridge.depth
        self.model = model

    @torch.inference_mode()
    def latents(self, sequence: str) -> Tensor:
        """Projected latents of one protein, ``(K, D)``."""
        inputs = self.tokenizer([sequence], return_tensors="pt", padding=True)
        states = self.encoder(**inputs, output_hidden_states=True).hidden_states[self.layer][0, 1:]
        pooled_KE = resample(self.bridge, states, depth=self.depth, num_heads=self.num_heads)
        hidden = F.gelu(self._linear(pooled_KE, "mm_projector.0"))
        return self._linear(hidden, "mm_projector.2")

    @torch.inference_mode()
    def answer(self, sequence: str, question: str, max_new_tokens: int) -> str:
        """The greedy answer to one question."""
        ids = self.model.encode_question(question, 1)
        place = ids.index(PROTEIN_ID)
        embed = self.decoder.get_input_embeddings()
        prompt_TD = torch.cat([
            embed(torch.tensor(ids[:place])), self.latents(sequence), embed(torch.tensor(ids[place + 1 :])),
        ])  # fmt: skip
        settings: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        mask = torch.ones(1, len(prompt_TD), dtype=torch.long)
        (answer,) = self.decoder.generate(
            inputs_embeds=prompt_TD[None], attention_mask=mask, max_new_tokens=max_new_tokens, use_cache=True,
            pad_token_id=self.model.tokenizer.pad_token_id or self.model.tokenizer.eos_token_id, **settings,
        )  # fmt: skip
        return str(self.model.tokenizer.decode(answer, skip_special_tokens=True)).strip()

    def _linear(self, rows: Tensor, name: str) -> Tensor:
        return linear(self.bridge, rows, name)


def resample(weights: Mapping[str, Tensor], states_RE: Tensor, *, depth: int, num_heads: int) -> Tensor:
    """Perceiver resampler (Flamingo, arXiv:2204.14198) on one protein, keys and values joined in memory, ``(K, E)``.

    Args:
        weights: by published name.
    """
    media_RE = states_RE + weights["mm_resampler.media_pos_emb"][0, 0]
    latents_KE = weights["mm_resampler.latents"]
    for layer in range(depth):
        name = f"mm_resampler.layers.{layer}"
        media = norm(weights, media_RE, f"{name}.0.norm_media")
        normed = norm(weights, latents_KE, f"{name}.0.norm_latents")
        joined = linear(weights, torch.cat([media, normed]), f"{name}.0.to_kv")
        queries, keys, values = (
            rows.unflatten(-1, (num_heads, -1)).transpose(0, 1)
            for rows in (linear(weights, normed, f"{name}.0.to_q"), *joined.chunk(2, dim=-1))
        )
        scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(1, 2)
        attended = (scores.softmax(-1) @ values).transpose(0, 1).flatten(1)
        latents_KE = latents_KE + linear(weights, attended, f"{name}.0.to_out")
        hidden = F.gelu(linear(weights, norm(weights, latents_KE, f"{name}.1.0"), f"{name}.1.1"))
        latents_KE = latents_KE + linear(weights, hidden, f"{name}.1.3")
    return norm(weights, latents_KE, "mm_resampler.norm")


def norm(weights: Mapping[str, Tensor], rows: Tensor, name: str) -> Tensor:
    """A layer norm by its name."""
    return F.layer_norm(rows, rows.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])


def linear(weights: Mapping[str, Tensor], rows: Tensor, name: str) -> Tensor:
    """A linear layer by its name, with the bias that it may have."""
    return F.linear(rows, weights[f"{name}.weight"], weights.get(f"{name}.bias"))
