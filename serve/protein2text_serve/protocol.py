"""The wire format of ``/v1/chat/completions``: OpenAI's shape, plus the part ``{"type": "protein"}``.

Shapes are checked here (a request that does not fit is 400); limits are checked in ``limits.py`` (422).
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from protein2text.base_config import Config


class ProteinInput(Config):
    """One protein, as a raw sequence or as one FASTA record; its title is data and never reaches the prompt."""

    sequence: str | None = None
    fasta: str | None = None
    accession: str | None = Field(None, max_length=128)

    @model_validator(mode="after")
    def one_form(self) -> Self:
        if (self.sequence is None) == (self.fasta is None):
            raise ValueError("give exactly one of 'sequence' and 'fasta'")
        return self


class ProteinPart(Config):
    """A protein among the parts of a message."""

    type: Literal["protein"]
    protein: ProteinInput


class TextPart(Config):
    """Text among the parts of a message."""

    type: Literal["text"]
    text: str

    @field_validator("text")
    @classmethod
    def text_is_unicode(cls, text: str) -> str:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"character {error.start + 1} is a lone surrogate, which is no unicode text") from None
        return text


class Message(Config):
    """One turn."""

    role: Literal["system", "user", "assistant"]
    content: list[Annotated[TextPart | ProteinPart, Field(discriminator="type")]]
    """Parts; a plain string is one text part."""

    @field_validator("content", mode="before")
    @classmethod
    def text_is_a_part(cls, content: Any) -> Any:
        return [{"type": "text", "text": content}] if isinstance(content, str) else content


class StreamOptions(Config):
    """What a stream holds beside the answer."""

    include_usage: bool = False


class ChatRequest(Config):
    """A chat completion request; keys of OpenAI's API that are not listed are refused, never ignored in silence."""

    messages: list[Message] = Field(min_length=1)
    model: str | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float = Field(0.0, allow_inf_nan=False)
    """0 is greedy, and the default here: an answer about a protein should not depend on luck."""
    top_p: float = Field(1.0, allow_inf_nan=False)
    seed: int | None = None
    """Drawn by the service and named in the answer when absent, so that any answer can be repeated."""
    n: int = 1
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    user: str | None = None
    """The caller's own mark for an end user; nothing here depends on it."""


def completion(id: str, created: int, model: str, text: str, finish: str, usage: dict[str, int]) -> dict[str, Any]:
    """A ``chat.completion`` object."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish, "logprobs": None}
    return {
        "id": id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [choice],
        "usage": usage,
    }


def chunk(id: str, created: int, model: str, delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    """A ``chat.completion.chunk`` object."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
    return {"id": id, "object": "chat.completion.chunk", "created": created, "model": model, "choices": [choice]}


def usage(num_prompt_tokens: int, num_tokens: int) -> dict[str, int]:
    """OpenAI's token counts; a protein counts as its latents."""
    return {
        "prompt_tokens": num_prompt_tokens,
        "completion_tokens": num_tokens,
        "total_tokens": num_prompt_tokens + num_tokens,
    }
