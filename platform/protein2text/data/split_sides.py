"""Two ways to choose which proteins are kept for testing: by cluster, and from a file."""

import csv
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from protein2text.data import mmseqs
from protein2text.data.grouping import connected, draw, reached
from protein2text.data.mmseqs import Hit
from protein2text.data.protein_table import ProteinTable
from protein2text.data.split_folder import DROPPED, SPLITS
from protein2text.data.split_work import SplitWork
from protein2text.errors import ConfigError

logger = logging.getLogger(__name__)

VALIDATION_SHARE = 0.05
"""Of the proteins, in ``by_cluster``: whole groups, but not searched against training; it chooses, never judges."""


@dataclass(frozen=True)
class Sides:
    """The outcome of any way, by accession."""

    side: dict[str, str]
    cluster: dict[str, str]
    hits: Callable[[], Iterator[Hit]]
    """Reads the alignments of all that was drawn for test, named by checksum, again at each call."""
    exhaustive: bool
    """Whether the search aligned every pair; otherwise only those that MMseqs2's k-mer filter let through."""
    counts: dict[str, Any] = field(default_factory=dict)
    """For the card: how many accessions were drawn, still had relatives outside, were moved and dropped."""


def by_cluster(
    table: ProteinTable, work: SplitWork, *, share: float, seed: int, on_hit: str, min_identity: float, coverage: float
) -> Sides:
    """Cluster, draw whole groups for test, search them against everything, move or drop what has a relative outside."""
    with work.stage("cluster", f"cluster {len(table.sequences):,} sequences"):
        made = work.kept(
            "clusters.tsv", lambda path: mmseqs.cluster_into(path, table.sequences, min_identity, coverage)
        )
        clusters: dict[str, list[str]] = defaultdict(list)
        for checksum, representative in mmseqs.read_clusters(made, table.sequences).items():
            clusters[representative].append(checksum)
        groups = connected(table.sequences, [*clusters.values(), *table.ties()])
        drawn = draw(groups, share, seed)
    hits, exhaustive = searched(table, work, {name for name, group in groups.items() if group in drawn}, set())
    relatives = [
        hit
        for hit in hits()
        if hit.identity >= min_identity and hit.coverage >= coverage and groups[hit.query] != groups[hit.target]
    ]
    direct = {hit.query for hit in relatives if groups[hit.target] not in drawn}
    moved = reached(drawn, groups, relatives) if on_hit == "move" else set()
    group_of = {accession: groups[checksums[0]] for accession, checksums in table.of_accession.items()}
    rest = {checksum: group for checksum, group in groups.items() if group not in drawn - moved}
    side = dict.fromkeys(groups.values(), "train")
    side |= dict.fromkeys(draw(rest, VALIDATION_SHARE * len(groups) / max(1, len(rest)), seed), "validation")
    side |= dict.fromkeys(drawn - moved, "test")
    found = {accession for accession, checksums in table.of_accession.items() if direct.intersection(checksums)}
    dropped = found if on_hit == "drop" else set()
    sides = {accession: side[group] for accession, group in group_of.items()} | dict.fromkeys(dropped, DROPPED)
    counts = {
        "num_mmseqs_clusters": len(clusters),
        "num_drawn": sum(group in drawn for group in group_of.values()),
        "num_related": len(found),
        "num_moved": sum(group in moved for group in group_of.values()),
        "num_dropped": len(dropped),
    }
    logger.info("by cluster: %s", counts)
    return Sides(sides, labels(group_of), hits, exhaustive, counts)


def searched(
    table: ProteinTable, work: SplitWork, tested: set[str], left_out: set[str]
) -> tuple[Callable[[], Iterator[Hit]], bool]:
    """Search test sequences against all sequences but some.

    Returns:
        A reader of the hits, and whether every pair was aligned.
    """
    queries, targets = table.select(tested), table.select(table.sequences.keys() - left_out)
    with work.stage("search", f"search {len(queries):,} test sequences against {len(targets):,}"):
        path = work.kept("hits.tsv", lambda path: mmseqs.search_into(path, queries, targets))
    return (lambda: mmseqs.read_hits(path, queries, targets)), mmseqs.is_small(queries, targets)


def labels(group_of: Mapping[str, str]) -> dict[str, str]:
    """Name each group by the first of its accessions."""
    first: dict[str, str] = {}
    for accession in sorted(group_of):
        first.setdefault(group_of[accession], accession)
    return {accession: first[group] for accession, group in group_of.items()}


def from_file(table: ProteinTable, work: SplitWork, assignment: Path) -> Sides:
    """Sides as a file gives them; similarity is searched for, and changes nothing."""
    given = _read_assignment(assignment)
    unassigned = sorted(set(table.of_accession) - set(given))
    if unassigned:
        problem = f"{len(unassigned)} proteins of the corpora are not in it, {unassigned[0]} among them"
        raise ConfigError(str(assignment), "accession", f"{problem}; give every protein a split")
    side = {accession: given[accession][0] for accession in table.of_accession}
    test = table.checksums_of(accession for accession, name in side.items() if name == "test")
    hits, exhaustive = searched(table, work, test, test)
    return Sides(side, {accession: given[accession][1] for accession in side}, hits, exhaustive)


def _read_assignment(path: Path) -> dict[str, tuple[str, str]]:
    """Accession to (split, group).

    Raises:
        ConfigError: a line that is not accession, split, group, an accession in two splits, or no UTF-8.
    """
    given: dict[str, tuple[str, str]] = {}
    for number, cells in table_lines(path):
        if len(cells) != 3 or cells[1] not in SPLITS:
            wanted = f"accession, one of {', '.join(SPLITS)}, group, with tabs between"
            raise ConfigError(str(path), f"line {number}", f"{cells} is not: {wanted}")
        accession, side, group = cells
        if given.setdefault(accession, (side, group)) != (side, group):
            problem = f"{accession} is {side} here and {given[accession][0]} above"
            raise ConfigError(str(path), f"line {number}", problem)
    return given


def table_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each line of a table of accessions, without its header and empty lines.

    Raises:
        ConfigError: a line that is not UTF-8.
    """
    number = 0
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for number, cells in enumerate(csv.reader(file, delimiter="\t"), start=1):
                if cells and (number > 1 or cells[0] != "accession"):
                    yield number, cells
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 ({error.reason}); save the table as UTF-8 text with tabs"
        raise ConfigError(str(path), f"after line {number}", problem) from None
