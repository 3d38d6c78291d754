"""`data.split` on real proteins, against full dynamic programming by another library."""

import math
import random
from pathlib import Path
from typing import Any

import pytest
from Bio import SeqIO

from protein2text.data.split import load_split, split


def deeploc(real_data: Path, longest: int) -> dict[str, str]:
    """Real proteins without unknown letters, up to a length, as an independent parser reads them."""
    with (real_data / "classification" / "deeploc_test.fasta").open() as file:
        return {entry.id: str(entry.seq) for entry in SeqIO.parse(file, "fasta") if len(entry.seq) <= longest}


NUM_NEAREST = 12
BORDER = 0.02
"""MMseqs2 corrects scores for composition, so that the two alignments of a remote pair may differ by some columns."""


def assert_nothing_left(proteins: dict[str, str], test: list[str], rest: list[str], identity: Any) -> None:
    """Full dynamic programming of test against the rest finds no relative; pairs that score as chance are passed over.

    The score is that of an E-value of 0.001 in a database of this size (BLOSUM62, gaps 11 + 1: lambda 0.267, K 0.041).
    """
    size = sum(map(len, proteins.values()))
    for one in test:
        least = math.log(0.041 * len(proteins[one]) * size / 0.001) / 0.267
        for other in rest:
            if identity.score(proteins[one], proteins[other]) >= least:
                measured, covered = identity(proteins[one], proteins[other])
                assert covered < 0.8 or measured < 0.3 + BORDER, (one, other, measured, covered)


@pytest.mark.parametrize("longest", [150, pytest.param(10_000, marks=pytest.mark.slow)])
def test_no_relative_of_a_real_test_protein_is_left_in_training(
    real_data: Path, make_corpus: Any, described: Any, identity: Any, tmp_path: Path, longest: int
) -> None:
    """All test proteins are held against training where they are short; of the whole file those that measured nearest,
    and some at random."""
    proteins = deeploc(real_data, longest)
    corpus = make_corpus([described(name, sequence) for name, sequence in proteins.items()])
    summary = split([corpus], str(tmp_path / "split"), kind="by_cluster")
    divided = load_split(summary.output)
    assert divided.card["search"] == "exhaustive"
    assert divided.card["num_related"] > 0, "by clusters alone this test set leaks"
    assert summary.max_identity is None or summary.max_identity < 0.3
    rows = sorted(divided.rows, key=lambda row: (-(row["max_identity"] or 0.0), row["accession"]))
    test = [row["accession"] for row in rows if row["split"] == "test"]
    rest = [row["accession"] for row in rows if row["split"] != "test"]
    drawn = test if longest < 10_000 else test[:NUM_NEAREST] + random.Random(0).sample(test[NUM_NEAREST:], NUM_NEAREST)
    assert_nothing_left(proteins, drawn, rest, identity)
