"""Writes the entries of an index, and its distinct sequences under numbers."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from protein2text.data.even_shards import EvenShards
from protein2text.neighbours.facts import FACT_KINDS
from protein2text.neighbours.index_folder import STORED_SCHEMA

PART_BYTES = 32 * 2**20
"""Arrow bytes of a part; some 3.5 of them are in memory at a time."""
NOT_STATED = "not stated"


class EntryWriter:
    """Takes entries in order; it holds the checksum of every sequence, some 150 bytes each."""

    def __init__(self, folder: Path, part_bytes: int = PART_BYTES) -> None:
        self.num_entries = 0
        self.fasta = folder / "sequences.fasta"
        self._parts = EvenShards(folder / "entries", STORED_SCHEMA, part_bytes)
        self._targets: dict[bytes, int] = {}
        self._num_residues = 0
        self._kinds: Counter[str] = Counter()
        self._releases: Counter[str | None] = Counter()
        self._licences: Counter[str | None] = Counter()
        folder.mkdir(parents=True, exist_ok=True)
        self.fasta.write_text("")

    def add(self, entries: pa.Table) -> None:
        """Take entries: the columns of ``STORED_SCHEMA`` but the target; no accession may come twice."""
        self.num_entries += entries.num_rows
        targets = self._number(entries["checksum"].to_pylist(), entries["sequence"].to_pylist())
        stored = entries.select([name for name in STORED_SCHEMA.names if name != "target"])
        stored = stored.append_column("target", pa.array(targets, pa.int32())).select(STORED_SCHEMA.names)
        self._parts.add(stored.cast(STORED_SCHEMA))
        kinds = pc.value_counts(pc.struct_field(pc.list_flatten(entries["facts"]), "kind"))
        self._kinds.update({count["values"]: count["counts"] for count in kinds.to_pylist()})
        self._releases.update(entries["release"].to_pylist())
        self._licences.update(entries["licence"].to_pylist())

    def finish(self) -> dict[str, Any]:
        """Write what is waiting; names of parts, counts, releases and licences, as the manifest keeps them."""
        releases = sorted(self._releases, key=lambda name: (name is None, name))
        return {
            "parts": self._parts.finish(),
            "counts": {
                "entries": self.num_entries,
                "sequences": len(self._targets),
                "residues": self._num_residues,
                "facts": self._kinds.total(),
                "facts_by_kind": {kind: self._kinds[kind] for kind in FACT_KINDS},
            },
            "releases": releases,
            "licences": {name or NOT_STATED: count for name, count in self._licences.most_common()},
        }

    def _number(self, checksums: list[str], sequences: list[str]) -> list[int]:
        """Number of each sequence; those that are new are appended to the file."""
        targets = []
        with self.fasta.open("a") as file:
            for checksum, sequence in zip(checksums, sequences, strict=True):
                number = len(self._targets)
                target = self._targets.setdefault(bytes.fromhex(checksum), number)
                if target == number:
                    file.write(f">{number}\n{sequence}\n")
                    self._num_residues += len(sequence)
                targets.append(target)
        return targets
