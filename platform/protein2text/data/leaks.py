"""What a test protein must not share with training: its sequence, its accession, its text.

Every kind of split promises this much; ``by_cluster`` promises a bound on the measured identity as well.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from protein2text.data.split_folder import DROPPED

MIN_TEXT_WORDS = 8
"""An answer of fewer words ("Yes, it is an enzyme.") may be true of many proteins; a longer one tells one apart."""

COLUMNS = ("record_id", "proteins", "text", "messages", "facts")
"""What `texts_of` and `overlaps` need of a record."""


@dataclass(frozen=True)
class Overlaps:
    """How much of test also stands in training or validation; a leak when any is above zero."""

    sequences: int
    accessions: int
    texts: int

    def as_dict(self) -> dict[str, int]:
        """For a card."""
        return asdict(self)


def texts_of(record: Mapping[str, Any]) -> list[str]:
    """Texts by which a model could recognize this protein, normalized for comparison.

    A description counts, and so does a long free answer. An answer about known facts does not: the same fact holds
    for many proteins, and naming it is the task.
    """
    texts = [record["text"]] if record["text"] is not None else []
    if record["messages"] and record["facts"] is None:
        texts += [turn["content"] for turn in record["messages"] if turn["role"] == "assistant"]
        texts = [text for text in texts if len(text.split()) >= MIN_TEXT_WORDS]
    return [" ".join(text.casefold().split()).rstrip(" .") for text in texts]


def text_keys(record: Mapping[str, Any]) -> list[bytes]:
    """`texts_of` a record as 16 bytes each: to compare texts without keeping them."""
    return [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts_of(record)]


def overlaps(records: Iterable[Mapping[str, Any]], split: Mapping[str, str]) -> Overlaps:
    """Count test sequences, accessions and texts that also stand outside test.

    Args:
        records: rows with the fields of ``COLUMNS``; those whose proteins lie in several splits belong to none.
        split: accession to split; what is dropped is on neither side.
    """
    sides: dict[str, dict[Any, int]] = {kind: defaultdict(int) for kind in ("sequences", "accessions", "texts")}
    for record in records:
        names = {split[protein["accession"]] for protein in record["proteins"]}
        if len(names) == 1 and DROPPED not in names:
            side = 1 if names == {"test"} else 2
            for protein in record["proteins"]:
                sides["sequences"][protein["checksum"]] |= side
                sides["accessions"][protein["accession"]] |= side
            for key in text_keys(record):
                sides["texts"][key] |= side
    return Overlaps(**{kind: sum(found == 3 for found in seen.values()) for kind, seen in sides.items()})
