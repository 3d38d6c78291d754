"""Registered test sets: what their proteins are known by, whatever form they come in."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from protein2text.data.leaks import COLUMNS, text_keys
from protein2text.data.records import stream_records
from protein2text.data.split_folder import Split, load_split
from protein2text.errors import CorruptCheckpoint, MissingFile
from protein2text.proteins import read_proteins


@dataclass(frozen=True)
class HeldOut:
    """One test set. ``min_identity`` is set where it promises that no training protein is as similar (0-1)."""

    name: str
    accessions: frozenset[str]
    sequences: Mapping[str, str]
    """Checksum to residues."""
    texts: frozenset[bytes]
    """`leaks.text_keys` of what is said about its proteins."""
    min_identity: float | None = None
    coverage: float = 0.8
    relatives: Mapping[str, float] | None = None
    """Test proteins with a training protein at ``min_identity`` or above, and the highest identity; None where that is
    still to be searched for."""


def held_out(path: str) -> HeldOut:
    """A test set named in a run: the test side of a split folder, all of a corpus, or a FASTA file.

    Raises:
        MissingFile: there is nothing of the kind.
        CorruptCheckpoint: a split or corpus that is not whole.
        RecordError: a sequence in a FASTA file that cannot be read.
    """
    folder = Path(path)
    if (folder / "split.json").is_file():
        return _of_split(load_split(folder))
    if (folder / "card.json").is_file():
        return _of_records(path, stream_records([path], COLUMNS))
    if not folder.is_file():
        remedy = "Name a split folder, a corpus folder or a FASTA file in data.test_sets."
        raise MissingFile(path, "a registered test set", remedy)
    proteins = list(read_proteins(folder))
    names = frozenset(protein.accession for protein in proteins)
    return HeldOut(path, names, {protein.checksum: protein.sequence for protein in proteins}, frozenset())


def own_test_side(split: Split, corpus: Sequence[str], checksums: Sequence[str]) -> HeldOut:
    """The test side of a run's own split, as its corpora hold it now.

    Args:
        split: of the run.
        corpus: folders of the run.
        checksums: of those corpora; where the split was made of them, its own measurement stands.
    """
    names = frozenset(name for name, side in split.by_accession.items() if side == "test")
    sequences: dict[str, str] = {}
    texts: set[bytes] = set()
    for record in stream_records(corpus, COLUMNS):
        tested = [protein for protein in record["proteins"] if protein["accession"] in names]
        sequences |= {protein["checksum"]: protein["sequence"] for protein in tested}
        if len(tested) == len(record["proteins"]):
            texts.update(text_keys(record))
    limit = split.card["min_identity"] if split.kind == "by_cluster" else None
    relatives = None
    if limit is not None and set(checksums) <= set(split.card["corpora"]):
        identities = {row["accession"]: row["max_identity"] or 0.0 for row in split.rows}
        relatives = {accession: identity for accession, identity in identities.items() if identity >= limit}
    coverage = split.card.get("coverage", 0.8)
    return HeldOut(split.folder, names, sequences, frozenset(texts), limit, coverage, relatives)


def _of_split(split: Split) -> HeldOut:
    path = Path(split.folder) / "test.parquet"
    if not path.is_file():
        raise CorruptCheckpoint(split.folder, path.name, "it is missing", "Make the split again.")
    rows = pq.read_table(path).to_pylist()
    return HeldOut(
        split.folder,
        frozenset(row["accession"] for row in rows),
        {row["checksum"]: row["sequence"] for row in rows},
        frozenset(key for row in rows for key in row["texts"]),
        split.card["min_identity"] if split.kind == "by_cluster" else None,
        split.card["coverage"],
    )


def _of_records(name: str, records: Iterable[Mapping[str, Any]]) -> HeldOut:
    accessions: set[str] = set()
    sequences: dict[str, str] = {}
    texts: set[bytes] = set()
    for record in records:
        accessions |= {protein["accession"] for protein in record["proteins"]}
        sequences |= {protein["checksum"]: protein["sequence"] for protein in record["proteins"]}
        texts.update(text_keys(record))
    return HeldOut(name, frozenset(accessions), sequences, frozenset(texts))
