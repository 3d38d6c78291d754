"""Compatibility mode: a published checkpoint asked, held in memory and read out as its reference implementation does.

What differs from a model trained here: the prompt, the order of roundings (half precision, adapters merged in it, then
bfloat16 throughout, the decoder's rotary frequencies included), the tokens that end an answer, the defaults of
sampling, and a clean-up of spaces in the text.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from protein2text.errors import MissingWeights, RecordError
from protein2text.models.chat import PLACEHOLDER, PROTEIN_ID, Tokenizer, encode_text
from protein2text.models.generation import Decoding
from protein2text.models.model_config import PARTS, LoraConfig, ModelConfig

PUBLISHED_DECODING = Decoding(temperature=0.7, top_k=50, top_p=0.9, max_new_tokens=512)
"""The reference's settings, and the ``top_k`` that its library takes where a base's generation settings name none."""
INDENT = " " * 12
USER, END, ASSISTANT = (
    "<|start_header_id|>user<|end_header_id|>", "<|eot_id|>", "<|start_header_id|>assistant<|end_header_id|>",
)  # fmt: skip
BEFORE = f"\n\n{INDENT}{USER}"
AFTER = f"{END}\n{INDENT}{ASSISTANT}\n{INDENT}\n"
MARKS = ("<|start_header_id|>", "<|end_header_id|>", END)

_SPACED = (" .", " ?", " !", " ,")
_ENDINGS = ("n't", "'m", "'s", "'ve", "'re")


def published_config(config: ModelConfig) -> ModelConfig:
    """The configuration under which a published checkpoint runs: bfloat16 throughout, proteins in one pass."""
    parts: dict[str, Any] = {part: getattr(config, part).model_copy(update={"dtype": "bfloat16"}) for part in PARTS}
    return config.model_copy(update={**parts, "long_proteins": "exact"})


def published_prompt(question: str) -> str:
    """The text of the published prompt, the protein's placeholder included."""
    return f"{PLACEHOLDER}{BEFORE}{_turn(question)}{AFTER}"


def encode_published_prompt(tokenizer: Tokenizer, question: str, num_proteins: int) -> list[int]:
    """Ids of the published prompt: what stands before and after the protein is tokenized apart, the second BOS dropped.

    The question is tokenized together with the white space around it, as the reference's is, but with control tokens
    split into plain characters; so an ordinary question gives the reference's ids, and no question gives a control
    token.

    Raises:
        RecordError: not exactly one protein; the published checkpoint was trained on one.
    """
    if num_proteins != 1:
        remedy = "Ask about one protein, or use a model trained on several."
        raise RecordError("prompt", "proteins", f"{num_proteins} proteins", "the published prompt holds 1", remedy)
    question = question.replace(f"{PLACEHOLDER}\n", "").replace(PLACEHOLDER, "")
    begin: list[int] = list(tokenizer("").input_ids)
    vocabulary = tokenizer.get_added_vocab()
    if all(mark in vocabulary for mark in MARKS):
        rest = [*_template(tokenizer, BEFORE), *encode_text(tokenizer, _turn(question)), *_template(tokenizer, AFTER)]
    else:  # no control tokens of this kind: the template is plain text, and one piece
        rest = encode_text(tokenizer, BEFORE + _turn(question) + AFTER)
    return [*begin, PROTEIN_ID, *rest]


def _turn(question: str) -> str:
    return f"\n{INDENT}{question}\n{INDENT}"


def _template(tokenizer: Tokenizer, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False).input_ids
    return ids


def cleans_up(folder: Path) -> bool:
    """Whether the base's tokenizer asks for the clean-up of spaces; the pinned library did it unless told not to."""
    path = folder / "tokenizer_config.json"
    return bool(json.loads(path.read_text()).get("clean_up_tokenization_spaces", True)) if path.is_file() else True


def clean_up(text: str) -> str:
    """Text without the spaces that some tokenizers leave before punctuation and contractions."""
    for spaced in _SPACED:
        text = text.replace(spaced, spaced[1:])
    text = text.replace(" ' ", "'")
    for ending in _ENDINGS:
        text = text.replace(f" {ending}", ending)
    return text


def settle_decoder(language_model: Any, lora: dict[str, Tensor], config: LoraConfig, num_rows: int) -> None:
    """Merge adapters into a half-precision decoder, cut its vocabulary to the tokenizer's, and cast all of it.

    Each product of adapter matrices is formed in float32 and added in place, so that the sum is rounded to half
    precision once; this is what the recorded logits show, to the last bit.

    Args:
        lora: pairs of adapter matrices by name, as ``lora.safetensors`` holds them.
        num_rows: length of the tokenizer.

    Raises:
        MissingWeights: the tokenizer has more tokens than the embeddings have rows.
    """
    for name, down in lora.items():
        if name.endswith(".lora_A.weight"):
            up = lora[name.replace(".lora_A.", ".lora_B.")]
            weight = language_model.get_submodule(name.removesuffix(".lora_A.weight")).weight
            weight.data += ((up.float() @ down.float()) * (config.alpha / config.rank)).to(weight.device)
    present = language_model.get_input_embeddings().weight.shape[0]
    if num_rows > present:
        problem = f"the tokenizer has {num_rows} tokens, the embeddings {present} rows; the rest would be random"
        raise MissingWeights(str(language_model.config._name_or_path), problem, "Use the base's own tokenizer.")
    if num_rows < present:
        language_model.resize_token_embeddings(num_rows)
    language_model.to(torch.bfloat16)
