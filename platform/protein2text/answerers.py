"""Who answers questions about proteins: a model, or the characterised neighbours in an index, behind one interface.

``open_answerer`` takes what a user names: a model folder, ``models:/NAME@ALIAS`` or ``neighbours:DIR``. It loads torch
for a model alone; an index with embeddings does when it first meets a protein without a homologue.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

from pydantic import Field, model_validator

from protein2text.base_config import Config
from protein2text.errors import ConfigError
from protein2text.models.long_proteins import Reading
from protein2text.proteins import Protein

NEIGHBOURS = "neighbours:"
"""Before the folder of an index, wherever a model is named."""
REGISTRY = "models:/"
"""Before a name and an alias or version in the registry."""

Message = dict[str, str]


@dataclass(frozen=True)
class Query:
    """A question to any answerer."""

    id: str
    """Different from all others of the run."""
    key: str
    """With the answerer's seed it gives the seed of a sampled answer."""
    question: str
    """Without placeholders."""
    proteins: tuple[Protein, ...]
    messages: tuple[Message, ...] | None = None
    """The whole conversation up to the question, where there is more than the question; with placeholders."""
    without: frozenset[str] = frozenset()
    """Accessions of the index from which nothing may be taken: a test protein must not answer for itself. That
    of an entry stands for its isoforms too."""


@dataclass(frozen=True)
class Reply:
    """An answer."""

    id: str
    """Of its query."""
    text: str
    details: dict[str, Any] = field(default_factory=dict)
    """What an output row says of this answer, beside the text: plain JSON values."""
    claims: str | None = None
    """What an evaluation scores, where the text holds more than claims: sources, and what was measured of them."""


class Answerer(Protocol):
    """What answers questions, in batches. Closed by nothing: it holds memory only."""

    @property
    def identity(self) -> dict[str, Any]:
        """Which version answers: ``name``, ``manifest_sha256``, and for an index its ``release``."""

    @property
    def settings(self) -> dict[str, Any]:
        """What answers depend on beside version and question, by the keys of an output row; plain JSON values."""

    @property
    def reading(self) -> Reading:
        """Which letters and lengths of proteins are taken."""

    def check(self, query: Query) -> None:
        """Return if the question can be asked.

        Raises:
            RecordError: it cannot, with a reason code to count by.
        """

    def answer(self, queries: Sequence[Query]) -> Iterator[list[Reply]]:
        """Answers as they come, in no promised order; the next are made when these are taken.

        Raises:
            AnsweringFailed: a step failed; answers that were given stand.
        """

    def work(self) -> dict[str, float]:
        """What the answers took so far, by name."""


class AnswerConfig(Config):
    """How a model answers; what is None stays as the model has it. An index of neighbours takes none of it."""

    compat: bool = False
    """Prompt, precision and decoding as the published implementation has them."""
    greedy: bool = False
    """The most likely token at every step, as temperature 0."""
    temperature: float | None = None
    top_p: float | None = None
    max_new_tokens: int | None = None
    seed: int = 0
    """With a query's key it gives the seed of that query."""
    batch_tokens: int = Field(8192, ge=1)
    """Bound on the decoder's rows and on the encoder's residues at once; answers do not depend on it."""
    batch_residues: int | None = Field(None, ge=1)
    """Bound on the encoder's residues where it differs."""
    base: str | None = None
    """Where the decoder lies now, if not where it was."""
    encoder: str | None = None
    """Where the encoder lies now, if not where it was."""
    context: str | None = None
    """``neighbours:DIR``: an index whose facts stand in the prompt."""
    context_tokens: int = Field(512, ge=1)
    """Most tokens that these facts take of the prompt."""

    @model_validator(mode="after")
    def context_is_usable(self) -> Self:
        if self.context and self.compat:
            message = "changes the prompt, and --compat asks as the published model did; leave one of the two out"
            raise ConfigError("options", "--context", message)
        if "context_tokens" in self.model_fields_set and not self.context:
            message = "bounds the facts of --context, which is not given; give that, or leave this out"
            raise ConfigError("options", "--context-tokens", message)
        return self


class Located(NamedTuple):
    """Where a model named by a user lies on this machine."""

    folder: Path
    name: str
    version: str | None
    """In the registry; None for a folder."""
    uri: str
    """That names this very version again, whatever an alias says later."""


def index_folder(uri: str) -> Path | None:
    """Folder of an index that is named in place of a model; None where a model is named."""
    return Path(uri.removeprefix(NEIGHBOURS)).expanduser() if uri.startswith(NEIGHBOURS) else None


def locate(uri: str, tracking_uri: str | None = None) -> Located:
    """The folder of a model, by path or by its name in the registry.

    Raises:
        ConfigError: a name in the registry without ``tracking_uri``, or of another form.
        MissingFile: no such name, alias or version.
    """
    if not uri.startswith(REGISTRY):
        folder = Path(uri).expanduser().resolve()
        return Located(folder, folder.name, None, str(folder))
    if tracking_uri is None:
        raise ConfigError(uri, "tracking_uri", "needs the registry's database, such as sqlite:////data/mlflow.db")
    from protein2text.registry import resolve  # MLflow takes seconds to import; a folder needs none of it

    found = resolve(uri, tracking_uri)
    return Located(found.folder, found.name, found.version, found.uri)


def open_answerer(uri: str, config: AnswerConfig | None = None, *, tracking_uri: str | None = None) -> Answerer:
    """What answers under a name that a user gives.

    Args:
        uri: model folder, ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``, or ``neighbours:DIR``.
        config: how a model answers.
        tracking_uri: the registry's database, for ``models:/``.

    Raises:
        ConfigError: an option that this kind does not take, or values that do not fit.
        MissingFile: no such model or index.
        CorruptCheckpoint: it differs from its manifest.
    """
    config = config or AnswerConfig()
    folder = index_folder(uri)
    if folder is None:
        located = locate(uri, tracking_uri)
        if (located.folder / "index.json").is_file():
            raise ConfigError(uri, "model", f"is an index of neighbours, no model; name it {NEIGHBOURS}{uri}")
        from protein2text.generate.model_answerer import open_model

        return open_model(located, config)
    refuse_options(uri, config)
    from protein2text.neighbours.index_answerer import open_index

    return open_index(folder, remote=True)


def refuse_options(uri: str, config: AnswerConfig) -> None:
    """Name the first option that was given and means nothing to an index of neighbours.

    Raises:
        ConfigError: there is one.
    """
    for name in sorted(config.model_fields_set, key=list(AnswerConfig.model_fields).index):
        option = f"--{name.replace('_', '-')}"
        message = f"is an option of models; neighbours quote records and decode nothing. Leave {option} out"
        raise ConfigError(uri, option, message)
