"""Homologues of a query among the characterised proteins of an index, and the order in which they ground an answer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from protein2text.data import mmseqs
from protein2text.neighbours.entries import Characterised
from protein2text.neighbours.index_folder import NeighbourIndex

MAX_EVALUE = mmseqs.MAX_EVALUE
"""A less significant alignment is chance."""
MIN_COVERAGE = 0.5
"""Of both sequences. Below it the two share a part, such as a domain, and nothing is said of the whole protein."""
MAX_HOMOLOGUES = 300
"""Most homologues of one query: those with the highest bit scores."""
PROTEINS_AT_ONCE = 250
"""Whose homologues' entries are in memory together: some hundreds of megabytes at most."""
NEAR_BEST = 0.5
"""Share of the best bit score below which a homologue grounds nothing, however good its evidence."""


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


def find_homologues(
    index: NeighbourIndex, sequences: Sequence[str], *, without: Mapping[int, frozenset[str]] | None = None
) -> list[list[Homologue]]:
    """Homologues of each sequence, the highest bit score first; one run of MMseqs2 over the distinct sequences.

    Args:
        sequences: residues, upper case.
        without: accessions that are no homologues of the sequence with that number.

    Raises:
        ResourcesUnavailable: MMseqs2 does not run here.
    """
    without = without or {}
    found = dict(stream_homologues(index, list(dict.fromkeys(sequences))))
    return [
        [homologue for homologue in found[sequence] if homologue.accession not in without.get(number, ())]
        for number, sequence in enumerate(sequences)
    ]


def stream_homologues(index: NeighbourIndex, sequences: Sequence[str]) -> Iterator[tuple[str, list[Homologue]]]:
    """Each sequence and its homologues, in order, with those of one sequence in memory at a time."""
    found = mmseqs.search_database(sequences, index.database, MAX_HOMOLOGUES)
    for sequence, alignments in zip(sequences, found, strict=True):
        homologues = [
            Homologue(accession, *alignment[1:])
            for alignment in alignments
            for accession in index.accessions_of(alignment.target)
        ]
        yield sequence, homologues[:MAX_HOMOLOGUES]


def stream_with_entries(
    index: NeighbourIndex, sequences: Sequence[str]
) -> Iterator[tuple[str, list[Homologue], dict[str, Characterised]]]:
    """Each sequence, its homologues and their entries, in order, with those of ``PROTEINS_AT_ONCE`` in memory."""
    stream = stream_homologues(index, sequences)
    while batch := list(islice(stream, PROTEINS_AT_ONCE)):
        entries = index.entries({homologue.accession for _, found in batch for homologue in found})
        for sequence, found in batch:
            yield sequence, found, entries


def rank(kind: str, homologues: Sequence[Homologue], entries: Mapping[str, Characterised]) -> list[Homologue]:
    """The best homologues that say something of a kind about the whole protein, the best ground first.

    Only those with at least ``NEAR_BEST`` of the best bit score: beside a close relative a remote one adds errors. Of
    these, the ones whose entry has experimental evidence for such a fact stand first; within both the highest score.
    """
    stating = {
        homologue: any(fact.is_experimental for fact in facts)
        for homologue in homologues
        if homologue.is_whole and (facts := [fact for fact in entries[homologue.accession].facts if fact.kind == kind])
    }
    best = max((homologue.bits for homologue in stating), default=0.0)
    near = [homologue for homologue in stating if homologue.bits >= NEAR_BEST * best]
    return sorted(near, key=lambda homologue: (not stating[homologue], -homologue.bits, homologue.accession))
