"""Homologues of a query among the characterised proteins of an index, and which of them ground an answer."""

from dataclasses import dataclass

MAX_EVALUE = 1e-3
"""A less significant alignment is chance."""
MIN_COVERAGE = 0.5
"""Of both sequences. Below it the two share a part, such as a domain, and nothing is said of the whole protein."""


@dataclass(frozen=True, slots=True)
class Homologue:
    """One significant alignment of a query with a characterised protein; positions from 1, ends included."""

    accession: str
    identity: float
    """Identical columns over all columns of the alignment, gaps included, 0-1."""
    query_coverage: float
    target_coverage: float
    evalue: float
    bits: float
    query_begin: int
    query_end: int
    target_begin: int
    target_end: int

    @property
    def coverage(self) -> float:
        """The smaller of the two coverages: what both proteins share whole."""
        return min(self.query_coverage, self.target_coverage)

    @property
    def is_whole(self) -> bool:
        """Whether it covers enough of both to speak for the whole query."""
        return self.coverage >= MIN_COVERAGE
