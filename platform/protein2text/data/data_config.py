"""Which data a run uses. Light: it imports neither Ray nor Arrow."""

from typing import Literal

from pydantic import Field

from protein2text.base_config import Config, Folder

Part = Literal["corpus", "qa_generator"]
Kind = Literal["by_cluster", "by_member", "temporal"]
"""How a split chose its sides, and so what a score on its test side may claim."""
OnHit = Literal["move", "drop"]
"""What becomes of a test protein that is too much like training."""


class DataConfig(Config):
    """Corpora and the split that divides them."""

    corpus: list[str] = Field(default_factory=list)
    """Folders written by ``data ingest``."""
    split: str | None = None
    """Folder written by ``data split``; it must cover every protein of ``corpus``."""
    test_sets: list[str] = Field(default_factory=list)
    """Further registered test sets: split folders, of which the test side counts, corpus folders, or FASTA files. Like
    the run's own test side they must not share a sequence, accession or text with the training records; those of a
    ``by_cluster`` split must not be as similar either as it promises."""
    features: Folder | None = None
    """Folder of residue states that runs share and ``protein2text embed`` fills; what a run finds there it does not
    encode. ``state_cache_gib`` of a stage bounds what it adds."""
    allow_leak: bool = False
    """Train in spite of a leak into a registered test set; model card, events and reports then say so."""
    licences: dict[Part, str] = Field(default_factory=dict)
    """Terms known better than the records state them, for the model card: of the ``corpus``, and of the
    ``qa_generator``, the model that wrote questions and answers (``none`` where no model did)."""
    max_residues: int = Field(default=4096, ge=1)
    """Longest protein that ingest accepts, in residues; a longer one is quarantined, never cut."""
