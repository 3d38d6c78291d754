"""One batch of questions on a replica: tokens from the engine, text pieces to the callers. No Ray in here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from protein2text.errors import RecordError
from protein2text.generate.engine import Engine, Prompt, Token
from protein2text.generate.text_stream import TextStream
from protein2text.models.chat import encode_prompt
from protein2text.models.generation import Decoding
from protein2text.models.protein_to_text import ProteinToText
from protein2text.neighbours.context import Context, ContextFact, ContextIndex, put_before_question
from protein2text_serve.question import Piece, Question

Step = list[Piece | type[StopAsyncIteration]]
"""One entry per question; ``StopAsyncIteration`` tells Serve that this caller has got all."""


@dataclass(frozen=True)
class Prepared:
    """A question whose prompt is known to fit the decoder."""

    question: Question
    ids: list[int]
    num_prompt_tokens: int
    context: Context | None = None
    """Facts that stand in the prompt."""


def prepare(model: ProteinToText, question: Question, facts: str = "") -> Prepared:
    """Tokenize a question, with the text of some facts before it.

    Raises:
        RecordError: prompt and answer together exceed the decoder's context window.
    """
    messages = put_before_question(question.messages, facts) if facts else question.messages
    ids = encode_prompt(model.tokenizer, messages)
    num_tokens = model.config.bridge.num_positions(len(ids), question.proteins)
    window = int(model.decoder.language_model.config.max_position_embeddings)
    if num_tokens + question.settings.max_tokens > window:
        raise RecordError(
            "messages",
            "prompt and answer",
            f"{num_tokens} prompt tokens + max_tokens={question.settings.max_tokens}",
            f"the decoder's context window is {window} tokens",
            "Shorten the question, ask about fewer proteins, or lower max_tokens.",
        )
    return Prepared(question, ids, num_tokens)


def prepare_with_facts(
    model: ProteinToText, index: ContextIndex, question: Question, facts: Sequence[ContextFact]
) -> Prepared:
    """Tokenize a question with as many facts as have room before it."""

    def fits(text: str) -> bool:
        try:
            prepare(model, question, text)
        except RecordError:
            return False
        return True

    context = index.lay_out(facts, len(question.proteins), model.tokenizer, fits)
    return replace(prepare(model, question, context.text), context=context)


def answer_batch(model: ProteinToText, engine: Engine, batch: Sequence[Prepared]) -> Iterator[Step]:
    """Encode all proteins of a batch together, then decode its answers together, step by step."""
    with torch.inference_mode():
        bank = model.latent_bank({sequence for item in batch for sequence in item.question.proteins})
    prompts = []
    for item in batch:
        settings = item.question.settings
        decoding = Decoding(
            max_new_tokens=settings.max_tokens,
            temperature=settings.temperature,
            top_p=settings.top_p,
            seed=settings.seed,
        )
        latents = [bank[sequence] for sequence in item.question.proteins]
        prompts.append(Prompt(item.question.id, item.ids, latents, decoding))
    answers = [_Answer(TextStream(model.tokenizer), item.num_prompt_tokens, item.context) for item in batch]
    for tokens in engine.generate(prompts):
        yield [
            StopAsyncIteration if token is None else answer.take(token)
            for answer, token in zip(answers, tokens, strict=True)
        ]


@dataclass
class _Answer:
    """Text and counts of one answer under way."""

    text: TextStream
    num_prompt_tokens: int
    context: Context | None = None
    num_tokens: int = 0
    said: str = ""

    def take(self, token: Token) -> Piece:
        """The piece that a token completes; the token that ends an answer counts, as the decoder made it."""
        self.num_tokens += token.finish != "cancelled"
        text = self.text.push(token.id) if token.finish in (None, "length") else ""
        if token.finish is not None:
            text += self.text.close()
        self.said += text
        if token.finish is None:
            return Piece(text)
        details = None if self.context is None else {"context": self.context.as_dict(self.said)}
        return Piece(text, token.finish, self.num_prompt_tokens, self.num_tokens, details)
