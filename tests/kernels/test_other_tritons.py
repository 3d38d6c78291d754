"""The same source compiles for Hopper under the Tritons that other CUDA builds of torch pin.

Each is fetched by pip, into a folder that stands before the installed one: `make test-slow`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernels.test_ahead_of_time import COMPILE

VERSIONS = ["3.6.0", "3.7.0", "3.9.0"]
"""What torch 2.11 pins, the first of the series that torch 2.13 pins, and the newest."""


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_compiles_under_another_triton(version: str, repository: Path, tmp_path: Path) -> None:
    fetch = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path, f"triton=={version}"]
    fetched = subprocess.run(fetch, capture_output=True, text=True, check=False)
    assert fetched.returncode == 0, fetched.stderr[-2000:]
    path, cache = f"{tmp_path}:{repository}/kernels", f"{tmp_path}/cache"
    environment = os.environ | {"PYTHONPATH": path, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": cache}
    ask = "import json, triton; print(json.dumps(triton.__version__))"
    finished = subprocess.run(
        [sys.executable, "-c", f"{ask}\n{COMPILE}"], env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    said, compiled = map(json.loads, finished.stdout.splitlines())
    assert said == version
    assert [row for row in compiled if row["problems"]] == []
