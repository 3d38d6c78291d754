"""The stored form of a record: one row of a Parquet shard, with a version.

A record holds one or two proteins and either a description (``text``), one question with its answer (``messages``), or
neither (a protein without text). Null says unknown; an empty list of facts says known to have none.
"""

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic_core import to_json

from protein2text.data.table_digest import TableDigest
from protein2text.errors import CorruptCheckpoint, MissingFile, RecordError
from protein2text.proteins import Protein

if TYPE_CHECKING:
    import ray.data

RECORD_VERSION = 2
ROWS_PER_BLOCK = 256
"""Rows of a shard's row group and of a block of raw records: larger ones would leave a small corpus to one worker."""
ENOUGH_BLOCKS, MAX_GROUPS_PER_BLOCK = 16, 8
"""Row groups are read together where more than this many blocks would come of them, up to so many: every block costs
Ray some tenths of a second, and a sort as many pieces as blocks times blocks."""
PLACEHOLDER = "<protein_sequence>"
"""Stands in a question's text for one protein, in the order of ``proteins``."""

PROTEIN_STRUCT = pa.struct(
    [("accession", pa.string()), ("sequence", pa.string()), ("length", pa.int32()), ("checksum", pa.string())]
)
_MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])
RECORD_SCHEMA = pa.schema(
    [
        ("record_id", pa.string()),
        ("proteins", pa.list_(PROTEIN_STRUCT)),
        ("text", pa.string()),
        ("messages", pa.list_(_MESSAGE)),
        ("question_kind", pa.string()),
        ("facts", pa.list_(pa.string())),
        ("source", pa.string()),
        ("provenance", pa.string()),
    ],
    metadata={"protein2text.record_version": str(RECORD_VERSION)},
)
QUARANTINE_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("source", "place", "record", "reason", "value", "message")],
    metadata={"protein2text.record_version": str(RECORD_VERSION)},
)


class ProteinEntry(TypedDict):
    """A protein as stored: residues upper case, ``length`` in residues, ``checksum`` the SHA-256 of the sequence."""

    accession: str
    sequence: str
    length: int
    checksum: str


class Message(TypedDict):
    """One turn of a conversation; ``role`` is ``user`` or ``assistant``."""

    role: str
    content: str


class Record(TypedDict):
    """One row; the fields of ``RECORD_SCHEMA``."""

    record_id: str
    proteins: list[ProteinEntry]
    text: str | None
    messages: list[Message] | None
    question_kind: str | None
    facts: list[str] | None
    source: str
    provenance: str | None


def protein_entry(protein: Protein) -> ProteinEntry:
    """A protein as it is stored."""
    return {
        "accession": protein.accession,
        "sequence": protein.sequence,
        "length": len(protein),
        "checksum": protein.checksum,
    }


def make_record(
    record_id: str,
    proteins: Sequence[Protein],
    *,
    source: str,
    text: str | None = None,
    messages: list[Message] | None = None,
    question_kind: str | None = None,
    facts: list[str] | None = None,
    provenance: dict[str, Any] | None = None,
) -> Record:
    """A record of checked proteins; ``provenance`` is stored as JSON without its empty fields."""
    entries = [protein_entry(protein) for protein in proteins]
    return {
        "record_id": record_id,
        "proteins": entries,
        "text": text,
        "messages": messages,
        "question_kind": question_kind,
        "facts": facts,
        "source": source,
        "provenance": provenance_json(provenance or {}),
    }


def provenance_json(provenance: Mapping[str, Any]) -> str | None:
    """Provenance as stored: JSON without empty fields, null when nothing is left."""
    kept = {key: value for key, value in sorted(provenance.items()) if value not in (None, "", [], ())}
    return to_json(kept).decode() if kept else None


def write_shard(table: pa.Table, path: Path) -> None:
    """Write a Parquet file (zstd) that is either whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".tmp")
    pq.write_table(table, part, compression="zstd", row_group_size=ROWS_PER_BLOCK)
    os.replace(part, path)


def write_json(value: dict[str, Any], path: Path) -> None:
    """Write JSON that is either whole or not there."""
    part = path.with_name(path.name + ".tmp")
    part.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(part, path)


def load_card(folder: str | Path) -> dict[str, Any]:
    """Read a corpus's card: its presence says that the ingest finished.

    Raises:
        MissingFile: no such corpus, or an ingest that was stopped before its end.
        CorruptCheckpoint: written by another version.
    """
    path = Path(folder) / "card.json"
    if not path.is_file():
        raise MissingFile(
            str(path), "the card of a finished corpus", "Run `protein2text data ingest SOURCE --output DIR` to its end."
        )
    card = read_card(path)
    if card.get("version") != RECORD_VERSION:
        problem = f"version {card.get('version')} where this program reads {RECORD_VERSION}"
        raise CorruptCheckpoint(str(folder), "card.json", problem, "Ingest the sources again.")
    return card


def read_card(path: Path) -> dict[str, Any]:
    """The JSON object that a folder's card holds.

    Raises:
        CorruptCheckpoint: it holds something else.
    """
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CorruptCheckpoint(str(path.parent), path.name, f"no JSON: {error}", "Make the data again.") from None
    if not isinstance(card, dict):
        raise CorruptCheckpoint(
            str(path.parent), path.name, f"a {type(card).__name__}, no card", "Make the data again."
        )
    return card


def corpus_licences(dirs: Sequence[str | Path]) -> dict[str, int]:
    """How many records of finished corpora state which licence, the commonest first."""
    counts: Counter[str] = Counter()
    for folder in dirs:
        counts.update(load_card(folder)["licences"])
    return dict(counts.most_common())


def corpus_sources(dirs: Sequence[str | Path]) -> list[dict[str, Any]]:
    """Name, release (None where none is known) and number of records of every file that corpora were ingested from."""
    sources = [source for folder in dirs for source in load_card(folder).get("sources", [])]
    return [
        {"name": each["name"], "release": each.get("release"), "records": each.get("records", 0)} for each in sources
    ]


def record_shards(folder: str | Path) -> list[str]:
    """Absolute paths of a finished corpus's shards, in order.

    Raises:
        MissingFile: no such corpus.
        CorruptCheckpoint: a shard that the card names is missing.
    """
    return shards_of(folder, load_card(folder))


def shards_of(folder: str | Path, card: dict[str, Any]) -> list[str]:
    """`record_shards` of a corpus whose card was read already."""
    root = Path(folder).resolve()
    paths = [root / "records" / name for name in card["shards"]["records"]]
    for path in paths:
        if not path.is_file():
            raise CorruptCheckpoint(str(folder), f"records/{path.name}", "it is missing", "Ingest the sources again.")
    return [str(path) for path in paths]


def iter_local(dirs: Sequence[str | Path], columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """All that `stream_records` gives, at once: for planning and evaluation, not for big corpora."""
    return list(stream_records(dirs, columns))


def stream_records(dirs: Sequence[str | Path], columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Records of finished corpora as plain rows, in this process, a few at a time.

    Args:
        dirs: corpus folders, read in this order.
        columns: fields to read; all when None.

    Raises:
        RecordError: two corpora hold the same record id, which would train or count one of them twice.
    """
    wanted = list(columns) if columns is not None else RECORD_SCHEMA.names
    earlier: dict[bytes, str] = {}
    for folder in dirs:
        here: set[bytes] = set()
        for row in _rows(folder, sorted({*wanted, "record_id"}, key=RECORD_SCHEMA.names.index)):
            if len(dirs) > 1:
                key = hashlib.blake2b(row["record_id"].encode(), digest_size=16).digest()
                here.add(key)
                if key in earlier:
                    raise _in_two_corpora(row["record_id"], earlier[key], folder)
            yield {name: row[name] for name in wanted}
        earlier |= dict.fromkeys(here, str(folder))


def _in_two_corpora(record_id: str, first: str, second: str | Path) -> RecordError:
    return RecordError(
        record_id,
        "record_id",
        f"stands in {first} and in {second}",
        "an id names one record",
        "Ingest the sources into one corpus, or leave one of the two out.",
    )


def _rows(folder: str | Path, columns: list[str]) -> Iterator[dict[str, Any]]:
    for path in record_shards(folder):
        with open_shard(path) as shard:
            for batch in shard.iter_batches(columns=columns):
                yield from batch.to_pylist()


@contextmanager
def open_shard(
    path: str | Path, remedy: str = "Remove the corpus and ingest its sources again."
) -> Iterator[pq.ParquetFile]:
    """A shard to read from.

    Args:
        path: of a file in a subfolder of the data it belongs to.
        remedy: what the user can do when it cannot be read.

    Raises:
        CorruptCheckpoint: it cannot be read, when it is opened or later.
    """
    try:
        with pq.ParquetFile(path) as shard:
            yield shard
    except (pa.ArrowException, OSError) as error:
        place = Path(path)
        problem = f"it cannot be read: {str(error).splitlines()[0].rstrip('.')}"
        raise CorruptCheckpoint(str(place.parents[1]), f"{place.parent.name}/{place.name}", problem, remedy) from error


def read_records(dirs: Sequence[str | Path]) -> "ray.data.Dataset":
    """Records of finished corpora as a Ray dataset, in blocks of whole row groups.

    The caller sets ``preserve_order`` if it needs it. Not ``ray.data.read_parquet``: Ray 2.60 takes 9 s to list one
    local file, and a small corpus becomes one block.

    Raises:
        MissingFile: a folder holds no finished corpus.
    """
    import ray.data  # here, so that planning and evaluation read records without Ray

    groups: list[dict[str, Any]] = []
    for path in (path for folder in dirs for path in record_shards(folder)):
        with open_shard(path) as shard:
            groups += [{"path": path, "group": group} for group in range(shard.num_row_groups)]
    if not groups:
        return ray.data.from_arrow(RECORD_SCHEMA.empty_table())
    blocks = ray.data.from_items(groups, override_num_blocks=blocks_of(len(groups)))
    return blocks.map_batches(_read_row_groups, batch_size=None, batch_format="pyarrow")


def blocks_of(num_groups: int) -> int:
    """How many Ray blocks to make of so many row groups."""
    return math.ceil(num_groups / min(MAX_GROUPS_PER_BLOCK, math.ceil(num_groups / ENOUGH_BLOCKS)))


def _read_row_groups(batch: pa.Table) -> pa.Table:
    tables = []
    for item in batch.to_pylist():
        with open_shard(item["path"]) as shard:
            tables.append(shard.read_row_group(item["group"]))
    return pa.concat_tables(tables)


def corpus_checksum(folder: str | Path) -> str:
    """Digest of a corpus's records, read from its shards; equal to the card's unless a shard was altered."""
    digest = TableDigest(RECORD_SCHEMA)
    for path in record_shards(folder):
        with open_shard(path) as shard:
            for batch in shard.iter_batches(batch_size=ROWS_PER_BLOCK * 64):
                digest.update(pa.Table.from_batches([batch]))
    return digest.hexdigest()


def row_bytes(row: dict[str, Any]) -> bytes:
    """Canonical JSON of a row: what a split's checksum is made of."""
    return json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
