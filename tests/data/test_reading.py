"""`data.reading`: what this process reads while Ray starts, and Ray after it, is the file, once and in order."""

import gzip
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import ray

from protein2text.data import reading
from protein2text.data.ingest import ingest
from protein2text.data.readers.entries import PIECE_BYTES
from protein2text.data.records import iter_local, load_card

pytestmark = pytest.mark.usefixtures("without_ray")


def corpus(source: Path, output: Path, **options: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    summary = ingest([str(source)], str(output), max_residues=4096, **options)
    return load_card(summary.output), iter_local([summary.output])


def test_ray_goes_on_where_this_process_ends(
    swissprot_like: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "like.dat"
    told = swissprot_like.write_flat_file(source, 9000, malformed=0.01)
    assert source.stat().st_size > 3 * PIECE_BYTES
    mib = source.stat().st_size / 2**20
    ray_ran: list[bool] = []
    events: list[dict[str, Any]] = []

    def progress(event: dict[str, Any]) -> None:
        ray_ran.append(ray.is_initialized())
        events.append(event)

    def check_told() -> None:
        """The bytes of every piece count once, whoever parsed it."""
        assert events[0]["message"] == f"reading like.dat, {mib:.1f} MiB"
        steps = [event["step"] for event in events[1:]]
        assert steps == sorted(steps)
        assert (steps[-1], events[-1]["num_steps"], events[-1]["rows"]) == (int(mib), round(mib), 9000)
        events.clear()

    whole, records = corpus(source, tmp_path / "here", progress=progress)
    check_told()
    assert not any(ray_ran), "so little needs no Ray"
    monkeypatch.setattr(reading, "HEAD_PIECES", 1)
    divided, divided_records = corpus(source, tmp_path / "divided", progress=progress)
    check_told()
    assert any(ray_ran)
    assert not ray.is_initialized()
    assert divided == whole
    assert divided_records == records
    assert len(records) == told["records"]


@pytest.mark.parametrize(
    ("sizes", "own", "rest"),
    [
        ([1, 2], [(None, None), (None, None)], []),
        ([1, 9], [(None, None), (None, 3)], [(3, None)]),
        ([9, 1], [(None, 4)], [(4, None), (None, None)]),
        ([2, 2, 1], [(None, None), (None, None)], [(None, None)]),
        ([2, 3], [(None, None), (None, 2)], [(2, None)]),
    ],
)
def test_files_are_divided_where_the_head_ends(
    sizes: list[int], own: list[tuple[int | None, ...]], rest: list[tuple[int | None, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(reading, "HEAD_PIECES", 4)
    inputs: list[dict[str, Any]] = [
        {"name": str(number), "format": "fasta", "bytes": size * PIECE_BYTES - 1} for number, size in enumerate(sizes)
    ]
    tasks = [reading._task(item["name"], item) for item in inputs]
    parts = reading._divided(tasks, inputs)
    assert [[(task["start"], task["stop"]) for task in part] for part in parts] == [own, rest]
    names = [task["path"] for part in parts for task in part]
    assert list(dict.fromkeys(names)) == [item["name"] for item in inputs]


def test_packed_bytes_count_for_more_and_a_store_is_ray_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "HEAD_PIECES", 4)
    item = {"name": "a", "format": "fasta", "bytes": PIECE_BYTES}
    for path, num_own in (("/a.dat", 1), ("s3://bucket/a.dat", 0)):
        own, rest = reading._divided([reading._task(path, item)], [item])
        assert (len(own), len(rest)) == (num_own, 1 - num_own)
    own, rest = reading._divided([reading._task("/a.dat.gz", item)], [item])
    assert (own[0]["stop"], rest[0]["start"]) == (4, 4)


def test_a_file_that_unpacks_to_more_than_was_thought_is_read_whole(
    swissprot_like: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, packed = tmp_path / "like.dat", tmp_path / "like.dat.gz"
    told = swissprot_like.write_flat_file(source, 4000)
    packed.write_bytes(gzip.compress(source.read_bytes()))
    monkeypatch.setattr(reading, "GZIP_RATIO", 1)
    monkeypatch.setattr(reading, "HEAD_PIECES", 1)
    events: list[dict[str, Any]] = []
    _, records = corpus(packed, tmp_path / "corpus", progress=events.append)
    assert len(records) == told["records"]
    assert not any("step" in event for event in events)
    assert events[-1]["message"] == f"{source.stat().st_size // 2**20} MiB unpacked"


def test_many_tiny_files_need_no_ray() -> None:
    inputs = [{"name": str(number), "format": "fasta", "bytes": 99} for number in range(1000)]
    tasks = [reading._task(f"/{number}", item) for number, item in enumerate(inputs)]
    assert reading._divided(tasks, inputs) == (tasks, [])
