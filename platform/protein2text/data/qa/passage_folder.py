"""Reads the passages of a literature folder, piece by piece, and knows where each of them lies."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from protein2text.data.passages import PASSAGE_SCHEMA, PASSAGE_VERSION
from protein2text.data.records import open_shard
from protein2text.errors import ConfigError, CorruptCheckpoint, MissingFile, RecordError
from protein2text.models.checkpoints import sha256_of

_VERSION_KEY = b"protein2text.passage_version"


@dataclass(frozen=True)
class RowGroup:
    """Rows of a Parquet file that are read together."""

    path: str
    number: int


class PassageFolder:
    """The passages that `data literature` left.

    Raises:
        MissingFile: no literature folder, or one that was not finished.
        ConfigError: a corpus, or other data.
        CorruptCheckpoint: a shard that cannot be read, or of another version.
        RecordError: a passage id that stands twice.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).resolve()
        if not (self.folder / "card.json").is_file():
            remedy = "Run `protein2text data literature --proteins FILE --output DIR` to its end."
            raise MissingFile(str(self.folder / "card.json"), "the card of finished literature", remedy)
        if not (self.folder / "passages").is_dir():
            remedy = "name a folder that `protein2text data literature` made"
            raise ConfigError(str(self.folder), "literature", f"holds other data than passages; {remedy}")
        self.shards = sorted((self.folder / "passages").glob("part-*.parquet"))
        self.groups: dict[RowGroup, list[str]] = {}
        """Row groups in the folder's order, with the ids of their passages."""
        self.place: dict[str, RowGroup] = {}
        for shard in self.shards:
            for group, ids in self._ids(shard):
                self.groups[group] = ids
                for passage_id in ids:
                    if self.place.setdefault(passage_id, group) != group or len(ids) != len(set(ids)):
                        limit, remedy = "an id names one passage", "Make the literature folder again."
                        raise RecordError(passage_id, str(self.folder), "stands twice", limit, remedy)

    def checksum(self) -> str:
        """SHA-256 of the shards' sums, in order."""
        sums = "".join(f"{shard.name} {sha256_of(shard)}\n" for shard in self.shards)
        return hashlib.sha256(sums.encode()).hexdigest()

    def _ids(self, shard: Path) -> Iterator[tuple[RowGroup, list[str]]]:
        remedy = "Remove the folder and run `protein2text data literature` again."
        with open_shard(shard, remedy) as file:
            version = (file.schema_arrow.metadata or {}).get(_VERSION_KEY, b"none").decode()
            if version != str(PASSAGE_VERSION):
                problem = f"version {version} where this program reads {PASSAGE_VERSION}"
                raise CorruptCheckpoint(str(self.folder), f"passages/{shard.name}", problem, remedy)
            for number in range(file.num_row_groups):
                ids = file.read_row_group(number, columns=["passage_id"])["passage_id"].to_pylist()
                yield RowGroup(str(shard), number), ids


def read_group(path: str, number: int) -> pa.Table:
    """One row group of passages, with the fields of ``PASSAGE_SCHEMA``."""
    with pq.ParquetFile(path) as file:
        return file.read_row_group(number).select(PASSAGE_SCHEMA.names)
