"""Two writers of one index at once, and a disk that is full: a clear outcome, and no half index that loads."""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from protein2text.data.output_folder import hold
from protein2text.errors import ConfigError, DiskFull, MissingFile
from protein2text.neighbours.build import build
from protein2text.neighbours.index_folder import NeighbourIndex
from protein2text.neighbours.update import update
from tests.neighbours.in_process import build_in_process
from tests.neighbours.test_build import Row, functions, table


def test_a_build_that_another_one_overtook_finds_its_index_and_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one ends after this one has looked for a finished index, and before it holds the folder."""
    source, output = table(tmp_path / "one.tsv", [("P1", 1, "Binds")]), tmp_path / "index"

    def overtaken(folder: Path) -> BinaryIO:
        build_in_process([source], folder)
        return hold(folder)

    monkeypatch.setattr("protein2text.data.output_folder.hold", overtaken)
    made = build([str(source)], str(output), calibration_entries=0)
    assert (made.already_done, made.entries) == (True, 1)


def test_one_writer_at_a_time_and_the_other_leaves_the_index_alone(tmp_path: Path) -> None:
    source = table(tmp_path / "one.tsv", [("P1", 1, "Binds")])
    index = build_in_process([source], tmp_path / "index")
    with hold(index.folder), pytest.raises(ConfigError, match="another process is writing"):
        update(str(index.folder), [str(table(tmp_path / "two.tsv", [("P2", 1, "Moves")]))])
    assert functions(NeighbourIndex.open(index.folder)) == {"P1": "Binds."}


@contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """A disk that is full for any larger file."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("num_bytes", [0, 1500])
def test_a_full_disk_is_named_and_leaves_no_index(tmp_path: Path, num_bytes: int) -> None:
    """At its first bytes, and among the entries."""
    rows: list[Row] = [(f"P{n}", 1, f"Does {n}") for n in range(90)]
    more: list[Row] = [(f"Q{n}", 1, f"Does {n}") for n in range(90)]
    source, output = table(tmp_path / "one.tsv", rows), tmp_path / "index"
    other = table(tmp_path / "two.tsv", more)
    with (
        largest_file(num_bytes),
        pytest.raises(DiskFull, match=rf"{output}: a file reached the limit .*same command"),
    ):
        build([str(source)], str(output), calibration_entries=0)
    with pytest.raises(MissingFile, match="to its end"):
        NeighbourIndex.open(output)
    made = build([str(source)], str(output), calibration_entries=0)
    assert (made.already_done, made.entries) == (False, 90)
    with largest_file(num_bytes), pytest.raises(DiskFull):
        update(str(output), [str(other)])
    assert NeighbourIndex.open(output).num_entries == 90
    assert update(str(output), [str(other)]).entries == 180
