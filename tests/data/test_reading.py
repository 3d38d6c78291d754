"""`data.reading` without a Ray at hand: a file is read once and in order, by however many processes."""

import gzip
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pyarrow as pa
import pytest

from protein2text.data import reading
from protein2text.data.ingest import described, ingest
from protein2text.data.readers.entries import PIECE_BYTES
from protein2text.data.records import iter_local, load_card

pytestmark = pytest.mark.usefixtures("without_ray")

NUM_ENTRIES = 9000
"""More than three pieces of them."""


@pytest.fixture(scope="module")
def source(swissprot_like: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("reading") / "like.dat"
    swissprot_like.write_flat_file(path, NUM_ENTRIES, malformed=0.01)
    assert path.stat().st_size > 3 * PIECE_BYTES
    return path


@pytest.fixture
def three_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    monkeypatch.setattr(reading, "ALONE_BYTES", 0)


def corpus(source: Path, output: Path) -> tuple[dict[str, Any], list[dict[str, Any]], int]:
    """A corpus's card and records, and the most children that this process had meanwhile."""
    num_children = []
    summary = ingest(
        [str(source)],
        str(output),
        max_residues=4096,
        progress=lambda _: num_children.append(len(psutil.Process().children())),
    )
    return load_card(summary.output), iter_local([summary.output]), max(num_children)


@pytest.fixture(scope="module")
def alone(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    card, records, num_children = corpus(source, tmp_path_factory.mktemp("alone") / "corpus")
    assert not num_children, "so little is read by one process"
    return card, records


@pytest.mark.usefixtures("three_processes")
@pytest.mark.parametrize("is_packed", [False, True])
def test_several_processes_make_what_one_makes(
    source: Path, alone: tuple[dict[str, Any], list[dict[str, Any]]], tmp_path: Path, is_packed: bool
) -> None:
    if is_packed:
        packed = tmp_path / source.name
        packed.write_bytes(gzip.compress(source.read_bytes(), compresslevel=1))
        source = packed
    card, records, num_children = corpus(source, tmp_path / "corpus")
    assert num_children == 3
    assert records == alone[1]
    for one, other in zip(card["sources"], alone[0]["sources"], strict=True):
        assert is_packed or one == other
    assert {**card, "sources": []} == {**alone[0], "sources": []}
    assert not psutil.Process().children()


@pytest.mark.usefixtures("three_processes")
def test_processes_end_with_whoever_stops_listening(source: Path) -> None:
    files = [str(source)]

    def stop_listening() -> None:
        with reading.outcomes(files, described(files), pa.Table.combine_chunks) as tables:
            assert next(tables).num_rows == 1
            assert psutil.Process().children()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_listening()
    assert not psutil.Process().children()


@pytest.mark.parametrize(
    ("sizes", "num_bytes"), [({"a.dat": 7, "b.gz": 2}, 7 + 2 * reading.GZIP_RATIO), ({"s3://bucket/a.dat": 3}, 3)]
)
def test_packed_bytes_count_for_more(sizes: dict[str, int], num_bytes: int) -> None:
    inputs: list[dict[str, Any]] = [{"name": name, "format": "fasta", "bytes": size} for name, size in sizes.items()]
    assert reading._num_bytes([reading._task(item["name"], item) for item in inputs], inputs) == num_bytes
