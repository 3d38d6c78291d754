"""What every engine offers: tokens for a batch of prompts, as they are made."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

from protein2text.models.generation import Decoding

Finish = Literal["stop", "length", "cancelled"]


class EngineFailed(RuntimeError):
    """An engine that cannot go on; its process should be replaced."""


@dataclass(frozen=True)
class Prompt:
    """One request to an engine."""

    id: str
    ids: list[int]
    """Token ids with one ``PROTEIN_ID`` per protein."""
    latents: list[Tensor]
    """``(K, D)`` per protein, in the order of the ids."""
    decoding: Decoding


@dataclass(frozen=True)
class Token:
    """One new token; the last one of an answer says why it ended. A cancelled answer ends with id -1."""

    id: int
    finish: Finish | None = None


@dataclass(frozen=True)
class Answer:
    """A whole answer: its token ids without the one that ended it."""

    id: str
    """Of its prompt."""
    ids: list[int]
    finish: Finish


@dataclass(frozen=True)
class EngineStats:
    """Counters since the start, and what runs now."""

    num_active: int
    num_requests: int
    num_tokens: int
    num_steps: int
    """Forward passes of the decoder."""
    num_cached: int = 0
    """Key-value rows that the steps attended to, summed over steps and answers."""
    num_padded: int = 0
    """The same with the padding that the batches held."""


class Engine(Protocol):
    """A decoder with its weights. One thread calls ``generate`` and exhausts it; the rest may be called from any."""

    def start(self) -> None:
        """Load what is needed to answer. Raises when the weights are missing or differ from their manifest."""

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[list[Token | None]]:
        """Decode a batch. Each step has one entry per prompt, None once its answer has ended."""

    def answer(self, prompts: Iterable[Prompt], max_tokens: int) -> Iterator[list[Answer]]:
        """Decode any number of prompts; those under way hold at most ``max_tokens`` rows of prompt and answer.

        Prompts are taken as there is room for them, so they may be made lazily. Answers come as they end.
        """

    def cancel(self, id: str) -> None:
        """Stop an answer before its next token; unknown and finished ids are ignored."""

    def stats(self) -> EngineStats:
        """Counters for metrics and for tests that count."""

    def health(self) -> None:
        """Return if the engine can answer.

        Raises:
            EngineFailed: a step failed, or has run for too long.
        """
