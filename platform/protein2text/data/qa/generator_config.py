"""Which language model writes the pairs, how it decodes, and how many of it run side by side."""

from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from protein2text.base_config import Config


class GeneratorConfig(Config):
    """What the written texts depend on; a folder that was begun with another one is not gone on with."""

    model: str
    """An instruct model's folder, ``preset:NAME`` or hub id; behind a ``url`` the name the service knows it by."""
    revision: str | None = None
    """Hub commit, needed for a hub id; behind a ``url``, what is known of the model's version."""
    url: str | None = None
    """Base of an OpenAI-compatible service, such as ``http://gpu:8000/v1``; None loads the model with transformers."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of a loaded model; ``auto`` is that of its weights."""
    max_new_tokens: int = Field(2048, ge=1)
    """Longest text about one passage."""
    temperature: float = Field(0.6, ge=0.0)
    """0 is greedy."""
    top_p: float = Field(0.9, gt=0.0, le=1.0)
    """Draw among the fewest tokens whose probability reaches this."""
    seed: int = 0
    """With a passage's id it makes that passage's seed."""

    @model_validator(mode="after")
    def _url_can_be_asked(self) -> Self:
        if self.url is None:
            return self
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(f"url={self.url!r} is no http address; write http://HOST:PORT/v1")
        if parts.username or parts.password or parts.query:
            raise ValueError("url holds credentials; put the key into the environment variable OPENAI_API_KEY")
        return self

    @property
    def decoding(self) -> dict[str, float]:
        """How tokens are drawn, the seed apart."""
        return {"max_new_tokens": self.max_new_tokens, "temperature": self.temperature, "top_p": self.top_p}


class GeneratorScaling(Config):
    """How many generators run and what each takes at once; the texts do not depend on it."""

    num_workers: int = Field(1, ge=1)
    cpus_per_worker: float = Field(1, gt=0)
    gpus_per_worker: float = Field(0, ge=0)
    """Above 0, a generator runs on CUDA."""
    batch_passages: int = Field(8, ge=1)
    """Passages that a generator works on at once: rows of a batch, or requests under way."""
