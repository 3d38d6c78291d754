"""Turning embedded prompts into answers with transformers' ``generate``.

Legend: D decoder width, N prompts, T tokens of the longest prompt.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from torch import Tensor

from protein2text.base_config import Config
from protein2text.models.chat_template import Tokenizer, answer_frame

if TYPE_CHECKING:
    from protein2text.models.decoder import Decoder


class Decoding(Config):
    """How an answer is drawn. Greedy unless a temperature is given."""

    max_new_tokens: int = Field(64, ge=1)
    temperature: float = Field(0.0, ge=0.0)
    """0 is greedy."""
    top_k: int | None = Field(None, ge=1)
    """Draw among this many most likely tokens; None is all."""
    top_p: float = Field(1.0, gt=0.0, le=1.0)
    """Of those, draw among the fewest whose probability reaches this."""
    seed: int = 0


@torch.inference_mode()
def generate(decoder: "Decoder", prompts: Sequence[Tensor], settings: Decoding) -> list[list[int]]:
    """Answer token ids for embedded prompts, without the end token.

    Prompts are padded on the left, so that all answers begin in the same column.

    Args:
        prompts: ``(T_i, D)`` each, from ``ProteinToText.embed_prompt``.
    """
    longest = max(len(prompt) for prompt in prompts)
    embeddings_NTD = prompts[0].new_zeros(len(prompts), longest, prompts[0].shape[1])
    mask_NT = torch.zeros(len(prompts), longest, dtype=torch.long, device=prompts[0].device)
    for number, prompt in enumerate(prompts):
        embeddings_NTD[number, longest - len(prompt) :] = prompt
        mask_NT[number, longest - len(prompt) :] = 1
    sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    if settings.temperature > 0:
        cut = {"top_k": settings.top_k or 0, "top_p": settings.top_p}
        sampling = {"do_sample": True, "temperature": settings.temperature, **cut}
        torch.manual_seed(settings.seed)
    tokenizer = decoder.tokenizer
    stops = stop_ids(decoder)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else stops[0]
    rows = decoder.language_model.generate(
        inputs_embeds=embeddings_NTD, attention_mask=mask_NT, max_new_tokens=settings.max_new_tokens,
        eos_token_id=stops, pad_token_id=pad, **sampling,
    )  # fmt: skip
    return [_until_stop(row, stops) for row in rows.tolist()]


def stop_ids(decoder: "Decoder") -> list[int]:
    """Tokens that end an answer; in compatibility mode those of the generation settings alone, as in the reference."""
    if decoder.compat:
        return _configured_ends(decoder.language_model.generation_config)
    return end_ids(decoder.language_model.generation_config, decoder.tokenizer)


def end_ids(generation_config: Any, tokenizer: Tokenizer) -> list[int]:
    """Tokens that end an answer: those of the generation settings, the tokenizer's own and the chat template's."""
    _, end = answer_frame(tokenizer)
    return sorted({*_configured_ends(generation_config), end, tokenizer.eos_token_id})


def _configured_ends(generation_config: Any) -> list[int]:
    configured = generation_config.eos_token_id
    listed = configured if isinstance(configured, list) else [configured]
    return sorted({token for token in listed if token is not None})


def _until_stop(row: list[int], stops: list[int]) -> list[int]:
    ends = [position for position, token in enumerate(row) if token in stops]
    return row[: ends[0]] if ends else row
