"""What travels between the gateway and a model replica. Plain data: the gateway loads no torch."""

from dataclasses import asdict, dataclass
from typing import Any

from protein2text.models.long_proteins import LongProteins, Reading
from protein2text.proteins import Protein


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
    release: str | None = None
    """Of an index of neighbours, which answers in place of a model; None where a model does."""
    context: dict[str, Any] | None = None
    """Which index gives facts to a model's prompts, and how many tokens at most."""

    @property
    def is_index(self) -> bool:
        """Whether an index of neighbours answers."""
        return self.release is not None

    def reading(self) -> Reading:
        """The model's own, as far as lengths go."""
        return Reading(training_residues=self.trained_residues, long_proteins=self.long_proteins)

    def describe(self) -> dict[str, Any]:
        """As it stands in answers and in ``/v1/models``."""
        named = {"name": self.name, "version": self.version}
        if self.is_index:
            return {**named, "index_sha256": self.weights, "release": self.release}
        return {**named, "weights_sha256": self.weights, **({"context": self.context} if self.context else {})}

    def describe_protein(self, protein: Protein) -> dict[str, Any]:
        """How it reads a protein, as it stands in answers."""
        known = {
            "accession": protein.accession,
            "sequence_sha256": protein.checksum,
            "num_residues": len(protein),
        }
        if self.is_index:
            return known
        reading, length = self.reading(), len(protein)
        beyond = reading.beyond_training(length)
        return {**known, "beyond_training_length": beyond, "read_as": reading.used(length)}


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

    def extras(self, card: ModelCard, details: dict[str, Any] | None = None) -> dict[str, Any]:
        """The ``protein2text`` object of an answer, with what the answerer itself says of it."""
        decoding = {} if card.is_index else {"decoding": asdict(self.settings)}
        return {**card.describe(), **self.provenance, **decoding, **(details or {})}


@dataclass(frozen=True)
class Piece:
    """A part of an answer: text that is final, and with the last one how and after how many tokens it ended."""

    text: str
    finish: str | None = None
    num_prompt_tokens: int = 0
    num_tokens: int = 0
    details: dict[str, Any] | None = None
    """With the last part: facts and sources, as ``Reply.details``."""
