"""The proteins of several corpora as a split sees them: distinct sequences, and what ties them together."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from protein2text.data.leaks import COLUMNS, texts_of
from protein2text.data.mmseqs import Hit
from protein2text.data.records import iter_local


@dataclass(frozen=True)
class ProteinTable:
    """Sequences are named by their checksum, so that equal ones are one."""

    records: list[dict[str, Any]]
    sequences: dict[str, str]
    """Checksum to residues."""
    of_accession: dict[str, set[str]]
    """Checksums of an accession: several where corpora hold fragments or versions of one protein."""
    of_text: dict[str, set[str]]
    """Checksums that share a text."""

    @classmethod
    def load(cls, corpus: Sequence[str]) -> "ProteinTable":
        """Read the proteins of finished corpora."""
        table = cls(iter_local(corpus, COLUMNS), {}, defaultdict(set), defaultdict(set))
        for record in table.records:
            for protein in record["proteins"]:
                table.sequences[protein["checksum"]] = protein["sequence"]
                table.of_accession[protein["accession"]].add(protein["checksum"])
            if len(record["proteins"]) == 1:
                for text in texts_of(record):
                    table.of_text[text].add(record["proteins"][0]["checksum"])
        return table

    def select(self, checksums: Iterable[str]) -> dict[str, str]:
        """Sequences by name, in a fixed order."""
        return {checksum: self.sequences[checksum] for checksum in sorted(checksums)}

    def checksums_of(self, accessions: Iterable[str]) -> set[str]:
        """All sequences of these accessions."""
        return {checksum for accession in accessions for checksum in self.of_accession[accession]}

    def nearest(self, test: set[str], hits: Iterable[Hit], coverage: float) -> Mapping[str, tuple[float | None, float]]:
        """Highest identity of each test sequence to one outside test.

        Returns:
            Checksum to (over alignments that cover ``coverage`` of one of the two, over all); a sequence that nothing
            outside test aligns to is absent.
        """
        best: dict[str, tuple[float | None, float]] = {}
        for hit in hits:
            if hit.query in test and hit.target not in test:
                covered, local = best.get(hit.query, (None, 0.0))
                if hit.coverage >= coverage:
                    covered = max(covered or 0.0, hit.identity)
                best[hit.query] = covered, max(local, hit.identity)
        return best
