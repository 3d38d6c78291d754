"""Helpers of the data tests: corpora made without Ray, related sequences, and identity by full dynamic programming."""

import importlib.util
import random
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import pyarrow as pa
import pytest
from Bio.Align import PairwiseAligner, substitution_matrices

from protein2text.data.corpus_writer import CorpusWriter
from protein2text.data.parsing import OUTCOME_SCHEMA
from protein2text.data.records import make_record
from protein2text.proteins import Protein

LETTERS = "ACDEFGHIKLMNPQRSTVWY"


class MakeCorpus(Protocol):
    """Writes records into a finished corpus folder and returns its path."""

    def __call__(self, records: list[dict[str, Any]], name: str = "corpus") -> str: ...


@pytest.fixture
def make_corpus(tmp_path: Path) -> MakeCorpus:
    def make(records: list[dict[str, Any]], name: str = "corpus") -> str:
        writer = CorpusWriter(tmp_path / name)
        rows = [{**record, "place": f"line {number}"} for number, record in enumerate(records)]
        writer.add(pa.Table.from_pylist(rows, schema=OUTCOME_SCHEMA))
        writer.finish([{"name": "made", "sha256": "0" * 64}], max_residues=10_000)
        return str(tmp_path / name)

    return make


@pytest.fixture(scope="session")
def swissprot_like(repository: Path) -> ModuleType:
    """The benchmark's writer of flat files, which says what a reader must find."""
    spec = importlib.util.spec_from_file_location("swissprot_like", repository / "benchmarks" / "swissprot_like.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def described() -> Callable[..., dict[str, Any]]:
    """A record of one protein, with a text of its own unless one is given."""

    def describe(accession: str, sequence: str, text: str | None = None) -> dict[str, Any]:
        text = text or f"The only text of {accession}."
        return dict(make_record(accession, [Protein(accession, sequence)], source="made", text=text))

    return describe


class Sequences:
    """Random sequences and mutants of known distance."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def random(self, length: int) -> str:
        return "".join(self.rng.choices(LETTERS, k=length))

    def mutant(self, sequence: str, share: float) -> str:
        """Replace exactly this share of the residues by other ones."""
        residues = list(sequence)
        for position in self.rng.sample(range(len(residues)), round(share * len(residues))):
            residues[position] = self.rng.choice([letter for letter in LETTERS if letter != residues[position]])
        return "".join(residues)


@pytest.fixture
def sequences() -> Sequences:
    return Sequences(seed=7)


class Identity:
    """Oracle: Smith-Waterman (BLOSUM62, gaps 11 + 1): identity over the alignment, and the larger coverage."""

    def __init__(self) -> None:
        self._aligner = PairwiseAligner(mode="local", substitution_matrix=substitution_matrices.load("BLOSUM62"))
        self._aligner.open_gap_score, self._aligner.extend_gap_score = -11, -1
        self._known: dict[tuple[str, str], tuple[float, float]] = {}

    def __call__(self, one: str, other: str) -> tuple[float, float]:
        if (one, other) not in self._known:
            alignment = self._aligner.align(_known_letters(one), _known_letters(other))[0]
            counts = alignment.counts()
            columns = counts.identities + counts.mismatches + counts.gaps
            spans = [blocks[-1][1] - blocks[0][0] for blocks in alignment.aligned]
            self._known[one, other] = counts.identities / columns, max(spans[0] / len(one), spans[1] / len(other))
        return self._known[one, other]

    def score(self, one: str, other: str) -> float:
        """Of the best alignment; much faster than the alignment itself."""
        return float(self._aligner.score(_known_letters(one), _known_letters(other)))


def _known_letters(sequence: str) -> str:
    """BLOSUM62 has no selenocysteine and no pyrrolysine."""
    return sequence.replace("U", "X").replace("O", "X")


@pytest.fixture(scope="session")
def identity() -> Identity:
    return Identity()


@pytest.fixture
def families(sequences: Sequences) -> dict[str, str]:
    """Twelve families of three members, and twelve long proteins with a fragment that clustering holds apart."""
    members: dict[str, str] = {}
    for number in range(12):
        ancestor = sequences.random(120)
        members |= {f"F{number:02d}{letter}": sequences.mutant(ancestor, 0.3) for letter in "abc"}
        long = sequences.random(260)
        members |= {f"L{number:02d}": long, f"L{number:02d}frag": sequences.mutant(long[:100], 0.1)}
    return members
