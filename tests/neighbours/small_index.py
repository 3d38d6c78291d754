"""A small index as the build leaves it, from entries given by hand."""

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from protein2text.data.mmseqs import _run
from protein2text.neighbours.entries import Characterised, to_table
from protein2text.neighbours.facts import Fact
from protein2text.neighbours.index_folder import INDEX_VERSION, MANIFEST, STORED_SCHEMA, NeighbourIndex, file_checksum
from protein2text.proteins import Protein

RELEASE = "2026_01"


def entry(accession: str, sequence: str, *facts: Fact) -> Characterised:
    checksum = Protein(accession, sequence).checksum
    return Characterised(
        accession, f"{accession}_TEST", "Testis", sequence, checksum, RELEASE, "CC-BY-4.0", 1, "by hand", facts
    )


def write_index(folder: Path, entries: Sequence[Characterised]) -> NeighbourIndex:
    data = folder / "v1"
    (data / "entries").mkdir(parents=True)
    (data / "mmseqs").mkdir()
    targets = {sequence: number for number, sequence in enumerate(dict.fromkeys(one.sequence for one in entries))}
    table = to_table(entries)
    numbers = pa.array([targets[one.sequence] for one in entries], pa.int32())
    table = table.append_column(STORED_SCHEMA.field("target"), numbers)
    pq.write_table(table.cast(STORED_SCHEMA), data / "entries" / "part-00000.parquet")
    fasta = folder / "all.fasta"
    fasta.write_text("".join(f">{number}\n{sequence}\n" for sequence, number in targets.items()))
    _run("createdb", str(fasta), str(data / "mmseqs" / "sequences"))
    fasta.unlink()
    files = sorted(path for path in data.rglob("*") if path.is_file())
    manifest = {
        "version": INDEX_VERSION,
        "generation": "v1",
        "parts": ["part-00000.parquet"],
        "releases": [RELEASE],
        "licences": {"CC-BY-4.0": len(entries)},
        "counts": {"entries": len(entries)},
        "checksums": {path.relative_to(folder).as_posix(): file_checksum(path) for path in files},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return NeighbourIndex.open(folder)
