"""The two ways to choose which proteins are kept for testing."""

import csv
import logging
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from protein2text.data import mmseqs
from protein2text.data.grouping import connected, draw, reached
from protein2text.data.protein_table import ProteinTable
from protein2text.data.split_folder import SPLITS
from protein2text.errors import ConfigError

logger = logging.getLogger(__name__)

VALIDATION_SHARE = 0.05
"""Of the proteins, in ``by_cluster``: whole groups, but not searched against training; it chooses, never judges."""


@dataclass(frozen=True)
class Sides:
    """The outcome of either way, by accession."""

    side: dict[str, str]
    cluster: dict[str, str]
    hits: list[mmseqs.Hit]
    """Alignments of the test sequences, named by checksum; those of moved ones may be among them."""
    moved: frozenset[str]
    exhaustive: bool
    """Whether the search aligned every pair; otherwise only those that MMseqs2's k-mer filter let through."""


def by_cluster(table: ProteinTable, share: float, seed: int, min_identity: float, coverage: float) -> Sides:
    """Cluster, draw whole groups for test, search them against everything, move what has a relative outside."""
    representatives = mmseqs.cluster(table.select(table.sequences), min_identity=min_identity, coverage=coverage)
    clusters: dict[str, list[str]] = defaultdict(list)
    for checksum, representative in representatives.items():
        clusters[representative].append(checksum)
    groups = connected(table.sequences, [*clusters.values(), *table.of_accession.values(), *table.of_text.values()])
    drawn = draw(groups, share, seed)
    queries = table.select(checksum for checksum, group in groups.items() if group in drawn)
    targets = table.select(table.sequences)
    hits = mmseqs.search(queries, targets)
    relatives = [hit for hit in hits if hit.identity >= min_identity and hit.coverage >= coverage]
    moved = reached(drawn, groups, relatives)
    rest = {checksum: group for checksum, group in groups.items() if group not in drawn - moved}
    validation = draw(rest, VALIDATION_SHARE * len(groups) / max(1, len(rest)), seed)
    side = dict.fromkeys(groups.values(), "train")
    side |= dict.fromkeys(validation, "validation") | dict.fromkeys(drawn - moved, "test")
    group_of = {accession: groups[min(checksums)] for accession, checksums in table.of_accession.items()}
    logger.info(
        "%d sequences in %d clusters, joined by accession and text to %d groups; drew %d for test, moved %d back",
        len(groups), len(clusters), len(set(groups.values())), len(drawn), len(moved),
    )  # fmt: skip
    return Sides(
        {accession: side[group] for accession, group in group_of.items()},
        _labels(group_of),
        hits,
        frozenset(accession for accession, group in group_of.items() if group in moved),
        mmseqs.is_small(queries, targets),
    )


def _labels(group_of: Mapping[str, str]) -> dict[str, str]:
    """Name each group by the first of its accessions."""
    first: dict[str, str] = {}
    for accession in sorted(group_of):
        first.setdefault(group_of[accession], accession)
    return {accession: first[group] for accession, group in group_of.items()}


def from_file(table: ProteinTable, assignment: str) -> Sides:
    """Sides as a file gives them; similarity is searched for, and changes nothing."""
    given = _read_assignment(assignment)
    unassigned = sorted(set(table.of_accession) - set(given))
    if unassigned:
        problem = f"{len(unassigned)} proteins of the corpora are not in it, {unassigned[0]} among them"
        raise ConfigError(assignment, "accession", f"{problem}; give every protein a split")
    side = {accession: given[accession][0] for accession in table.of_accession}
    test = table.checksums_of(accession for accession, name in side.items() if name == "test")
    queries, targets = table.select(test), table.select(set(table.sequences) - test)
    labels = {accession: given[accession][1] for accession in side}
    return Sides(side, labels, mmseqs.search(queries, targets), frozenset(), mmseqs.is_small(queries, targets))


def _read_assignment(path: str) -> dict[str, tuple[str, str]]:
    """Accession to (split, group).

    Raises:
        ConfigError: a line that is not accession, split, group, or an accession in two splits.
    """
    given: dict[str, tuple[str, str]] = {}
    with open(path, newline="", encoding="utf-8") as file:
        for number, cells in enumerate(csv.reader(file, delimiter="\t"), start=1):
            if not cells or (number == 1 and cells[0] == "accession"):
                continue
            if len(cells) != 3 or cells[1] not in SPLITS:
                wanted = f"accession, one of {', '.join(SPLITS)}, group, with tabs between"
                raise ConfigError(path, f"line {number}", f"{cells} is not: {wanted}")
            accession, side, group = cells
            if given.setdefault(accession, (side, group)) != (side, group):
                raise ConfigError(path, f"line {number}", f"{accession} is {side} here and {given[accession][0]} above")
    return given
