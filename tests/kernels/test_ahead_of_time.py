"""Every shipped kernel compiles for Hopper without spills, and its products use the warp-group instructions.

In a process of its own, since this one's Triton interprets.
"""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COMPILE = """
import json
from protein2text_kernels.ahead_of_time import compile_all
print(json.dumps([done.row() for done in compile_all()]))
"""


@pytest.fixture(scope="module")
def compiled() -> list[dict[str, str]]:
    environment = os.environ | {"TRITON_INTERPRET": "0"}
    finished = subprocess.run(
        [sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    done: list[dict[str, str]] = json.loads(finished.stdout)
    return done


def test_no_kernel_spills_or_leaves_the_fast_path(compiled: list[dict[str, str]]) -> None:
    assert [row for row in compiled if row["problems"]] == []


def test_each_operation_is_compiled_for_each_dtype(compiled: list[dict[str, str]]) -> None:
    names = {row["kernel"] for row in compiled}
    assert {(row["kernel"], row["dtype"]) for row in compiled} == {
        (name, dtype) for name in names for dtype in ("float32", "float16", "bfloat16")
    }
    assert all(0 < int(row["registers"]) <= 255 for row in compiled)


def test_the_committed_table_is_of_these_kernels(compiled: list[dict[str, str]], repository: Path) -> None:
    """Under the Triton that made it, to the last register."""
    with (repository / "benchmarks" / "results" / "kernels_sm90.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    same = ("kernel", "dtype", "tile") if compiled[0]["triton"] != table[0]["triton"] else tuple(compiled[0])
    assert [[row[name] for name in same] for row in compiled] == [[row[name] for name in same] for row in table]
