"""An index as stored, and how it is read: checked as a whole when it is opened, then only the rows that are asked for.

``index.json`` is written last and names everything else, which lies in one subfolder (``generation``): an update writes
another one beside it, so that the index is never half of two.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from protein2text.data.records import open_shard, read_card, row_bytes
from protein2text.errors import ConfigError, CorruptCheckpoint, MissingFile
from protein2text.neighbours.entries import ENTRY_SCHEMA, Characterised, from_table

INDEX_VERSION = 1
MANIFEST = "index.json"
UNSTATED = "a release that its sources do not state"
_REMEDY = "Remove the folder and build the index again: `protein2text index build`."
_HASH_BYTES = 4 * 2**20

STORED_SCHEMA = pa.schema(
    [*ENTRY_SCHEMA, ("content", pa.binary()), ("target", pa.int32())],
    metadata={"protein2text.index_version": str(INDEX_VERSION)},
)
"""``content`` is equal for entries that say the same of the same sequence; ``target`` is the sequence's number in the
MMseqs2 database, equal for entries of equal sequences."""


class NeighbourIndex:
    """Characterised proteins that can be looked up by accession and searched by sequence."""

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        """For the build, which has no manifest on disk yet; everyone else calls ``open``."""
        self.folder, self.manifest = folder, manifest

    @classmethod
    def open(cls, path: str | Path) -> "NeighbourIndex":
        """The index in a folder, after a look at every byte of it.

        Raises:
            MissingFile: no finished index there.
            ConfigError: an index of another version.
            CorruptCheckpoint: a file that is missing or differs from the manifest's checksum.
        """
        folder = Path(path).absolute()
        if not (folder / MANIFEST).is_file():
            remedy = "Run `protein2text index build SOURCE... --output DIR` to its end."
            raise MissingFile(str(folder / MANIFEST), "the manifest of a finished index of neighbours", remedy)
        manifest = read_card(folder / MANIFEST)
        if manifest.get("version") != INDEX_VERSION:
            problem = f"version {manifest.get('version')} where this program reads {INDEX_VERSION}"
            raise ConfigError(str(folder / MANIFEST), "version", f"{problem}. {_REMEDY}")
        if manifest.get("checksum") != manifest_checksum(manifest):
            raise CorruptCheckpoint(str(folder), MANIFEST, "it differs from its own checksum", _REMEDY)
        index = cls(folder, manifest)
        index.check()
        return index

    def check(self) -> None:
        """Compare every file with the manifest.

        Raises:
            CorruptCheckpoint: one is missing or differs.
        """
        for name, checksum in self.manifest["checksums"].items():
            path = self.folder / name
            if not path.is_file():
                raise CorruptCheckpoint(str(self.folder), name, "it is missing", _REMEDY)
            if file_checksum(path) != checksum:
                raise CorruptCheckpoint(str(self.folder), name, "it differs from the manifest's checksum", _REMEDY)

    @property
    def data(self) -> Path:
        """Folder of everything but the manifest."""
        return self.folder / str(self.manifest["generation"])

    @property
    def release(self) -> str:
        """Of the database that it was made from, to be read in "no characterised homologue in RELEASE"."""
        return " and ".join(name or UNSTATED for name in self.manifest["releases"])

    @property
    def licences(self) -> dict[str, int]:
        """Terms that the entries state, with the number of entries, the commonest first."""
        return dict(self.manifest["licences"])

    @property
    def num_entries(self) -> int:
        """Characterised proteins in it."""
        return int(self.manifest["counts"]["entries"])

    @cached_property
    def identity(self) -> dict[str, str]:
        """What an output row says about the index that it came from."""
        return {"name": self.folder.name, "manifest_sha256": file_checksum(self.folder / MANIFEST)}

    @property
    def embeddings(self) -> dict[str, Any] | None:
        """What `embed` says of the vectors of its sequences: their folder, encoder, width and search; None without."""
        return self.manifest.get("embeddings")

    @property
    def database(self) -> Path:
        """MMseqs2 database of the distinct sequences; its names are those that `accessions_of` takes."""
        return self.data / "mmseqs" / "sequences"

    @property
    def calibration_path(self) -> Path:
        """Measured frequencies of agreement."""
        return self.data / "calibration.json"

    def accessions_of(self, target: str) -> tuple[str, ...]:
        """Accessions of all entries with the sequence that the database calls so, in the order of the index."""
        return self._by_target[int(target)]

    def entries(self, accessions: Iterable[str]) -> dict[str, Characterised]:
        """The entries of some accessions, in the order asked for; accessions that it does not hold are left out."""
        wanted = [name for name in dict.fromkeys(accessions) if name in self._rows]
        found: dict[str, Characterised] = {}
        for part, group, rows in self._grouped(wanted):
            with open_shard(self._parts[part], _REMEDY) as shard:
                table = shard.read_row_group(group, columns=ENTRY_SCHEMA.names)
            found |= {entry.accession: entry for entry in from_table(table.take(rows))}
        return {name: found[name] for name in wanted}

    def stream(self) -> Iterator[Characterised]:
        """All entries in order, a few at a time in memory."""
        for table in self.tables(ENTRY_SCHEMA.names):
            yield from from_table(table)

    def tables(self, columns: list[str]) -> Iterator[pa.Table]:
        """Some columns of ``STORED_SCHEMA``, of all entries in order, a few at a time."""
        for path in self._parts:
            with open_shard(path, _REMEDY) as shard:
                for group in range(shard.num_row_groups):
                    yield shard.read_row_group(group, columns=columns)

    def columns(self, *names: str) -> pa.Table:
        """Some columns of ``STORED_SCHEMA``, of all entries in order."""
        tables = []
        for path in self._parts:
            with open_shard(path, _REMEDY) as shard:
                tables.append(shard.read(columns=list(names)))
        return pa.concat_tables(tables)

    def sequences(self) -> Mapping[str, str]:
        """Accession to residues, of all entries, in order."""
        table = self.columns("accession", "sequence")
        return dict(zip(table["accession"].to_pylist(), table["sequence"].to_pylist(), strict=True))

    def __contains__(self, accession: object) -> bool:
        return accession in self._rows

    @cached_property
    def _parts(self) -> list[Path]:
        return [self.data / "entries" / name for name in self.manifest["parts"]]

    @cached_property
    def _rows(self) -> dict[str, int]:
        """Accession to its row, counted through all parts."""
        return {name: row for row, name in enumerate(self.columns("accession")["accession"].to_pylist())}

    @cached_property
    def _by_target(self) -> dict[int, tuple[str, ...]]:
        table = self.columns("accession", "target")
        by_target: dict[int, tuple[str, ...]] = {}
        for name, target in zip(table["accession"].to_pylist(), table["target"].to_pylist(), strict=True):
            by_target[target] = (*by_target.get(target, ()), name)
        return by_target

    @cached_property
    def _group_starts(self) -> tuple[np.ndarray, list[tuple[int, int]]]:
        """First row of each row group, and its part and number there."""
        starts, places, row = [], [], 0
        for part, path in enumerate(self._parts):
            with open_shard(path, _REMEDY) as shard:
                metadata: pq.FileMetaData = shard.metadata
                for group in range(shard.num_row_groups):
                    starts.append(row)
                    places.append((part, group))
                    row += metadata.row_group(group).num_rows
        return np.array(starts), places

    def _grouped(self, accessions: list[str]) -> Iterator[tuple[int, int, list[int]]]:
        """Part, row group and rows within it that hold some accessions."""
        starts, places = self._group_starts
        rows = np.sort(np.array([self._rows[name] for name in accessions], dtype=np.int64))
        groups = np.searchsorted(starts, rows, side="right") - 1
        for group in np.unique(groups):
            yield *places[group], (rows[groups == group] - starts[group]).tolist()


def manifest_checksum(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of what a manifest says but for its own checksum, hexadecimal."""
    return hashlib.sha256(row_bytes({key: manifest[key] for key in manifest if key != "checksum"})).hexdigest()


def file_checksum(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BYTES):
            digest.update(block)
    return digest.hexdigest()
