"""Passages of the real articles, read here with a plain parser, in folders as `data literature` leaves them."""

import json
import random
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa

from protein2text.data.passages import PASSAGE_SCHEMA, Passage
from protein2text.data.records import write_shard
from protein2text.proteins import Protein

ARTICLES = {
    "BAG-1": ("jats/craft/BMC_Cancer-4-_-539250.nxml", "Q99933", ["BAG-1", "BAG1"]),
    "huntingtin": ("jats/craft/BMC_Dev_Biol-5-_-1208873.nxml", "P42858", ["huntingtin", "Huntingtin", "HTT"]),
    "ALMS1": ("jats/craft/PLoS_Genet-3-1-1781487.nxml", "Q8TCU4", ["ALMS1", "Alms1"]),
    "PDGFRβ": ("jats/craft/PLoS_Biol-1-2-261889.nxml", "P09619", ["PDGFRβ", "PDGFRB"]),
    "dehydrogenase": (
        "jats/craft/BMC_Med_Genet-7-_-1448208.nxml",
        "P11182",
        ["branched-chain keto acid dehydrogenase", "DBT"],
    ),
    "p16": ("jats/plos/journal.pone.0152459.xml", "P42771", ["p16 INK4a", "CDKN2A"]),
}
"""A word to call the passage by: file, accession and names of a protein that its abstract is about."""


def real_abstract(path: Path) -> str:
    """The abstract without a type, as one line."""
    text = re.sub(r"<!DOCTYPE[^>\[]*(\[.*?\])?>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    root = ElementTree.fromstring(re.sub(r"&(?!amp;|lt;|gt;|quot;|#)\w+;", " ", text))
    (abstract,) = (part for part in root.iter("abstract") if part.get("abstract-type") is None)
    return " ".join(" ".join(abstract.itertext()).split())


def passage(number: int, accession: str, names: list[str], abstract: str, **changed: Any) -> Passage:
    """A passage about a protein with a sequence of its own."""
    sequence = "".join(random.Random(accession).choices("ACDEFGHIKLMNPQRSTVWY", k=120 + number))
    protein = Protein(accession, sequence)
    row: dict[str, Any] = {
        "passage_id": f"PMC{number}.1:{accession}",
        "protein": {
            "accession": accession,
            "sequence": sequence,
            "length": len(sequence),
            "checksum": protein.checksum,
        },
        "names": names,
        "found": names[:1],
        "pmcid": f"PMC{number}",
        "article_version": 1,
        "title": "A title",
        "abstract": abstract,
        "licence": "CC BY",
        "retracted": False,
        "provenance": None,
    }
    return row | changed  # type: ignore[return-value]


def real_passages(real_data: Path) -> dict[str, Passage]:
    """One passage of each article in ``ARTICLES``."""
    return {
        word: passage(1000 + number, accession, names, real_abstract(real_data / file))
        for number, (word, (file, accession, names)) in enumerate(ARTICLES.items())
    }


def write_literature(folder: Path, passages: list[Passage], rows_per_shard: int = 1000) -> Path:
    """A finished literature folder."""
    for start in range(0, max(1, len(passages)), rows_per_shard):
        table = pa.Table.from_pylist(passages[start : start + rows_per_shard], schema=PASSAGE_SCHEMA)
        write_shard(table, folder / "passages" / f"part-{start // rows_per_shard:05d}.parquet")
    (folder / "card.json").write_text(json.dumps({"counts": {"passages": len(passages)}}))
    return folder
