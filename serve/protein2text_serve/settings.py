"""What a service is told at its start: the model, the limits it keeps, and the replicas it may use."""

from typing import Self

from pydantic import Field, model_validator

from protein2text.base_config import Config
from protein2text.errors import ConfigError

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
"""Names under which a browser or client on this machine reaches the service; any other Host header is refused."""


class ServiceConfig(Config):
    """The arguments of ``protein2text_serve.app:build``, on the command line or in a Serve config file."""

    model: str
    """A model folder, ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION`` in the registry, or ``neighbours:DIR``."""
    tracking_uri: str | None = None
    """Registry database, such as ``sqlite:////data/mlflow.db``; needed for a ``models:/`` uri."""
    model_name: str | None = None
    """Name in answers when ``model`` is a folder or an index; a registered model keeps its own."""
    context: str | None = None
    """``neighbours:DIR``: an index whose facts stand in a model's prompts."""
    context_tokens: int = Field(512, gt=0)
    """Most tokens that these facts take of a prompt."""
    allowed_hosts: tuple[str, ...] = LOOPBACK
    """Host headers that are answered; this stops a web page from reaching the service by DNS rebinding."""

    max_body_bytes: int = Field(1 << 20, gt=0)
    """Largest request body, counted as it is received."""
    max_proteins: int = Field(2, gt=0)
    """Most proteins in one request."""
    max_residues: int = Field(40_000, gt=0)
    """Longest protein in a request; a model that refuses what is beyond its encoder's training lowers it to that."""
    max_tokens: int = Field(512, gt=0)
    """Most answer tokens a request may ask for."""
    default_tokens: int = Field(64, gt=0)
    """Answer tokens when a request does not say."""
    max_in_flight: int = Field(32, gt=0)
    """Requests one gateway holds at once; the next is answered 429 with Retry-After."""

    batch_size: int = Field(8, gt=0)
    """Most requests that one replica decodes, or looks up, together."""
    batch_wait_s: float = Field(0.01, ge=0)
    """How long the first request of a batch waits for company."""
    min_replicas: int = Field(1, ge=0)
    max_replicas: int = Field(2, gt=0)
    cpus_per_replica: float = Field(0.2, gt=0)
    """CPUs that Ray reserves for a replica: a reservation, not a bound, so small ones fit beside other jobs."""
    gpus_per_replica: float = Field(0.0, ge=0)
    stall_timeout_s: float = Field(120.0, gt=0)
    """A decoding step that takes longer makes the replica unhealthy, and Serve replaces it."""

    @model_validator(mode="after")
    def context_tokens_bound_a_context(self) -> Self:
        if "context_tokens" in self.model_fields_set and not self.context:
            message = "bounds the facts of context, which is not given; give that, or leave this out"
            raise ConfigError("serve arguments", "context_tokens", message)
        return self
