"""`data.output_folder`: what a command may write to, and what it removes there."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from protein2text.data.output_folder import hold, refuse_strangers, remove_half
from protein2text.errors import ConfigError


def test_only_a_commands_own_things_may_lie_there(tmp_path: Path) -> None:
    refuse_strangers(tmp_path / "absent", {"records"}, "corpus")
    for name in ("records", "card.json.tmp", "report.html"):
        (tmp_path / name).touch()
    refuse_strangers(tmp_path, {"records", "card.json"}, "corpus")
    for name in ("thesis.txt", "notes.tmp"):
        (tmp_path / name).touch()
    with pytest.raises(ConfigError, match=r"output: holds 'notes\.tmp', no corpus; choose an empty folder"):
        refuse_strangers(tmp_path, {"records", "card.json"}, "corpus")


def test_a_folder_is_held_by_one_process(tmp_path: Path) -> None:
    code = "import sys, pathlib; from protein2text.data.output_folder import hold; hold(pathlib.Path(sys.argv[1]))"
    other = [sys.executable, "-c", code, str(tmp_path)]
    with hold(tmp_path):
        done = subprocess.run(other, capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert "another process is writing to it" in done.stderr
    subprocess.run(other, check=True, capture_output=True)


def test_half_shards_go_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ["records/part-00000.parquet", "records/part-00001.parquet.tmp", "records/keep.txt", "other/part-1.parquet"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with caplog.at_level(logging.WARNING, logger="protein2text.data.output_folder"):
        remove_half(tmp_path, ("records", "absent"))
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["keep.txt", "part-1.parquet"]
    assert "removed 2 shards" in caplog.text
