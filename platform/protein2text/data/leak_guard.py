"""The guard before training: are the training records kept apart from every registered test set?

Measured of each set: its sequences, accessions and texts that stand in training records too; and for the test side of a
``by_cluster`` split the training proteins as similar as it promises that none is. That takes a search by MMseqs2, which
is spared where the split was made of the run's own corpora and has measured them already.
"""

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from protein2text.data import mmseqs
from protein2text.data.data_config import DataConfig
from protein2text.data.held_out import HeldOut, held_out, own_test_side
from protein2text.data.leaks import COLUMNS, text_keys
from protein2text.data.records import load_card, stream_records
from protein2text.data.split_folder import Split, load_split
from protein2text.errors import LeakError

logger = logging.getLogger(__name__)

SHOWN_RECORDS = 5


@dataclass
class Leak:
    """What one test set shares with training; each set holds the test set's own items."""

    test_set: HeldOut
    sequences: set[str] = field(default_factory=set)
    accessions: set[str] = field(default_factory=set)
    texts: set[bytes] = field(default_factory=set)
    relatives: dict[str, float] = field(default_factory=dict)
    """Test proteins too much like training, and their highest identity to it."""
    num_records: int = 0
    """Training records that share something."""
    first_records: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.sequences or self.accessions or self.texts or self.relatives)

    def __str__(self) -> str:
        shares = f"{len(self.sequences)} sequences, {len(self.accessions)} accessions and {len(self.texts)} texts"
        told = f"test set {self.test_set.name} shares {shares} with training"
        if self.relatives:
            told += (
                f"; {len(self.relatives)} of its proteins are up to {max(self.relatives.values()):.0%} identical to "
                f"training proteins, where below {self.test_set.min_identity:.0%} is promised"
            )
        if self.num_records:
            more = ", …" if self.num_records > len(self.first_records) else ""
            told += f"; {self.num_records} training records: {', '.join(self.first_records)}{more}"
        return told

    def look_at(self, record: Mapping[str, Any]) -> None:
        """Compare one training record with the test set."""
        held = self.test_set
        sequences = {protein["checksum"] for protein in record["proteins"]} & held.sequences.keys()
        accessions = {protein["accession"] for protein in record["proteins"]} & held.accessions
        texts = held.texts.intersection(text_keys(record))
        if sequences or accessions or texts:
            self.sequences |= sequences
            self.accessions |= accessions
            self.texts |= texts
            self.num_records += 1
            if len(self.first_records) < SHOWN_RECORDS:
                self.first_records.append(record["record_id"])


def check_training(data: DataConfig) -> tuple[str, ...]:
    """Measure a run's training records against its own split's test side and ``data.test_sets``.

    Returns:
        A sentence per leak; none, unless ``data.allow_leak``.

    Raises:
        LeakError: a protein that the split does not know, or a leak that is not allowed.
        MissingFile: a test set is not there.
    """
    split = load_split(data.split) if data.split else None
    others = [path for path in data.test_sets if split is None or Path(path).resolve() != Path(split.folder).resolve()]
    if split is None and not others:
        return ()
    if split is not None:
        _refuse_unknown(split, data.corpus)
    checksums = [load_card(folder)["checksum"] for folder in data.corpus]
    own = [own_test_side(split, data.corpus, checksums)] if split else []
    leaks = [Leak(test_set) for test_set in (*own, *map(held_out, others))]
    for record in trained_records(data.corpus, split):
        for leak in leaks:
            leak.look_at(record)
    for leak in leaks:
        if leak.test_set.min_identity is not None:
            leak.relatives |= _relatives(leak.test_set, data.corpus, split)
    found = [leak for leak in leaks if leak]
    if not found:
        logger.info("no leak into %d registered test sets", len(leaks))
        return ()
    told = tuple(str(leak) for leak in found)
    if not data.allow_leak:
        raise LeakError(
            found[0].test_set.name,
            "; ".join(told).removeprefix(f"test set {found[0].test_set.name} "),
            "Run `protein2text data split` over all corpora of the run together, leave these records out, or train "
            "with --allow-leak, which model and reports will say.",
        )
    for sentence in told:
        logger.warning("training with a leak: %s", sentence)
    return told


def trained_records(corpus: Sequence[str], split: Split | None) -> Iterator[dict[str, Any]]:
    """Records that the two stages train on: they say something, and all their proteins are on the training side."""
    for record in stream_records(corpus, COLUMNS):
        says_something = record["text"] or record["messages"]
        if says_something and (split is None or split.of_record(record) == "train"):
            yield record


def _refuse_unknown(split: Split, corpus: Sequence[str]) -> None:
    unknown = {
        protein["accession"]
        for record in stream_records(corpus, ("proteins",))
        for protein in record["proteins"]
        if protein["accession"] not in split
    }
    if unknown:
        problem = f"{len(unknown)} proteins of {', '.join(corpus)} are not in it, {min(unknown)} among them"
        raise LeakError(split.folder, problem, "Run `protein2text data split` over all corpora of the run together.")


def _relatives(test_set: HeldOut, corpus: Sequence[str], split: Split | None) -> Mapping[str, float]:
    """Test proteins (accession, or checksum where the set only knows that) at the promised identity to training."""
    if test_set.relatives is not None:
        return test_set.relatives
    trained = {
        protein["checksum"]: protein["sequence"]
        for record in trained_records(corpus, split)
        for protein in record["proteins"]
    }
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="leaks-") as folder:
        path = Path(folder) / "hits.tsv"
        mmseqs.search_into(path, test_set.sequences, trained)
        for hit in mmseqs.read_hits(path, test_set.sequences, trained):
            if hit.identity >= (test_set.min_identity or 0.0) and hit.coverage >= test_set.coverage:
                found[hit.query] = max(hit.identity, found.get(hit.query, 0.0))
    return found
