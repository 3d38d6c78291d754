"""Nearest training proteins of each test protein, by MMseqs2."""

from collections.abc import Iterable
from dataclasses import dataclass

from protein2text.data import mmseqs


@dataclass(frozen=True)
class Neighbour:
    """A training sequence found for a test sequence, and their identity (0 to 1)."""

    sequence: str
    identity: float


def nearest(queries: Iterable[str], targets: Iterable[str]) -> dict[str, list[Neighbour]]:
    """Search test sequences against training sequences at MMseqs2's highest sensitivity.

    Returns:
        Neighbours by query sequence, the best alignment first (MMseqs2's own order, by bit score); a query without a
        significant one has an empty list.

    Raises:
        ResourcesUnavailable: MMseqs2 does not run here.
    """
    query_list, target_list = sorted(set(queries)), sorted(set(targets))
    found: dict[str, list[Neighbour]] = {query: [] for query in query_list}
    hits = mmseqs.search(
        {f"q{number}": sequence for number, sequence in enumerate(query_list)},
        {f"t{number}": sequence for number, sequence in enumerate(target_list)},
    )
    for hit in hits:
        sequence = target_list[int(hit.target[1:])]
        found[query_list[int(hit.query[1:])]].append(Neighbour(sequence, hit.identity))
    return found
