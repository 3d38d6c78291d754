"""From messages to token ids: prompts and training examples, with proteins inside the user's turn."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from protein2text.errors import RecordError
from protein2text.models.chat_template import (
    PLACEHOLDER,
    PROTEIN_ID,
    Message,
    Tokenizer,
    answer_frame,
    encode_text,
    encode_turns,
)

__all__ = [
    "DESCRIPTION_REQUESTS", "IGNORED", "PLACEHOLDER", "PROTEIN_ID", "Example", "Message", "Tokenizer",
    "description_messages", "encode_example", "encode_prompt", "encode_text", "question_messages", "question_of",
]  # fmt: skip

IGNORED = -100
"""Label of a token that is not supervised (torch's cross-entropy default)."""

DESCRIPTION_REQUESTS = (
    "Describe this protein.",
    "What is the function of this protein?",
    "Summarize what is known of this protein.",
)


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
    while PLACEHOLDER in question:  # taking one out can leave another
        question = question.replace(PLACEHOLDER, "")
    return [{"role": "user", "content": f"{PLACEHOLDER}\n" * num_proteins + question}]


def question_of(messages: Sequence[Message]) -> str:
    """The last user's turn without placeholders, on one line."""
    asked = next((turn["content"] for turn in reversed(messages) if turn["role"] == "user"), "")
    return " ".join(asked.replace(PLACEHOLDER, " ").split())


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
    return encode_turns(tokenizer, messages)


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
    lead, end = answer_frame(tokenizer)
    answer = [*encode_text(tokenizer, lead + messages[-1]["content"]), end]
    return Example(prompt + answer, [IGNORED] * len(prompt) + answer)
