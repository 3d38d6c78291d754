"""An index of entries that a test makes up, written without Ray."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from protein2text.data import mmseqs
from protein2text.neighbours.entries import Characterised, to_table
from protein2text.neighbours.facts import Fact
from protein2text.neighbours.index_folder import INDEX_VERSION, MANIFEST, STORED_SCHEMA, NeighbourIndex

LETTERS = "ACDEFGHIKLMNPQRSTVWY"


def entry(accession: str, sequence: str, *facts: Fact) -> Characterised:
    return Characterised(
        accession, f"Protein {accession}", None, sequence, "", "2026_01", "CC BY 4.0", 1, "made", facts
    )


def residues(rng: random.Random, length: int) -> str:
    return "".join(rng.choices(LETTERS, k=length))


def relative(rng: random.Random, sequence: str, identity: float) -> str:
    """The sequence with a share of its residues replaced by others."""
    places = rng.sample(range(len(sequence)), round((1 - identity) * len(sequence)))
    letters = list(sequence)
    for place in places:
        letters[place] = rng.choice(LETTERS.replace(letters[place], ""))
    return "".join(letters)


def make_index(folder: Path, entries: Sequence[Characterised]) -> NeighbourIndex:
    data = folder / "made"
    (data / "entries").mkdir(parents=True)
    (data / "mmseqs").mkdir()
    targets: dict[str, int] = {}
    numbers = [targets.setdefault(each.sequence, len(targets)) for each in entries]
    columns = [*to_table(entries).columns, pa.nulls(len(entries), pa.binary()), pa.array(numbers, pa.int32())]
    pq.write_table(pa.table(columns, schema=STORED_SCHEMA), data / "entries" / "part-0.parquet", row_group_size=50)
    fasta = folder / "sequences.fasta"
    fasta.write_text("".join(f">{number}\n{sequence}\n" for sequence, number in targets.items()))
    mmseqs._run("createdb", str(fasta), str(data / "mmseqs" / "sequences"))
    manifest = {
        "version": INDEX_VERSION,
        "generation": "made",
        "releases": ["2026_01"],
        "licences": {"CC BY 4.0": len(entries)},
        "counts": {"entries": len(entries)},
        "parts": ["part-0.parquet"],
        "checksums": {},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return NeighbourIndex.open(folder)
