"""A model behind the interface of answerers: the one place that puts model, engine and bounds together."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from protein2text.answerers import AnswerConfig, Query, Reply
from protein2text.errors import AnsweringFailed, ConfigError
from protein2text.generate.batch_answers import BatchAnswerer, Inquiry, Limits, context_window, require_room
from protein2text.generate.engine import Answer, EngineFailed
from protein2text.generate.seeds import record_seed
from protein2text.generate.transformers_engine import TransformersEngine
from protein2text.models.chat import encode_prompt
from protein2text.models.checkpoints import MANIFEST, sha256_of
from protein2text.models.generation import Decoding
from protein2text.models.long_proteins import Reading
from protein2text.models.protein_to_text import ProteinToText
from protein2text.proteins import Protein

CPU_RESIDUES = 2048
"""Residues of one forward of the encoder on a CPU: more leave its cache and are slower (``benchmarks/predict.py``)."""


def open_model(folder: Path, config: AnswerConfig) -> "ModelAnswerer":
    """Load a model folder onto the GPU where there is one.

    Raises:
        MissingFile: no such folder.
        CorruptCheckpoint: it differs from its manifest.
        ConfigError: decoding that does not fit.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = ProteinToText.from_pretrained(folder, compat=config.compat, base=config.base, encoder=config.encoder)
    version = {"name": folder.resolve().name, "manifest_sha256": sha256_of(folder / MANIFEST)}
    return ModelAnswerer(model.to(device).eval(), version, config)


class ModelAnswerer:
    """A loaded model that answers in batches bounded by tokens.

    Raises:
        ConfigError: a value of the decoding outside its range.
    """

    def __init__(self, model: ProteinToText, identity: dict[str, Any], config: AnswerConfig) -> None:
        self._model, self._config = model, config
        self.identity = identity
        self.decoding = resolved(model, config)
        num_residues = config.batch_residues or (
            config.batch_tokens if model.device.type == "cuda" else min(config.batch_tokens, CPU_RESIDUES)
        )
        self._engine = TransformersEngine(model)
        self._batches = BatchAnswerer(model, self._engine, Limits(tokens=config.batch_tokens, residues=num_residues))

    @property
    def settings(self) -> dict[str, Any]:
        return {"compat": self._config.compat, "decoding": self.decoding.model_dump(mode="json")}

    @property
    def reading(self) -> Reading:
        return self._model.reading

    def check(self, query: Query) -> None:
        """See ``Answerer``."""
        require_room(self._model, self._inquiry(query), query.key)

    def answer(self, queries: Sequence[Query]) -> Iterator[list[Reply]]:
        """See ``Answerer``."""
        asked = {query.id: query for query in queries}
        try:
            for answers in self._batches.answer([self._inquiry(query) for query in queries]):
                yield [self._reply(asked[answer.id], answer) for answer in answers]
        except (EngineFailed, torch.OutOfMemoryError) as error:
            raise AnsweringFailed(str(self.identity["name"]), str(error)) from error

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

    def _inquiry(self, query: Query) -> Inquiry:
        decoding = self.decoding.model_copy(update={"seed": record_seed(self.decoding.seed, query.key)})
        return Inquiry(query.id, self._encode(query), tuple(map(_sequence, query.proteins)), decoding)

    def _encode(self, query: Query) -> list[int]:
        if query.messages is None:
            return self._model.encode_question(query.question, len(query.proteins))
        return encode_prompt(self._model.tokenizer, query.messages)

    def _reply(self, query: Query, answer: Answer) -> Reply:
        lengths = [len(protein) for protein in query.proteins]
        details = {
            "read_as": [self.reading.used(length) for length in lengths],
            "beyond_training_length": [self.reading.beyond_training(length) for length in lengths],
            "finish": answer.finish,
            "record_seed": record_seed(self.decoding.seed, query.key),
        }
        return Reply(query.id, self._model.decoder.text_of(answer.ids), details)


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


def _sequence(protein: Protein) -> str:
    return protein.sequence
