"""Helpers of the data tests: corpora made without Ray, and sequences that are related by construction."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from protein2text.data.corpus_writer import CorpusWriter
from protein2text.data.parsing import OUTCOME_SCHEMA
from protein2text.data.records import make_record
from protein2text.proteins import Protein

LETTERS = "ACDEFGHIKLMNPQRSTVWY"

MakeCorpus = Callable[..., str]


def random_sequence(rng: random.Random, length: int) -> str:
    return "".join(rng.choices(LETTERS, k=length))


def mutate(rng: random.Random, sequence: str, share: float) -> str:
    """Replace exactly this share of the residues by other ones."""
    residues = list(sequence)
    for position in rng.sample(range(len(residues)), round(share * len(residues))):
        residues[position] = rng.choice([letter for letter in LETTERS if letter != residues[position]])
    return "".join(residues)


def description(accession: str, sequence: str, text: str | None = None) -> dict[str, Any]:
    return dict(make_record(accession, [Protein(accession, sequence)], source="made", text=text))


@pytest.fixture
def make_corpus(tmp_path: Path) -> MakeCorpus:
    """Write records into a finished corpus folder."""

    def make(records: list[dict[str, Any]], name: str = "corpus") -> str:
        writer = CorpusWriter(tmp_path / name)
        rows = [{**record, "place": f"line {number}"} for number, record in enumerate(records)]
        writer.add(pa.Table.from_pylist(rows, schema=OUTCOME_SCHEMA))
        writer.finish([{"name": "made", "sha256": "0" * 64}], max_residues=10_000)
        return str(tmp_path / name)

    return make
