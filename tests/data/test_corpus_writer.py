"""`data.corpus_writer` and its parts: even shards, a checksum of rows that no layout changes."""

import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from protein2text.data.even_shards import HELD_SHARDS, EvenShards
from protein2text.data.records import RECORD_SCHEMA, make_record
from protein2text.data.table_digest import TableDigest
from protein2text.proteins import Protein

NUMBERS = pa.schema([("number", pa.int32()), ("text", pa.string())])


def numbered(first: int, count: int) -> pa.Table:
    rows = [{"number": number, "text": f"{number:096}"} for number in range(first, first + count)]
    return pa.Table.from_pylist(rows, schema=NUMBERS)


@pytest.mark.parametrize("num_rows", [0, 1, 9, 990, 1010, 1499, 1501, 2480, 2520, 3333, 3490, 3510, 4505, 9876, 21001])
def test_shards_are_even_whatever_comes(tmp_path: Path, num_rows: int) -> None:
    shards = EvenShards(tmp_path, NUMBERS, shard_bytes=1000 * 104)  # a row takes 104 bytes
    for first in range(0, num_rows, 10):
        shards.add(numbered(first, min(10, num_rows - first)))
        assert shards._num_bytes < HELD_SHARDS * shards.shard_bytes
    names = shards.finish()
    assert names == [path.name for path in sorted(tmp_path.iterdir())]
    tables = [pq.read_table(tmp_path / name) for name in names]
    assert pa.concat_tables(tables)["number"].to_pylist() == list(range(num_rows))
    sizes = [table.num_rows for table in tables]
    assert max(sizes) <= 1.21 * min(sizes)
    assert num_rows < 2500 or max(sizes) <= 1190
    assert len(names) == max(1, round(num_rows / 1000)) or num_rows > 3500


def records() -> list[dict[str, Any]]:
    rng = random.Random(3)
    rows = []
    for number in range(60):
        proteins = [Protein(f"P{number}{letter}", "MKV" * (1 + rng.randrange(9))) for letter in "ab"[: 1 + number % 2]]
        messages: Any = [None, [], [{"role": "user", "content": f"é{number}?"}, {"role": "assistant", "content": ""}]]
        row: dict[str, Any] = dict(
            make_record(
                f"R{number}", proteins, source="s", text=[None, "", "Binds."][number % 3],
                messages=messages[number % 3], facts=[None, [], ["a", ""]][number // 3 % 3],
                provenance={"n": number} if number % 4 else None,
            )
        )  # fmt: skip
        rows.append(row)
    return rows


def digest(*batches: list[dict[str, Any]]) -> str:
    total = TableDigest(RECORD_SCHEMA)
    for rows in batches:
        total.update(pa.Table.from_pylist(rows, schema=RECORD_SCHEMA))
    return total.hexdigest()


@pytest.mark.parametrize("cuts", [[], [1], [30], [7, 8, 59], [0, 60], list(range(61))])
def test_the_checksum_is_that_of_the_rows_not_of_their_batches(cuts: list[int]) -> None:
    rows = records()
    edges = [0, *cuts, len(rows)]
    assert digest(*(rows[low:high] for low, high in pairwise(edges))) == digest(rows)
    table = pa.Table.from_pylist(rows, schema=RECORD_SCHEMA)
    sliced = TableDigest(RECORD_SCHEMA)
    for low, high in pairwise(edges):
        sliced.update(table.slice(low, high - low))
    assert sliced.hexdigest() == digest(rows)


def changed(rows: list[dict[str, Any]], number: int, **changes: Any) -> list[dict[str, Any]]:
    return [row | changes if index == number else row for index, row in enumerate(rows)]


def test_any_change_of_a_row_changes_the_checksum() -> None:
    rows = records()
    protein = rows[5]["proteins"][0]
    variants = {
        "as made": rows,
        "less": rows[:-1],
        "order": [rows[1], rows[0], *rows[2:]],
        "null text": changed(rows, 1, text=None),
        "other text": changed(rows, 2, text="Binds!"),
        "null messages": changed(rows, 1, messages=None),
        "null facts": changed(rows, 3, facts=None),
        "empty facts": changed(rows, 6, facts=[]),
        "moved letter": changed(changed(rows, 8, source="sx", record_id="R"), 9, record_id="8R9"),
        "residue": changed(rows, 5, proteins=[protein | {"sequence": "A" + protein["sequence"][1:]}]),
        "length": changed(rows, 5, proteins=[protein | {"length": 7}]),
        "null length": changed(rows, 5, proteins=[protein | {"length": None}]),
        "minus one": changed(rows, 5, proteins=[protein | {"length": -1}]),
        "no protein": changed(rows, 5, proteins=[]),
        "null protein": changed(rows, 5, proteins=[None]),
        "role": changed(rows, 2, messages=[{"role": "usera", "content": "é2?"}, {"role": "ssistant", "content": ""}]),
    }
    digests = {name: digest(variant) for name, variant in variants.items()}
    assert len(set(digests.values())) == len(variants), digests
