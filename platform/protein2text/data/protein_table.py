"""The proteins of several corpora as a split sees them: distinct sequences, and what ties them together."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from protein2text.data.leaks import COLUMNS, text_keys
from protein2text.data.mmseqs import Hit
from protein2text.data.records import stream_records


class Nearest(NamedTuple):
    """What is most like a test sequence outside test."""

    covered: float | None
    """Highest identity, 0-1, over alignments that cover the stated share of one of the two; None where none does."""
    local: float
    """Highest identity over alignments of any length."""
    target: str
    """The sequence behind ``covered``, else behind ``local``."""


@dataclass(frozen=True)
class ProteinTable:
    """Sequences are named by their checksum, so that equal ones are one; texts by their key, so that none is kept."""

    sequences: dict[str, str]
    """Checksum to residues, in the order of checksums."""
    of_accession: dict[str, list[str]]
    """Checksums of an accession: several where corpora hold fragments or versions of one protein."""
    of_text: dict[bytes, list[str]]
    """Checksums of proteins that a text describes, by the text's key."""

    @classmethod
    def load(cls, corpus: Sequence[str | Path]) -> "ProteinTable":
        """Read the proteins of finished corpora; their texts are passed over, one at a time."""
        sequences: dict[str, str] = {}
        of_accession: dict[str, list[str]] = defaultdict(list)
        of_text: dict[bytes, list[str]] = defaultdict(list)
        for record in stream_records(corpus, COLUMNS):
            for protein in record["proteins"]:
                checksum = protein["checksum"]
                if checksum not in sequences:
                    sequences[checksum] = protein["sequence"]
                if checksum not in of_accession[protein["accession"]]:
                    of_accession[protein["accession"]].append(checksum)
            if len(record["proteins"]) == 1:
                for key in text_keys(record):
                    of_text[key].append(record["proteins"][0]["checksum"])
        ordered = {checksum: sequences[checksum] for checksum in sorted(sequences)}
        return cls(ordered, dict(of_accession), dict(of_text))

    def ties(self) -> Iterable[Sequence[str]]:
        """Sequences that must stay together whatever their likeness: those of one accession, and of one text."""
        return (bundle for of in (self.of_accession, self.of_text) for bundle in of.values() if len(bundle) > 1)

    def select(self, checksums: Iterable[str]) -> dict[str, str]:
        """Sequences by name, in a fixed order."""
        return {checksum: self.sequences[checksum] for checksum in sorted(checksums)}

    def checksums_of(self, accessions: Iterable[str]) -> set[str]:
        """All sequences of these accessions."""
        return {checksum for accession in accessions for checksum in self.of_accession[accession]}


def nearest(test: set[str], outside: set[str], hits: Iterable[Hit], coverage: float) -> Mapping[str, Nearest]:
    """The nearest sequence outside test of each test sequence; one that nothing outside aligns to is absent.

    Args:
        test: sequences of test proteins, by checksum.
        outside: those of training and validation proteins.
        hits: alignments, test sequences as queries; others are passed over.
        coverage: share of one of the two, 0-1, from which on an alignment covers it.
    """
    best: dict[str, Nearest] = {}
    for hit in hits:
        if hit.query in test and hit.target in outside:
            before = best.get(hit.query)
            covers = hit.coverage >= coverage
            covered, local = (before.covered, before.local) if before else (None, 0.0)
            nearer = covers and hit.identity > (covered if covered is not None else -1.0)
            first_local = covered is None and not covers and hit.identity > local
            target = hit.target if nearer or first_local or before is None else before.target
            covered = max(covered or 0.0, hit.identity) if covers else covered
            best[hit.query] = Nearest(covered, max(local, hit.identity), target)
    return best
