"""A split as stored: ``split.parquet`` (every protein), ``test.parquet`` (what a test protein is known by) and
``split.json``, its card, which is written last."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from protein2text.data.records import read_card, row_bytes, write_json, write_shard
from protein2text.errors import CorruptCheckpoint, MissingFile, UnusableRecord

SPLIT_VERSION = 2
DROPPED = "dropped"
SPLITS = ("train", "validation", "test", DROPPED)
"""A dropped protein was drawn for test, is too much like training, and is used for neither."""
SPLIT_SCHEMA = pa.schema(
    [
        ("accession", pa.string()),
        ("split", pa.string()),
        ("cluster", pa.string()),
        ("max_identity", pa.float32()),
        ("max_local_identity", pa.float32()),
        ("nearest", pa.string()),
    ],
    metadata={"protein2text.split_version": str(SPLIT_VERSION)},
)
"""``max_identity``: of a test protein to any training or validation protein, over significant alignments that cover
the stated share of one of the two; ``max_local_identity``: over significant alignments of any length; ``nearest``: the
accession behind the first of them that stands. Identities 0-1; null where nothing aligns and on other splits."""
TEST_SCHEMA = pa.schema(
    [
        ("accession", pa.string()),
        ("checksum", pa.string()),
        ("sequence", pa.string()),
        ("texts", pa.list_(pa.binary())),
    ],
    metadata={"protein2text.split_version": str(SPLIT_VERSION)},
)
"""One row per sequence of a test protein; ``texts`` are the keys (``leaks.text_keys``) of what is said about it. With
them another run checks its training records against this split without the corpora that it was made from."""


@dataclass(frozen=True)
class Split:
    """Which split each protein belongs to, and what was promised and measured about it."""

    folder: str
    rows: tuple[dict[str, Any], ...]
    """Rows of ``SPLIT_SCHEMA``, sorted by accession."""
    card: dict[str, Any]

    @property
    def kind(self) -> str:
        """``by_cluster`` claims generalization, ``by_member`` recall of known families only, ``temporal`` neither."""
        return str(self.card["kind"])

    @cached_property
    def by_accession(self) -> Mapping[str, str]:
        """Accession to split."""
        return {row["accession"]: row["split"] for row in self.rows}

    @cached_property
    def clusters(self) -> Mapping[str, str]:
        """Accession to cluster: test items of one cluster are not independent of each other."""
        return {row["accession"]: row["cluster"] for row in self.rows}

    def __contains__(self, accession: object) -> bool:
        return accession in self.by_accession

    def of(self, accession: str) -> str:
        """Split of a protein.

        Raises:
            UnusableRecord: the split does not know it.
        """
        if accession not in self.by_accession:
            raise UnusableRecord(
                "not_in_split", accession, self.folder, "an unknown accession", "a split covers its corpora only",
                "Run `protein2text data split` over all corpora of the run.",
            )  # fmt: skip
        return self.by_accession[accession]

    def of_record(self, record: Mapping[str, Any]) -> str | None:
        """Split of a record, None when its proteins lie in several ("mixed"): it is counted and left out."""
        names = {self.of(protein["accession"]) for protein in record["proteins"]}
        return names.pop() if len(names) == 1 else None


def write_split(
    folder: Path, rows: list[dict[str, Any]], card: dict[str, Any], test: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Write a split and return its card with version and checksum; ``test`` are rows of ``TEST_SCHEMA``."""
    table = pa.Table.from_pylist(sorted(rows, key=lambda row: str(row["accession"])), schema=SPLIT_SCHEMA)
    card = {"version": SPLIT_VERSION, **card, "checksum": _checksum(table.to_pylist())}
    write_shard(table, folder / "split.parquet")
    if test is not None:
        known_by = pa.Table.from_pylist(test, schema=TEST_SCHEMA)
        write_shard(known_by.sort_by([("accession", "ascending"), ("checksum", "ascending")]), folder / "test.parquet")
    write_json(card, folder / "split.json")
    return card


def load_split(folder: str | Path) -> Split:
    """Read a split.

    Raises:
        MissingFile: no finished split there.
        CorruptCheckpoint: another version, or rows that differ from the card's checksum.
    """
    path = Path(folder) / "split.json"
    if not path.is_file():
        remedy = "Run `protein2text data split CORPUS --output DIR` to its end."
        raise MissingFile(str(path), "the card of a finished split", remedy)
    card = read_card(path)
    rows = pq.read_table(Path(folder) / "split.parquet").to_pylist()
    if card.get("version") != SPLIT_VERSION:
        problem = f"version {card.get('version')} where this program reads {SPLIT_VERSION}"
        raise CorruptCheckpoint(str(folder), "split.json", problem, "Make the split again.")
    if _checksum(rows) != card["checksum"]:
        raise CorruptCheckpoint(str(folder), "split.parquet", "it differs from its card", "Make the split again.")
    return Split(str(folder), tuple(rows), card)


def _checksum(rows: list[dict[str, Any]]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(row_bytes(row))
    return digest.hexdigest()
