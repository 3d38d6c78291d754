"""The third way to choose what is kept for testing: by the date on which an entry was created."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path

from protein2text.data import mmseqs
from protein2text.data.grouping import connected
from protein2text.data.protein_table import ProteinTable
from protein2text.data.records import stream_records
from protein2text.data.split_folder import DROPPED
from protein2text.data.split_sides import Sides, labels, searched, table_lines
from protein2text.data.split_work import SplitWork
from protein2text.errors import ConfigError

Dates = Mapping[str, date]
"""Accession to the day on which its entry was created."""


def temporal(
    table: ProteinTable,
    work: SplitWork,
    dates: Dates,
    *,
    after: date,
    on_hit: str,
    min_identity: float,
    coverage: float,
) -> Sides:
    """Entries created after a day are for testing; similarity is searched for, and changes nothing.

    A new entry that shares its sequence or its text with an older one was known before: it is moved or dropped. Test
    proteins are clustered, because relatives among them are no independent evidence.

    Raises:
        ConfigError: a protein without a date; none is guessed.
    """
    undated = sorted(set(table.of_accession) - set(dates))
    if undated:
        problem = f"{len(undated)} of {len(table.of_accession)} proteins have no date, {undated[0]} among them"
        raise ConfigError("data split", "dates", f"{problem}; give a table of accession and date with --dates")
    ties = connected(table.sequences, table.ties())
    bundle = {accession: ties[checksums[0]] for accession, checksums in table.of_accession.items()}
    new = {accession for accession in bundle if dates[accession] > after}
    old_bundles = {bundle[accession] for accession in bundle.keys() - new}
    known = {accession for accession in new if bundle[accession] in old_bundles}
    side = {accession: "test" if accession in new else "train" for accession in bundle}
    side |= dict.fromkeys(known, DROPPED if on_hit == "drop" else "train")
    test = table.checksums_of(new - known)
    with work.stage("cluster", f"cluster {len(test):,} test sequences"):
        tested = table.select(test)
        made = work.kept("clusters.tsv", lambda path: mmseqs.cluster_into(path, tested, min_identity, coverage))
        clusters: dict[str, list[str]] = defaultdict(list)
        for checksum, representative in mmseqs.read_clusters(made, tested).items():
            clusters[representative].append(checksum)
        groups = connected(table.sequences, [*clusters.values(), *table.ties()])
    hits, exhaustive = searched(table, work, test, test)
    counts = {
        "num_drawn": len(new),
        "num_related": len(known),
        "num_moved": len(known) if on_hit == "move" else 0,
        "num_dropped": len(known) if on_hit == "drop" else 0,
        "days": {
            name: _range(dates[accession] for accession in side if side[accession] == name)
            for name in ("train", "test")
        },
    }
    group_of = {accession: groups[checksums[0]] for accession, checksums in table.of_accession.items()}
    return Sides(side, labels(group_of), hits, exhaustive, counts)


def dates_in_table(path: Path) -> Dates:
    """Read ``accession<TAB>date``; the header line is optional.

    Raises:
        ConfigError: a line that is not an accession and a date as in 2024-01-31, an accession with two dates, or no
            UTF-8.
    """
    dates: dict[str, date] = {}
    for number, cells in table_lines(path):
        day = parse_date(cells[1]) if len(cells) == 2 else None
        if day is None:
            raise ConfigError(str(path), f"line {number}", f"{cells} is not: accession, date as in 2024-01-31")
        if dates.setdefault(cells[0], day) != day:
            problem = f"{cells[0]} has {day} here and {dates[cells[0]]} above"
            raise ConfigError(str(path), f"line {number}", problem)
    return dates


def dates_in_provenance(corpus: Sequence[str | Path]) -> Dates:
    """The earliest ``created`` that records about one protein state in their provenance."""
    dates: dict[str, date] = {}
    for record in stream_records(corpus, ("proteins", "provenance")):
        stated = json.loads(record["provenance"] or "{}").get("created")
        day = parse_date(str(stated)) if stated is not None else None
        if day is not None and len(record["proteins"]) == 1:
            accession = record["proteins"][0]["accession"]
            dates[accession] = min(day, dates.get(accession, day))
    return dates


def parse_date(text: str) -> date | None:
    """A day written as in 2024-01-31; None for anything else."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _range(days: Iterable[date]) -> list[str]:
    listed = sorted(days)
    return [listed[0].isoformat(), listed[-1].isoformat()] if listed else []
