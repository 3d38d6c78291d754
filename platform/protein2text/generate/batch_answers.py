"""Answers to any number of questions: in which order they are taken, and how much is in memory at once.

Questions about one protein stand together, so that its latents are needed for a short while only. Within a window, as
many proteins as one batch of the decoder could hold, the longest prompts come first, so that rows of like length meet.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from protein2text.errors import UnusableRecord
from protein2text.generate.engine import Answer, Engine, Prompt
from protein2text.generate.latent_store import LatentStore
from protein2text.models.generation import Decoding
from protein2text.models.protein_to_text import ProteinToText


@dataclass(frozen=True)
class Inquiry:
    """An encoded question about proteins."""

    id: str
    """Different from all others in the run."""
    ids: list[int]
    """Token ids with one placeholder per protein."""
    sequences: tuple[str, ...]
    decoding: Decoding


@dataclass(frozen=True)
class Limits:
    """What may be in memory at once."""

    tokens: int
    """Of prompts, latents and answers in the decoder, padding included; and the latents that wait for their turn."""
    residues: int
    """Of one forward of the encoder."""


def num_prompt_tokens(model: ProteinToText, inquiry: Inquiry) -> int:
    """Rows that a prompt takes in the decoder, those of its proteins included."""
    return model.config.bridge.num_positions(len(inquiry.ids), inquiry.sequences)


def context_window(model: ProteinToText) -> int:
    """Most tokens of prompt and answer together that the decoder takes."""
    return int(model.decoder.language_model.config.max_position_embeddings)


def require_room(model: ProteinToText, inquiry: Inquiry, record: str) -> None:
    """Refuse a prompt that leaves no room for the longest answer: nothing is cut.

    Raises:
        UnusableRecord: above the decoder's context window, reason ``prompt_too_long``.
    """
    window = context_window(model)
    num_tokens = num_prompt_tokens(model, inquiry)
    if num_tokens + inquiry.decoding.max_new_tokens > window:
        raise UnusableRecord(
            "prompt_too_long",
            record,
            "prompt and answer",
            f"{num_tokens} prompt tokens + max_new_tokens={inquiry.decoding.max_new_tokens}",
            f"the decoder's context window is {window} tokens",
            "Shorten the question or lower max_new_tokens.",
        )


class BatchAnswerer:
    """Answers questions on one engine, and counts what that took.

    Args:
        model: the engine's.
        engine: decodes.
        limits: what may be in memory at once; answers do not depend on them.
    """

    def __init__(self, model: ProteinToText, engine: Engine, limits: Limits) -> None:
        self._model, self._engine, self._limits = model, engine, limits
        self.num_encoded = self.num_encoder_passes = self.num_hits = 0

    def answer(self, inquiries: Sequence[Inquiry]) -> Iterator[list[Answer]]:
        """Answers as they come, in no promised order."""
        uses = Counter(sequence for inquiry in inquiries for sequence in inquiry.sequences)
        store = LatentStore(self._model, self._limits.residues, uses)
        try:
            yield from self._engine.answer(self._prompts(inquiries, store), self._limits.tokens)
        finally:
            store.close()
            self.num_encoded += store.num_encoded
            self.num_encoder_passes += store.num_passes
            self.num_hits += store.num_hits

    def _prompts(self, inquiries: Sequence[Inquiry], store: LatentStore) -> Iterator[Prompt]:
        """Prompts with their latents, made when the engine has room for them."""
        for window in self._windows(inquiries):
            store.hold([inquiry.sequences for inquiry in window])
            for inquiry in sorted(window, key=self._num_columns, reverse=True):
                yield Prompt(inquiry.id, inquiry.ids, store.of(inquiry.sequences), inquiry.decoding)
            store.release([inquiry.sequences for inquiry in window])

    def _num_columns(self, inquiry: Inquiry) -> int:
        return num_prompt_tokens(self._model, inquiry) + inquiry.decoding.max_new_tokens

    def _windows(self, inquiries: Sequence[Inquiry]) -> Iterator[list[Inquiry]]:
        """Questions ordered by their proteins, longest first, cut where those of a window fill a batch."""
        window: list[Inquiry] = []
        held: set[str] = set()
        num_held = 0
        num_rows = self._model.config.bridge.num_rows
        for inquiry in sorted(inquiries, key=_protein_order):
            new = set(inquiry.sequences) - held
            if window and new and num_held + sum(num_rows(len(sequence)) for sequence in new) > self._limits.tokens:
                yield window
                window, held, num_held, new = [], set(), 0, set(inquiry.sequences)
            window.append(inquiry)
            held |= new
            num_held += sum(num_rows(len(sequence)) for sequence in new)
        if window:
            yield window


def _protein_order(inquiry: Inquiry) -> list[tuple[int, str]]:
    return sorted((-len(sequence), sequence) for sequence in inquiry.sequences)
