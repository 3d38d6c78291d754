"""What a split measures before it is written: identities, overlaps and counts, for its rows and its card."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from protein2text.data import mmseqs
from protein2text.data.leaks import COLUMNS, overlaps, text_keys
from protein2text.data.protein_table import Nearest, ProteinTable, nearest
from protein2text.data.records import stream_records
from protein2text.data.split_folder import DROPPED, SPLITS, write_split
from protein2text.data.split_sides import Sides
from protein2text.data.split_work import SplitWork
from protein2text.errors import LeakError

IDENTITY_EDGES = (0.0, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Lower bounds of the card's identity bins."""
_MORE_TEST = {
    "by_cluster": "Give more or more varied proteins, a larger test_share, or declare the split by_member.",
    "by_member": "Name at least one protein `test` in the assignment.",
    "temporal": "Choose an earlier day.",
}


def measured_and_written(
    folder: Path, corpus: Sequence[str], table: ProteinTable, sides: Sides, inputs: dict[str, Any], work: SplitWork
) -> dict[str, Any]:
    """Measure, check the promises every kind makes, store, and return the card.

    Raises:
        LeakError: a sequence, accession or text on both sides, or no protein left for test.
    """
    test = table.checksums_of(accession for accession, side in sides.side.items() if side == "test")
    if not test:
        raise LeakError(str(folder), f"no protein is left for test ({_told(sides.counts)})", _MORE_TEST[inputs["kind"]])
    with work.stage("measure", f"measure {len(test):,} test sequences"):
        found = overlaps(stream_records(corpus, COLUMNS), sides.side)
        if any(found.as_dict().values()):
            shared = ", ".join(f"{count} {kind}" for kind, count in found.as_dict().items())
            remedy = "Correct the assignment or the corpora."
            raise LeakError(str(folder), f"test shares {shared} with training", remedy)
        outside = table.checksums_of(name for name, side in sides.side.items() if side not in ("test", DROPPED))
        measured = nearest(test, outside, sides.hits(), inputs["coverage"])
        rows = _rows(table, sides, measured)
        where, told = _records(corpus, sides.side)
    known_by = [
        {"accession": accession, "checksum": checksum, "sequence": table.sequences[checksum], "texts": told[accession]}
        for accession, side in sides.side.items()
        if side == "test"
        for checksum in table.of_accession[accession]
    ]
    identities = [row["max_identity"] for row in rows if row["split"] == "test"]
    card = {
        **inputs,
        "tool": f"MMseqs2 {mmseqs.version()}",
        "search": "exhaustive" if sides.exhaustive else f"k-mer filter, sensitivity {mmseqs.SENSITIVITY}",
        "proteins": {name: sum(side == name for side in sides.side.values()) for name in SPLITS},
        "records": {name: where[name] for name in (*SPLITS, "mixed")},
        "num_sequences": len(table.sequences),
        "num_residues": sum(map(len, table.sequences.values())),
        "num_clusters": len(set(sides.cluster.values())),
        "num_moved": 0,
        "num_dropped": 0,
        **sides.counts,
        "max_identity": _highest(rows, "max_identity"),
        "max_local_identity": _highest(rows, "max_local_identity"),
        "identity_histogram": _identity_histogram(identities),
        "cluster_size_histogram": _size_histogram(Counter(sides.cluster.values()).values()),
        "overlaps": found.as_dict(),
        "stage_seconds": work.seconds,
    }
    card = write_split(folder, rows, card, known_by)
    work.clear()
    return card


def _rows(table: ProteinTable, sides: Sides, measured: Mapping[str, Nearest]) -> list[dict[str, Any]]:
    """Rows of ``SPLIT_SCHEMA``: of an accession's sequences, the one nearest to training counts."""
    named: dict[str, str] = {}
    for accession in sorted(table.of_accession, reverse=True):
        named |= dict.fromkeys(table.of_accession[accession], accession) if sides.side[accession] != "test" else {}
    rows = []
    for accession, side in sides.side.items():
        found = [
            measured[checksum] for checksum in table.of_accession[accession] if side == "test" and checksum in measured
        ]
        best = max(found, key=lambda near: (near.covered or 0.0, near.local), default=None)
        rows.append(
            {
                "accession": accession,
                "split": side,
                "cluster": sides.cluster[accession],
                "max_identity": best.covered if best else None,
                "max_local_identity": max((near.local for near in found), default=None),
                "nearest": named[best.target] if best else None,
            }
        )
    return rows


def _records(corpus: Sequence[str], side: Mapping[str, str]) -> tuple[Counter[str], Mapping[str, list[bytes]]]:
    """How many records lie in which split, and the keys of the texts about each test protein."""
    where: Counter[str] = Counter()
    told: dict[str, list[bytes]] = defaultdict(list)
    for record in stream_records(corpus, COLUMNS):
        names = {side[protein["accession"]] for protein in record["proteins"]}
        where[min(names) if len(names) == 1 else "mixed"] += 1
        if names == {"test"}:
            for protein in record["proteins"]:
                told[protein["accession"]] += text_keys(record)
    return where, told


def _identity_histogram(identities: Iterable[float | None]) -> list[dict[str, Any]]:
    """Test proteins by their highest identity to one outside test: each bin is [from, below), the last one closed."""
    counts = Counter(None if value is None else bisect_right(IDENTITY_EDGES, value) - 1 for value in identities)
    last = len(IDENTITY_EDGES) - 2
    bins: list[dict[str, Any]] = [{"from": None, "below": None, "proteins": counts[None]}]
    for index, (low, high) in enumerate(pairwise(IDENTITY_EDGES)):
        in_bin = counts[index] + (counts[last + 1] if index == last else 0)
        bins.append({"from": low, "below": high, "proteins": in_bin})
    return bins


def _size_histogram(sizes: Iterable[int]) -> list[dict[str, int]]:
    """Clusters by their size in accessions, in bins that double: [from, up_to]."""
    counts = Counter(size.bit_length() for size in sizes)
    return [{"from": 2 ** (bits - 1), "up_to": 2**bits - 1, "clusters": counts[bits]} for bits in sorted(counts)]


def _told(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{value} {name.removeprefix('num_')}" for name, value in counts.items() if isinstance(value, int))


def _highest(rows: list[dict[str, Any]], column: str) -> float | None:
    return max((row[column] for row in rows if row[column] is not None), default=None)
