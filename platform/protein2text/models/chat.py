"""From messages to token ids: the decoder's own chat template, with proteins inside the user's turn.

User text is tokenized with special tokens split into plain characters, so nothing a user types becomes a control token.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from protein2text.errors import RecordError

PLACEHOLDER = "<protein_sequence>"
"""Stands for one protein in a message, as in the published data."""

PROTEIN_ID = -200
"""Stands for one protein among token ids; replaced by its latents."""

IGNORED = -100
"""Label of a token that is not supervised (torch's cross-entropy default)."""

DESCRIPTION_REQUESTS = (
    "Describe this protein.",
    "What is the function of this protein?",
    "Summarize what is known of this protein.",
)

Message = dict[str, str]
Tokenizer = Any
"""A transformers fast tokenizer; the library ships no usable types."""


@dataclass(frozen=True)
class Example:
    """Token ids of a whole exchange and their labels, same length; ``IGNORED`` on all but the answer and its end."""

    ids: list[int]
    labels: list[int]

    @property
    def num_proteins(self) -> int:
        return self.ids.count(PROTEIN_ID)


def description_messages(text: str, key: str) -> list[Message]:
    """A description as a user's request and the assistant's answer; the wording is chosen by a hash of ``key``."""
    number = hashlib.sha256(key.encode()).digest()[0] % len(DESCRIPTION_REQUESTS)
    request = f"{PLACEHOLDER}\n{DESCRIPTION_REQUESTS[number]}"
    return [{"role": "user", "content": request}, {"role": "assistant", "content": text}]


def question_messages(question: str, num_proteins: int) -> list[Message]:
    """A user's turn about ``num_proteins`` proteins, in the form of the training data."""
    return [{"role": "user", "content": f"{PLACEHOLDER}\n" * num_proteins + question.replace(PLACEHOLDER, "")}]


def encode_prompt(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """Token ids up to where the assistant begins to answer, one ``PROTEIN_ID`` per placeholder in a user's turn.

    Raises:
        RecordError: no messages, or the last one is not the user's.
    """
    if not messages or messages[-1]["role"] != "user":
        last = messages[-1]["role"] if messages else "nothing"
        raise RecordError(
            "prompt", "messages", f"last role {last!r}", "a prompt ends with the user's turn", "Reorder them."
        )
    return _encode_turns(tokenizer, messages)


def encode_example(tokenizer: Tokenizer, messages: Sequence[Message], *, record: str = "example") -> Example:
    """Token ids and labels of an exchange that ends with the assistant's answer; only answer and end are supervised.

    Raises:
        RecordError: the last message is not a non-empty answer of the assistant.
    """
    if len(messages) < 2 or messages[-1]["role"] != "assistant" or not messages[-1]["content"].strip():
        raise RecordError(
            record,
            "messages",
            f"{len(messages)} messages",
            "training needs a question and a non-empty answer",
            "Complete it.",
        )
    prompt = encode_prompt(tokenizer, messages[:-1])
    answer = [*encode_text(tokenizer, messages[-1]["content"]), tokenizer.eos_token_id]
    return Example(prompt + answer, [IGNORED] * len(prompt) + answer)


def encode_text(tokenizer: Tokenizer, text: str) -> list[int]:
    """Plain text to ids; a control token spelled out in the text stays text."""
    ids: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
    return ids


def _encode_turns(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """Render the template around unique marks, then encode template pieces and message texts each in its own way."""
    marks = [f"\ue000{number}\ue001" for number in range(len(messages))]
    marked = [{**message, "content": mark} for message, mark in zip(messages, marks, strict=True)]
    rendered: str = tokenizer.apply_chat_template(marked, tokenize=False, add_generation_prompt=True)
    ids: list[int] = []
    for message, mark in zip(messages, marks, strict=True):
        before, rendered = rendered.split(mark, 1)
        ids += tokenizer(before, add_special_tokens=False).input_ids
        ids += _encode_content(tokenizer, message)
    return ids + list(tokenizer(rendered, add_special_tokens=False).input_ids)


def _encode_content(tokenizer: Tokenizer, message: Message) -> list[int]:
    if message["role"] != "user":
        return encode_text(tokenizer, message["content"])
    first, *rest = message["content"].split(PLACEHOLDER)
    ids = encode_text(tokenizer, first) if first else []
    for piece in rest:
        ids += [PROTEIN_ID, *(encode_text(tokenizer, piece) if piece else [])]
    return ids
