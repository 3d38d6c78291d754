"""Every shipped kernel compiles for Hopper without spills, and its products use the warp-group instructions.

In a process of its own, since this one's Triton interprets.
"""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

COMPILE = """
import json
from protein2text_kernels.ahead_of_time import compile_all
print(json.dumps([[done.case.name, done.case.dtype, done.case.tile, done.problems, done.registers, done.num_hgmma,
                   done.case.multiplies] for done in compile_all()]))
"""


@pytest.fixture(scope="module")
def compiled() -> list[Any]:
    environment = os.environ | {"TRITON_INTERPRET": "0"}
    finished = subprocess.run(
        [sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    done: list[Any] = json.loads(finished.stdout)
    return done


def test_no_kernel_spills_or_leaves_the_fast_path(compiled: list[Any]) -> None:
    assert [(name, dtype, tile, problems) for name, dtype, tile, problems, *_ in compiled if problems] == []


def test_each_operation_is_compiled_for_each_dtype(compiled: list[Any]) -> None:
    names = {name for name, *_ in compiled}
    assert {(name, dtype) for name, dtype, *_ in compiled} == {
        (name, dtype) for name in names for dtype in ("float32", "float16", "bfloat16")
    }
    assert all(0 < registers <= 255 for _, _, _, _, registers, *_ in compiled)
