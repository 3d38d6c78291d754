"""`data.output_folder`: what a command may write to, and what it removes there."""

import errno
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ray.data.exceptions import UserCodeException
from ray.exceptions import RayTaskError

from protein2text.data.output_folder import hold, refuse_strangers, remove_half
from protein2text.errors import ConfigError, DiskFull, ResourcesUnavailable
from protein2text.outputs import naming_a_full_disk
from tests.conftest import no_file_above


def test_only_a_commands_own_things_may_lie_there(tmp_path: Path) -> None:
    refuse_strangers(tmp_path / "absent", {"records"}, "corpus")
    for name in ("records", "card.json.tmp", "report.html"):
        (tmp_path / name).touch()
    refuse_strangers(tmp_path, {"records", "card.json"}, "corpus")
    for name in ("thesis.txt", "notes.tmp"):
        (tmp_path / name).touch()
    with pytest.raises(ConfigError, match=r"output: holds 'notes\.tmp', no corpus; choose an empty folder"):
        refuse_strangers(tmp_path, {"records", "card.json"}, "corpus")


def test_a_url_is_no_folder() -> None:
    with pytest.raises(ConfigError, match="output: is a URL"):
        refuse_strangers(Path("s3://bucket/corpus").absolute(), {"records"}, "corpus")


def test_a_full_disk_is_named_where_the_folder_could_not_be_made(tmp_path: Path) -> None:
    with pytest.raises(DiskFull), naming_a_full_disk(tmp_path / "not" / "made"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_folder_is_held_by_one_process(tmp_path: Path) -> None:
    code = "import sys, pathlib; from protein2text.data.output_folder import hold; hold(pathlib.Path(sys.argv[1]))"
    other = [sys.executable, "-c", code, str(tmp_path)]
    with hold(tmp_path):
        done = subprocess.run(other, capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert "another process is writing to it" in done.stderr
    subprocess.run(other, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("number", "problem", "remedy"),
    [
        (errno.ENOSPC, r"its disk is full \(\d.*MiB are free; ", "Free some"),
        (errno.EDQUOT, r"your quota on its disk is used up \(", "Free some of it, or have it raised"),
        (errno.EFBIG, r"a file reached the limit of file sizes that `ulimit -f` sets, 99 bytes \(", "Raise it"),
    ],
)
def test_a_disk_that_takes_no_more_is_told_from_other_failures(
    tmp_path: Path, number: int, problem: str, remedy: str
) -> None:
    said = rf"{tmp_path}: {problem}.*{os.strerror(number)}\)\. {remedy}, and give the same command again"
    for error in (OSError(number, os.strerror(number)), RuntimeError(f"from Rust: {os.strerror(number)} ")):
        with no_file_above(99), pytest.raises(DiskFull, match=said), naming_a_full_disk(tmp_path):
            raise error
    for error in (PermissionError(errno.EACCES, "no right"), ResourcesUnavailable("AVX2", "none", "Buy one.")):
        with pytest.raises(type(error)), naming_a_full_disk(tmp_path):
            raise error


def test_a_disk_that_fills_under_one_of_rays_workers_is_named(tmp_path: Path) -> None:
    inner = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    in_step = UserCodeException("map_batches")
    in_step.__cause__ = inner
    for error in (RayTaskError("task", "trace", inner).as_instanceof_cause(), in_step):
        with pytest.raises(DiskFull, match=r"its disk is full .*No space left"), naming_a_full_disk(tmp_path):
            raise error


def test_half_shards_go_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ["records/part-00000.parquet", "records/part-00001.parquet.tmp", "records/keep.txt", "other/part-1.parquet"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with caplog.at_level(logging.WARNING, logger="protein2text.data.output_folder"):
        remove_half(tmp_path, ("records", "absent"))
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["keep.txt", "part-1.parquet"]
    assert "removed 2 shards" in caplog.text
