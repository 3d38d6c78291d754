"""An index of entries that a test makes up, written without Ray."""

import random
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from protein2text.neighbours.entries import Characterised, content_digest, to_table
from protein2text.neighbours.entry_writer import EntryWriter
from protein2text.neighbours.facts import Fact
from protein2text.neighbours.index_folder import NeighbourIndex
from protein2text.neighbours.seal import seal
from protein2text.proteins import Protein

LETTERS = "ACDEFGHIKLMNPQRSTVWY"


def entry(accession: str, sequence: str, *facts: Fact) -> Characterised:
    checksum = Protein(accession, sequence).checksum
    return Characterised(
        accession, f"Protein {accession}", None, sequence, checksum, "2026_01", "CC BY 4.0", 1, "made", facts
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


def make_index(folder: Path, entries: Sequence[Characterised], calibration_entries: int = 0) -> NeighbourIndex:
    """The index that a build makes of some entries, opened."""
    writer = EntryWriter(folder / "generation-1")
    for start in range(0, len(entries), 100):
        some = entries[start : start + 100]
        digests = pa.array([content_digest(each) for each in some], pa.binary())
        writer.add(to_table(some).append_column("content", digests))
    settings = {"calibration_entries": calibration_entries, "seed": 0}
    seal(folder, writer, {"generation": "generation-1", "sources": [], **settings, **writer.finish()}, None)
    return NeighbourIndex.open(folder)
