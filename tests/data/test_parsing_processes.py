"""`data.parsing_processes`: in order, and with no process left, however this one ends."""

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import psutil
import pyarrow as pa
import pytest

from protein2text.data.parsing_processes import PIECES_EACH, parsed
from protein2text.errors import ServiceError

STEPS = """
import os, signal, time

def slow_if_even(piece):
    number = piece["number"][0].as_py()
    time.sleep(0.02 * (number % 2 == 0))
    return piece.append_column("process", [[os.getpid()]])

def killed_at_five(piece):
    if piece["number"][0].as_py() == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return piece
"""


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A module that lies where only this process has found it so far."""
    (tmp_path / "steps_of_parsing.py").write_text(STEPS)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("steps_of_parsing")
    del sys.modules["steps_of_parsing"]


def pieces(num_pieces: int, taken: list[int]) -> Iterator[pa.Table]:
    for number in range(num_pieces):
        taken.append(number)
        yield pa.table({"number": [number]})


def test_order_is_kept_and_little_is_taken_ahead(steps: ModuleType) -> None:
    taken: list[int] = []
    ahead, rows = [], []
    for table in parsed(pieces(40, taken), steps.slow_if_even, 2):
        rows += table.to_pylist()
        ahead.append(len(taken) - len(rows))
    assert [row["number"] for row in rows] == list(range(40))
    assert len({row["process"] for row in rows} - {os.getpid()}) == 2
    assert max(ahead) <= 2 * PIECES_EACH
    assert not psutil.Process().children()


def test_a_process_that_is_killed_is_named_and_the_others_end(steps: ModuleType) -> None:
    with pytest.raises(ServiceError, match="exit status -9"):
        list(parsed(pieces(40, []), steps.killed_at_five, 2))
    assert not psutil.Process().children()


def test_processes_outlive_no_kill_and_hear_no_interrupt() -> None:
    program = (
        "import time, pyarrow as pa\n"
        "from protein2text.data.parsing_processes import parsed\n"
        "def pieces():\n"
        "    yield from [pa.table({'a': [1]})] * 9\n"
        "    print('started', flush=True)\n"
        "    time.sleep(60)\n"
        "list(parsed(pieces(), pa.Table.combine_chunks, 2))\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"started\n"
        children = psutil.Process(parent.pid).children()
        assert len(children) == 2
        assert all(os.getpgid(child.pid) != os.getpgid(parent.pid) for child in children), "interrupts are for groups"
        parent.kill()
    assert not psutil.wait_procs(children, timeout=10)[1]
