"""What step 1 knows of a generator: requests go in, texts or the reasons for none come out, one each."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from protein2text.data.passages import Passage
from protein2text.data.qa.generator_config import GeneratorConfig, GeneratorScaling
from protein2text.data.qa.prompt import prompt_messages
from protein2text.generate.seeds import record_seed

TOO_LONG, FAILED = "passage_too_long", "generator_failed"
GENERATOR_REASONS = {
    TOO_LONG: "The prompt and the longest answer do not fit into the generator's context; nothing was cut.",
    FAILED: "The generator gave no text for this passage; the same command tries it again.",
}
"""Why a passage has no text, beside the reasons of the checks."""


@dataclass(frozen=True)
class Request:
    """One passage to write about."""

    passage_id: str
    messages: list[dict[str, str]]
    seed: int
    """Of this passage alone, below 2**31, which every service takes."""


@dataclass(frozen=True)
class Written:
    """What a generator made of one request: a text, or a reason and a message."""

    text: str | None
    finish: str | None = None
    """``stop``: the generator ended it; ``length``: it reached ``max_new_tokens``."""
    reason: str | None = None
    """A key of ``GENERATOR_REASONS``."""
    message: str | None = None


class Generator(Protocol):
    """Writes texts under the schema."""

    def write(self, requests: Sequence[Request]) -> list[Written]:
        """One outcome per request, in order; a request's failure is its own.

        Raises:
            ServiceError: nothing can be written at all, such as with a wrong key.
        """
        ...


def request_for(passage: Passage, seed: int) -> Request:
    """The request about a passage; its seed depends on ``seed`` and the passage's id, not on order or batch."""
    own_seed = record_seed(seed, passage["passage_id"]) % 2**31
    return Request(passage["passage_id"], prompt_messages(passage), own_seed)


def build_generator(config: GeneratorConfig, scaling: GeneratorScaling, api_key: str | None) -> Generator:
    """Load a model or make a client.

    Raises:
        MissingWeights: the model is not there, or has no chat template.
    """
    if config.url is not None:
        from protein2text.data.qa.openai_generator import OpenAiGenerator

        return OpenAiGenerator(config, concurrency=scaling.batch_passages, api_key=api_key)
    from protein2text.data.qa.transformers_generator import TransformersGenerator  # seconds, and torch with it

    return TransformersGenerator(config, device="cuda" if scaling.gpus_per_worker else "cpu")


def generator_identity(config: GeneratorConfig) -> dict[str, str]:
    """Engine, model, revision and precision, as every pair's provenance names them.

    A local folder is named by its last part and the SHA-256 of its files' sums, wherever it lies.

    Raises:
        MissingWeights: no such folder, or a hub id without a revision.
    """
    if config.url is not None:
        return {"engine": "openai", "model": config.model, "revision": config.revision or "not stated"}
    from protein2text.models.checkpoints import sha256_of
    from protein2text.models.model_folder import base_files
    from protein2text.models.sources import resolve_source

    name, revision = config.model, config.revision
    if revision is None:
        path = resolve_source(config.model, None)
        sums = "".join(f"{file.name} {sha256_of(file)}\n" for file in base_files(path))
        revision = f"sha256:{hashlib.sha256(sums.encode()).hexdigest()}"
        name = config.model if config.model.startswith("preset:") else Path(path).name
    return {"engine": "transformers", "model": name, "revision": revision, "dtype": config.dtype}
