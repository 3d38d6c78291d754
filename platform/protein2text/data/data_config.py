"""Which data a run uses. Light: it imports neither Ray nor Arrow."""

from pydantic import Field

from protein2text.base_config import Config


class DataConfig(Config):
    """Corpora and the split that divides them."""

    corpus: list[str] = Field(default_factory=list)
    """Folders written by ``data ingest``."""
    split: str | None = None
    """Folder written by ``data split``; it must cover every protein of ``corpus``."""
    max_residues: int = Field(default=4096, ge=1)
    """Longest protein that ingest accepts, in residues; a longer one is quarantined, never cut."""
