"""A run of three steps on the tiny preset's bases, with a corpus of six proteins."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from protein2text.data.records import RECORD_SCHEMA, RECORD_VERSION, make_record, write_shard
from protein2text.proteins import Protein


def write_corpus(folder: Path, proteins: list[Protein]) -> Path:
    """A finished corpus with a description of each protein."""
    records = [
        make_record(protein.accession, [protein], source="test", text=f"Binds zinc {protein.accession}.")
        for protein in proteins
    ]
    write_shard(pa.Table.from_pylist(records, schema=RECORD_SCHEMA), folder / "records" / "part-00000.parquet")
    card = {
        "version": RECORD_VERSION, "checksum": "0" * 64, "shards": {"records": ["part-00000.parquet"]},
        "licences": {"CC BY 4.0": len(records)},
    }  # fmt: skip
    (folder / "card.json").write_text(json.dumps(card))
    return folder


@pytest.fixture
def small_run(tmp_path: Path) -> dict[str, Any]:
    """The run as YAML holds it, every path absolute."""
    proteins = [Protein(f"P{number}", "ACDEFGHIKL" * (2 + number)) for number in range(6)]
    corpus = write_corpus(tmp_path / "corpus", proteins)
    return {
        "extends": "tiny",
        "name": "submitted",
        "output": str(tmp_path / "runs"),
        "data": {"corpus": [str(corpus)], "split": None},
        "alignment": {"epochs": 2, "global_batch": 4},
    }
