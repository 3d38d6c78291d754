"""Split: which proteins are trained on and which are kept for testing, and how similar the two sides measure.

``by_cluster`` (generalization): cluster, split by cluster, search test against the rest, move what still hits.
``by_member`` (recall of known families): the sides come from a file; nothing is moved, similarity is only measured.
"""

import hashlib
import logging
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protein2text.data import mmseqs
from protein2text.data.leaks import overlaps
from protein2text.data.protein_table import ProteinTable
from protein2text.data.records import load_card
from protein2text.data.split_folder import SPLITS, Split, load_split, write_split
from protein2text.data.split_sides import Sides, by_cluster, from_file
from protein2text.errors import ConfigError, LeakError, MissingFile, ResumeMismatch

logger = logging.getLogger(__name__)

__all__ = ["Split", "SplitSummary", "load_split", "split"]

_ARGUMENTS = ("assignment", "test_share", "seed")


@dataclass(frozen=True)
class SplitSummary:
    """What a split made."""

    output: str
    kind: str
    proteins: dict[str, int]
    """Accessions per split."""
    records: dict[str, int]
    """Records per split; ``mixed`` ones name proteins of several splits and belong to none."""
    num_clusters: int
    num_moved: int
    """Accessions drawn for test that still had a relative in training and were moved there."""
    max_identity: float | None
    """Highest measured identity of a test protein to one outside test, over alignments that cover one of them."""
    max_local_identity: float | None
    """The same over significant alignments of any length."""
    checksum: str
    seconds: float
    already_done: bool


def split(
    corpus: list[str],
    output: str,
    *,
    kind: str,
    assignment: str | None = None,
    test_share: float = 0.2,
    seed: int = 0,
    min_identity: float = 0.3,
    coverage: float = 0.8,
) -> SplitSummary:
    """Divide the proteins of all corpora of a run, once for both stages and every benchmark.

    Args:
        corpus: folders written by ingest.
        output: split folder.
        kind: ``by_cluster`` or ``by_member``.
        assignment: for ``by_member``, a table ``accession<TAB>split<TAB>group``; its header line is optional.
        test_share: for ``by_cluster``, the share of proteins drawn for test; what is moved later makes it smaller.
        seed: of the draw.
        min_identity: from this identity on (0-1) two proteins are relatives,
        coverage: if their alignment covers this share (0-1) of one of them.

    Raises:
        MissingFile: no such corpus or assignment.
        ConfigError: arguments that do not fit the kind, or an assignment that does not cover the corpora.
        LeakError: a sequence, accession or text on both sides, or no protein left for test.
        ResumeMismatch: the folder holds a split of other corpora or made with other arguments.
    """
    started = time.monotonic()
    if kind not in ("by_cluster", "by_member") or (kind == "by_member") != (assignment is not None):
        allowed = "by_cluster takes no assignment file and by_member needs one"
        raise ConfigError("data split", "kind", f"{kind!r} with assignment {assignment!r}: {allowed}")
    inputs: dict[str, Any] = {
        "kind": kind,
        "corpora": [load_card(folder)["checksum"] for folder in corpus],
        "min_identity": min_identity,
        "coverage": coverage,
    }
    inputs |= {"assignment": _file_checksum(assignment)} if assignment else {"test_share": test_share, "seed": seed}
    folder = Path(output).resolve()
    if (folder / "split.json").exists():
        return _summary(folder, _same_split(folder, inputs), time.monotonic() - started, already_done=True)
    folder.mkdir(parents=True, exist_ok=True)
    table = ProteinTable.load(corpus)
    drawn = None if assignment else by_cluster(table, test_share, seed, min_identity, coverage)
    card = _write(folder, table, drawn or from_file(table, str(assignment)), inputs)
    return _summary(folder, card, time.monotonic() - started, already_done=False)


def _write(folder: Path, table: ProteinTable, sides: Sides, inputs: dict[str, Any]) -> dict[str, Any]:
    """Measure, check the promises every kind makes, and store."""
    test = table.checksums_of(accession for accession, side in sides.side.items() if side == "test")
    found = overlaps(table.records, sides.side)
    if not test:
        raise LeakError(
            str(folder),
            f"no protein is left for test: all that were drawn have relatives in training ({len(sides.moved)} moved)",
            "Give more or more varied proteins, a larger test_share, or declare the split by_member.",
        )
    if any(found.as_dict().values()):
        shared = ", ".join(f"{count} {kind}" for kind, count in found.as_dict().items())
        raise LeakError(str(folder), f"test shares {shared} with training", "Correct the assignment or the corpora.")
    nearest = table.nearest(test, sides.hits, inputs["coverage"])
    rows = []
    for accession, side in sides.side.items():
        measured = [nearest[checksum] for checksum in table.of_accession[accession] if checksum in nearest]
        rows.append(
            {
                "accession": accession,
                "split": side,
                "cluster": sides.cluster[accession],
                "max_identity": max((covered for covered, _ in measured if covered is not None), default=None),
                "max_local_identity": max((local for _, local in measured), default=None),
            }
        )
    where = [{sides.side[protein["accession"]] for protein in record["proteins"]} for record in table.records]
    counts = Counter(names.pop() if len(names) == 1 else "mixed" for names in where)
    return write_split(
        folder,
        rows,
        {
            **inputs,
            "tool": f"MMseqs2 {mmseqs.version()}",
            "search": "exhaustive" if sides.exhaustive else f"k-mer filter, sensitivity {mmseqs.SENSITIVITY}",
            "proteins": {name: sum(side == name for side in sides.side.values()) for name in SPLITS},
            "records": {name: counts[name] for name in (*SPLITS, "mixed")},
            "num_clusters": len(set(sides.cluster.values())),
            "num_moved": len(sides.moved),
            "max_identity": _highest(rows, "max_identity"),
            "max_local_identity": _highest(rows, "max_local_identity"),
            "overlaps": found.as_dict(),
        },
    )


def _highest(rows: list[dict[str, Any]], column: str) -> float | None:
    return max((row[column] for row in rows if row[column] is not None), default=None)


def _same_split(folder: Path, inputs: dict[str, Any]) -> dict[str, Any]:
    """The card of a finished split, if it was made of the same corpora with the same arguments."""
    card = load_split(folder).card
    for key in sorted({*inputs, *(name for name in _ARGUMENTS if name in card)}):
        if card.get(key) != inputs.get(key):
            raise ResumeMismatch(str(folder), key, str(card.get(key)), str(inputs.get(key)))
    logger.info("%s holds the finished split of these corpora already; nothing to do", folder)
    return card


def _file_checksum(path: str) -> str:
    if not Path(path).is_file():
        raise MissingFile(path, "the assignment of proteins to splits", "Give the file that the corpus came with.")
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _summary(folder: Path, card: dict[str, Any], seconds: float, already_done: bool) -> SplitSummary:
    kept = {name: card[name] for name in ("kind", "proteins", "records", "num_clusters", "num_moved", "checksum")}
    maxima = {name: card[name] for name in ("max_identity", "max_local_identity")}
    return SplitSummary(output=str(folder), **kept, **maxima, seconds=seconds, already_done=already_done)
