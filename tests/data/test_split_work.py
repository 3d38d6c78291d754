"""`data.split_work`: a killed split goes on, and stages are told and timed."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from protein2text.data import mmseqs
from protein2text.data.split import load_split, split
from protein2text.errors import MissingFile

KILLED = """
import os, signal, sys
from protein2text.data.split import split
corpus, output, stage = sys.argv[1:]
def die(event):
    if event["message"].startswith(stage):
        os.kill(os.getpid(), signal.SIGKILL)
split([corpus], output, kind="by_cluster", test_share=0.4, seed=1, progress=die)
"""


def rows_and_card(folder: Path) -> tuple[Any, dict[str, Any]]:
    card = json.loads((folder / "split.json").read_text())
    card.pop("stage_seconds")
    tables = [pq.read_table(folder / name).to_pylist() for name in ("split.parquet", "test.parquet")]
    return tables, card


def test_a_killed_split_goes_on_after_its_last_finished_stage(
    families: dict[str, str], make_corpus: Any, described: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = make_corpus([described(name, sequence) for name, sequence in families.items()])
    arguments: dict[str, Any] = {"kind": "by_cluster", "test_share": 0.4, "seed": 1}
    calm = split([corpus], str(tmp_path / "calm"), **arguments)
    half = tmp_path / "half"
    done = subprocess.run([sys.executable, "-c", KILLED, corpus, str(half), "measure"], check=False)
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(MissingFile, match="to its end"):
        load_split(half)
    (half / "work" / "mmseqs-scrap").mkdir()
    with monkeypatch.context() as patched:
        for name in ("cluster_into", "search_into"):
            patched.setattr(mmseqs, name, lambda *_: pytest.fail("this stage was finished"))
        again = split([corpus], str(half), **arguments)
    assert again.checksum == calm.checksum
    assert rows_and_card(half) == rows_and_card(tmp_path / "calm")
    assert {path.name for path in half.iterdir()} == {".lock", "split.json", "split.parquet", "test.parquet"}
    other = split([corpus], str(tmp_path / "other"), **{**arguments, "seed": 2})
    subprocess.run([sys.executable, "-c", KILLED, corpus, str(tmp_path / "changed"), "measure"], check=False)
    changed = split([corpus], str(tmp_path / "changed"), **{**arguments, "seed": 2})
    assert changed.checksum == other.checksum, "what other arguments left is not used"


@pytest.mark.slow
def test_five_kills_at_random_change_nothing(
    families: dict[str, str], make_corpus: Any, described: Any, tmp_path: Path
) -> None:
    corpus = make_corpus([described(name, sequence) for name, sequence in families.items()])
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", KILLED, corpus, str(tmp_path / "calm"), "never"], check=True)
    calm_s = time.monotonic() - began
    half, dice, kills = tmp_path / "half", random.Random(5), 0
    for _ in range(50):
        process = subprocess.Popen([sys.executable, "-c", KILLED, corpus, str(half), "never"])
        time.sleep(dice.uniform(0, calm_s))
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        if kills == 5:
            break
        if (half / "split.json").exists():  # it was faster
            shutil.rmtree(half)
    assert kills == 5
    split([corpus], str(half), kind="by_cluster", test_share=0.4, seed=1)
    assert rows_and_card(half) == rows_and_card(tmp_path / "calm")


def test_stages_are_told_as_they_begin_and_timed(
    make_corpus: Any, described: Any, sequences: Any, tmp_path: Path
) -> None:
    corpus = make_corpus([described(name, sequences.random(60)) for name in "ABCDEFGH"])
    events: list[dict[str, Any]] = []
    summary = split([corpus], str(tmp_path / "split"), kind="by_cluster", progress=events.append)
    assert [event["step"] for event in events] == [0, 1, 2, 3]
    assert [event["message"].split()[0] for event in events] == ["read", "cluster", "search", "measure"]
    assert list(summary.stage_seconds) == ["read", "cluster", "search", "measure"]
    assert 0 < sum(summary.stage_seconds.values()) <= summary.seconds
    again = split([corpus], str(tmp_path / "split"), kind="by_cluster")
    assert again.stage_seconds == summary.stage_seconds, "those of the run that made it"
