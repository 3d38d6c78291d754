"""The benchmark runner: no timing of what is red, and rows that say where they come from."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch


@pytest.fixture(scope="module")
def runner(repository: Path) -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("benchmarks_run", repository / "benchmarks" / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    sys.path.insert(0, str(repository / "benchmarks"))  # as Python does for a script
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(repository / "benchmarks"))


@pytest.mark.parametrize(("body", "green"), [("assert 1 + 1 == 2", True), ("assert 1 + 1 == 3", False)])
def test_only_green_operations_are_timed(runner: ModuleType, tmp_path: Path, body: str, green: bool) -> None:
    tests = tmp_path / "test_operation.py"
    tests.write_text(f"def test_operation():\n    {body}\n", encoding="utf-8")
    assert runner.passes(tests) == green


def test_every_case_has_tests_and_a_row_with_all_columns(runner: ModuleType) -> None:
    assert all(case.tests.is_file() for case in runner.CASES)
    row = runner.measure(runner.cross_attention([3, 5], latents=2, heads=1, channels=4), torch.device("cpu"), repeats=4)
    assert tuple(row) == runner.COLUMNS
    assert 0 < row["p20_ms"] <= row["p50_ms"] <= row["p80_ms"]
    assert row["shape"] == "B=2 S=8 K=2 H=1 C=4"
