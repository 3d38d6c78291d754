"""Which data a run uses. Light: it imports neither Ray nor Arrow."""

from typing import Literal

from pydantic import Field

from protein2text.base_config import Config

Part = Literal["corpus", "qa_generator"]


class DataConfig(Config):
    """Corpora and the split that divides them."""

    corpus: list[str] = Field(default_factory=list)
    """Folders written by ``data ingest``."""
    split: str | None = None
    """Folder written by ``data split``; it must cover every protein of ``corpus``."""
    licences: dict[Part, str] = Field(default_factory=dict)
    """Terms known better than the records state them, for the model card: of the ``corpus``, and of the
    ``qa_generator``, the model that wrote questions and answers (``none`` where no model did)."""
    max_residues: int = Field(default=4096, ge=1)
    """Longest protein that ingest accepts, in residues; a longer one is quarantined, never cut."""
