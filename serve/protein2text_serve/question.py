"""What travels between the gateway and a model replica. Plain data: the gateway loads no torch."""

from dataclasses import asdict, dataclass
from typing import Any

from protein2text.models.long_proteins import LongProteins, Reading


@dataclass(frozen=True)
class ModelCard:
    """Which model answers: fixed when the service starts, and named in every answer."""

    uri: str
    """A folder, or ``models:/NAME/VERSION`` with the alias already resolved."""
    folder: str
    """Where the service found it; a replica on another machine fetches it by ``uri``."""
    name: str
    version: str
    weights: str
    """SHA-256 over the checksums of all weight files, bases included."""
    max_residues: int
    trained_residues: int
    """Proteins above this length were not seen by the encoder in its training."""
    created: int
    """Unix time at which the service resolved the model."""
    long_proteins: LongProteins = "auto"
    """How the model reads proteins above that length."""

    def reading(self) -> Reading:
        """The model's own, as far as lengths go."""
        return Reading(training_residues=self.trained_residues, long_proteins=self.long_proteins)

    def describe(self) -> dict[str, Any]:
        """As it stands in answers and in ``/v1/models``."""
        return {"name": self.name, "version": self.version, "weights_sha256": self.weights}


@dataclass(frozen=True)
class Settings:
    """How an answer is decoded; temperature 0 is greedy and ignores the rest."""

    max_tokens: int
    temperature: float
    top_p: float
    seed: int


@dataclass(frozen=True)
class Question:
    """A checked request."""

    id: str
    messages: list[dict[str, str]]
    """Roles and contents, one placeholder line per protein at the start of a content."""
    proteins: list[str]
    """Residues, in the order of the placeholders."""
    provenance: dict[str, Any]
    """What the answer says about the proteins, filled by the gateway."""
    settings: Settings

    def extras(self, card: ModelCard) -> dict[str, Any]:
        """The ``protein2text`` object of an answer."""
        return {**card.describe(), **self.provenance, "decoding": asdict(self.settings)}


@dataclass(frozen=True)
class Piece:
    """A part of an answer: text that is final, and with the last one how and after how many tokens it ended."""

    text: str
    finish: str | None = None
    num_prompt_tokens: int = 0
    num_tokens: int = 0
