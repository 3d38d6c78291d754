"""A model behind the interface of answerers: the one place that puts model, engine and bounds together."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch

from protein2text.answerers import AnswerConfig, Located, Query, Reply
from protein2text.errors import AnsweringFailed, ConfigError, RecordError
from protein2text.generate.batch_answers import BatchAnswerer, Inquiry, Limits, context_window, require_room
from protein2text.generate.engine import Answer, EngineFailed
from protein2text.generate.seeds import record_seed
from protein2text.generate.transformers_engine import TransformersEngine
from protein2text.models.chat import encode_prompt, question_messages
from protein2text.models.checkpoints import MANIFEST, sha256_of
from protein2text.models.generation import Decoding
from protein2text.models.long_proteins import Reading
from protein2text.models.protein_to_text import ProteinToText
from protein2text.neighbours.context import Context, open_context, put_before_question

CPU_RESIDUES = 2048
"""Residues of one forward of the encoder on a CPU: more leave its cache and are slower (``benchmarks/predict.py``)."""
LOOKED_UP_AT_ONCE = 1000
"""Questions whose proteins are searched in an index together, and whose facts are in memory at once."""


def open_model(located: Located, config: AnswerConfig) -> "ModelAnswerer":
    """Load a model onto the GPU where there is one.

    Raises:
        MissingFile: no such folder.
        CorruptCheckpoint: it differs from its manifest.
        ConfigError: decoding that does not fit.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    folder = located.folder
    model = ProteinToText.from_pretrained(folder, compat=config.compat, base=config.base, encoder=config.encoder)
    registered = {} if located.version is None else {"version": located.version}
    identity = {"name": located.name, **registered, "manifest_sha256": sha256_of(folder / MANIFEST)}
    return ModelAnswerer(model.to(device).eval(), identity, config)


class ModelAnswerer:
    """A loaded model that answers in batches bounded by tokens.

    Raises:
        ConfigError: a value of the decoding outside its range.
    """

    def __init__(self, model: ProteinToText, identity: dict[str, Any], config: AnswerConfig) -> None:
        self._model, self._config = model, config
        self.identity = identity
        self.decoding = resolved(model, config)
        self._context = open_context(config.context, config.context_tokens) if config.context else None
        num_residues = config.batch_residues or (
            config.batch_tokens if model.device.type == "cuda" else min(config.batch_tokens, CPU_RESIDUES)
        )
        self._engine = TransformersEngine(model)
        self._batches = BatchAnswerer(model, self._engine, Limits(tokens=config.batch_tokens, residues=num_residues))

    @property
    def settings(self) -> dict[str, Any]:
        context = {} if self._context is None else {"context": self._context.identity}
        return {"compat": self._config.compat, "decoding": self.decoding.model_dump(mode="json"), **context}

    @property
    def reading(self) -> Reading:
        return self._model.reading

    def check(self, query: Query) -> None:
        """See ``Answerer``."""
        require_room(self._model, self._inquiry(query), query.key)

    def answer(self, queries: Sequence[Query]) -> Iterator[list[Reply]]:
        """See ``Answerer``. With facts in the prompt, so many questions at a time as are looked up together."""
        step = max(len(queries), 1) if self._context is None else LOOKED_UP_AT_ONCE
        try:
            for begin in range(0, len(queries), step):
                yield from self._answer(queries[begin : begin + step])
        except (EngineFailed, torch.OutOfMemoryError) as error:
            raise AnsweringFailed(str(self.identity["name"]), str(error)) from error

    def _answer(self, queries: Sequence[Query]) -> Iterator[list[Reply]]:
        asked = {query.id: query for query in queries}
        contexts = self._contexts(queries)
        texts = {id: context.text for id, context in contexts.items()}
        inquiries = [self._inquiry(query, texts.get(query.id, "")) for query in queries]
        for answers in self._batches.answer(inquiries):
            yield [self._reply(asked[answer.id], answer, contexts.get(answer.id)) for answer in answers]

    def _contexts(self, queries: Sequence[Query]) -> dict[str, Context]:
        """What stands in each prompt, by the query's id; nothing where no index was named."""
        if self._context is None:
            return {}
        return {
            query.id: self._context.lay_out(
                facts, len(query.proteins), self._model.tokenizer, partial(self._fits, query)
            )
            for query, facts in zip(queries, self._context.about(queries), strict=True)
        }

    def work(self) -> dict[str, float]:
        """See ``Answerer``."""
        stats = self._engine.stats()
        return {
            "forward_passes": stats.num_steps,
            "encoder_passes": self._batches.num_encoder_passes,
            "proteins_encoded": self._batches.num_encoded,
            "cache_hits": self._batches.num_hits,
            "padded_to_useful": round(stats.num_padded / max(stats.num_cached, 1), 4),
        }

    def _fits(self, query: Query, text: str) -> bool:
        """Whether the decoder has room for a text before the question."""
        try:
            require_room(self._model, self._inquiry(query, text), query.key)
        except RecordError:
            return False
        return True

    def _inquiry(self, query: Query, context: str = "") -> Inquiry:
        decoding = self.decoding.model_copy(update={"seed": record_seed(self.decoding.seed, query.key)})
        sequences = tuple(protein.sequence for protein in query.proteins)
        return Inquiry(query.id, self._encode(query, context), sequences, decoding)

    def _encode(self, query: Query, context: str) -> list[int]:
        if self._model.compat:
            return self._model.encode_question(query.question, len(query.proteins))
        messages = query.messages or question_messages(query.question, len(query.proteins))
        return encode_prompt(self._model.tokenizer, put_before_question(messages, context) if context else messages)

    def _reply(self, query: Query, answer: Answer, context: Context | None) -> Reply:
        lengths = [len(protein) for protein in query.proteins]
        details = {
            "read_as": [self.reading.used(length) for length in lengths],
            "beyond_training_length": [self.reading.beyond_training(length) for length in lengths],
            "finish": answer.finish,
            "record_seed": record_seed(self.decoding.seed, query.key),
        }
        text = self._model.decoder.text_of(answer.ids)
        if context is not None:
            details["context"] = context.as_dict(text)
        return Reply(query.id, text, details)


def resolved(model: ProteinToText, config: AnswerConfig) -> Decoding:
    """The model's own way of drawing with what was set laid over it.

    Raises:
        ConfigError: a value outside its range, or an answer that leaves no room for a prompt.
    """
    given = {key: getattr(config, key) for key in ("temperature", "top_p", "max_new_tokens", "seed")}
    if config.greedy:
        given |= {"temperature": 0.0, "top_p": 1.0}
    values = model.decoding.model_dump() | {key: value for key, value in given.items() if value is not None}
    decoding = Decoding.parse(values, path="decoding")
    if decoding.max_new_tokens >= (window := context_window(model)):
        message = (
            f"{decoding.max_new_tokens} leaves no room for a prompt; the decoder's context window is {window} tokens"
        )
        raise ConfigError("decoding", "max_new_tokens", message)
    return decoding
