"""The kernels' benchmark suite: right before it is timed, rows as they come, and charts that say what the rows say."""

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.platform.test_benchmarks import script

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def runner(repository: Path) -> Iterator[ModuleType]:
    yield from script(repository, "kernel_suite")


@pytest.fixture(scope="module")
def plot(repository: Path) -> Iterator[ModuleType]:
    yield from script(repository, "plot")


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.compile takes a minute for what is a matter of a GPU's speed; it was run once by hand."""
    monkeypatch.setattr(torch, "compile", lambda function, dynamic: function)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.usefixtures("uncompiled")
def test_the_tiny_suite_goes_all_the_way_on_a_cpu(runner: ModuleType, tmp_path: Path) -> None:
    suite = runner.Suite(tmp_path / "rows.csv", CPU, 60)
    runner.run(suite, runner.sizes_of("tiny"), None)
    rows = read(tmp_path / "rows.csv")
    assert [row["op"] for row in rows[:2]] == ["copy", "product"], "ceilings come first"
    expected = {
        ("ragged_cross_attention", "forward"), ("ragged_cross_attention", "backward"), ("bias_gelu", "forward"),
        ("qkv_rope", "forward"), ("residual_layer_norm", "forward"), ("splice", "forward"), ("splice", "backward"),
        ("media_keys_values", "forward + backward"), ("encoder", "forward"), ("resampler", "forward + backward"),
    }  # fmt: skip
    assert {(row["op"], row["passes"]) for row in rows[2:]} == expected
    assert suite.num_red == 0
    for row in rows[2:]:
        if row["provider"] == "ours, unsplit":
            continue  # in the interpreter it runs, and elsewhere it needs a GPU
        assert row["status"] == "ok", row
        assert 0 < float(row["p20_ms"]) <= float(row["p50_ms"]) <= float(row["p80_ms"])
        assert float(row["wall_ms"]) > 0
        if row["error"]:
            assert float(row["error"]) < 1e-5, row
        else:
            assert (row["op"], row["shape"].startswith("B=2 + long")) == ("encoder", True)
        if row["provider"] == "ours":
            assert row["ran"] == ("libraries" if row["op"] == "media_keys_values" else "naive")
            assert float(row["floor_ms"]) > 0


def case_of(runner: ModuleType, **changes: Any) -> Any:
    """Three providers of a sum, all right; ``changes`` say what is not."""
    numbers = torch.randn(5)
    steps = {name: lambda: runner.Step(lambda: numbers + 1) for name in ("ours", "peer", "other peer")}
    case = runner.Case("bias_gelu", "forward", "5", torch.float32, 40, 0, 1e-6, lambda: [numbers.double() + 1], steps)
    return replace(case, **changes)


def unlucky() -> Any:
    raise RuntimeError("no such driver")


@pytest.mark.parametrize("step", [
    lambda: torch.zeros(5), lambda: torch.full((5,), float("nan")), lambda: torch.empty(5), lambda: unlucky(),
])  # fmt: skip
def test_nothing_is_timed_where_ours_is_wrong(
    runner: ModuleType, tmp_path: Path, step: Callable[[], torch.Tensor]
) -> None:
    """Also where it does not write what it returns: new memory is NaN."""
    suite = runner.Suite(tmp_path / "rows.csv", CPU, 60)
    right = case_of(runner)
    suite.measure(replace(right, providers=right.providers | {"ours": lambda: runner.Step(step)}))
    rows = read(tmp_path / "rows.csv")[2:]
    assert {row["provider"] for row in rows} == {"ours", "peer", "other peer"}
    assert not any(row["p50_ms"] for row in rows)
    assert all(row["status"].startswith(("red", "not available: RuntimeError: no such driver")) for row in rows)
    assert suite.num_red == 1


def test_a_result_that_differs_between_two_runs_or_a_broken_promise_is_red(runner: ModuleType, tmp_path: Path) -> None:
    suite = runner.Suite(tmp_path / "rows.csv", CPU, 60)
    right = case_of(runner)
    drift = iter([0.0, 1e-7])
    (exact,) = right.exact()
    moving = {"ours": lambda: runner.Step(lambda: exact.float() + next(drift))}
    suite.measure(replace(right, providers=right.providers | moving))
    suite.measure(replace(right, holds=lambda: False))
    suite.measure(right)
    assert suite.num_red == 2
    statuses = [row["status"] for row in read(tmp_path / "rows.csv")[2:]]
    assert [status.split(":")[0] for status in statuses] == ["red"] * 6 + ["ok"] * 3


def test_a_peer_that_fails_or_never_ends_has_a_row_and_stops_nobody(
    runner: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "MOST_S_EACH", 0.2)
    suite = runner.Suite(tmp_path / "rows.csv", CPU, 60)
    right = case_of(runner)
    suite.measure(replace(right, providers=right.providers | {"peer": unlucky, "slow": lambda: time.sleep(60)}))
    status = {row["provider"]: row["status"] for row in read(tmp_path / "rows.csv")[2:]}
    assert status["ours"] == status["other peer"] == "ok"
    assert status["peer"] == "not available: RuntimeError: no such driver"
    assert status["slow"].startswith("not available: OutOfTime")


def test_a_suite_out_of_time_keeps_its_rows(runner: ModuleType, tmp_path: Path) -> None:
    suite = runner.Suite(tmp_path / "rows.csv", CPU, 0)
    runner.run(suite, runner.sizes_of("tiny"), None)
    assert [row["op"] for row in read(tmp_path / "rows.csv")] == ["copy", "product"]


def test_the_full_suite_has_the_batches_that_were_agreed(runner: ModuleType) -> None:
    batches = runner.sizes_of("all").batches
    assert {name: len(lengths) for name, lengths in batches.items()} == {
        "B=64": 64, "B=8": 8, "B=1": 1, "B=32": 32, "B=128": 128, "B=64 + titin": 65, "titin": 1,
    }  # fmt: skip
    assert max(batches["B=64 + titin"]) == max(batches["titin"]) == 35_213
    assert all(lengths == sorted(lengths, reverse=True) for lengths in batches.values())


BARE = """
import sys
for name in {blocked}:
    sys.modules[name] = None
import kernel_suite
print(kernel_suite.sizes_of("tiny").width)
"""


def test_it_needs_no_more_than_a_bare_machine_has(repository: Path) -> None:
    blocked = ["ray", "deepspeed", "mlflow", "peft", "typer", "pyarrow", "Bio", "pandas", "fastapi", "matplotlib"]
    environment = os.environ | {"PYTHONPATH": f"{repository}/platform:{repository}/kernels:{repository}/benchmarks"}
    command = [sys.executable, "-c", BARE.format(blocked=json.dumps(blocked))]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert finished.stdout == "24\n", finished.stderr[-2000:]


def made_rows(runner: ModuleType, path: Path) -> None:
    """A device that copies 1 TB/s and multiplies 100 TFLOP/s."""
    about = {"ran": "", "status": "ok", "error": ""}
    origin = {"device": "made up", "commit": "none", "date": "2026-01-01"}
    for op, passes, shape, provider, p50, num_bytes, flops in [
        ("copy", "", "x", "torch", 2.0, 2e9, 0), ("product", "", "x", "torch", 10.0, 1e6, 1e12),
        ("bias_gelu", "forward", "B=64 S=9", "ours", 4.0, 2e9, 0),
        ("bias_gelu", "forward", "B=64 S=9", "ours", 2.5, 2e9, 0),  # measured again
        ("bias_gelu", "forward", "B=64 S=9", "torch.compile", 2.0, 2e9, 0),
        ("resampler", "forward + backward", "B=64 S=9 depth=2", "ours", 2.0, 1e6, 1.5e11),
        ("resampler", "forward + backward", "B=64 S=9 depth=2", "published loop", 80.0, 1e6, 1.5e11),
        ("ragged_cross_attention", "forward", "titin S=9", "ours", 1.0, 1e8, 1e9),
        ("ragged_cross_attention", "forward", "titin S=9", "ours, unsplit", 4.0, 1e8, 1e9),
    ]:  # fmt: skip
        floor = max(num_bytes / 1e12, flops / 1e14) * 1e3
        key = {"op": op, "passes": passes, "shape": shape, "dtype": "bfloat16", "provider": provider}
        more = {"bytes": num_bytes, "flops": flops, "floor_ms": floor, "p50_ms": p50}
        runner.append_to(path, key | about | more | origin)


def test_charts_and_targets_say_what_the_rows_say(
    runner: ModuleType, plot: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    made_rows(runner, tmp_path / "rows.csv")
    rows = plot.Rows(tmp_path / "rows.csv")
    assert (rows.bytes_per_s, rows.flops_per_s) == pytest.approx((1e12, 1e14))
    monkeypatch.setattr(sys, "argv", ["plot.py", str(tmp_path / "rows.csv"), "--folder", str(tmp_path)])
    assert plot.main() == 0
    for name in ("kernels_roofline.png", "kernels_ratio.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    said = capsys.readouterr().out.splitlines()
    assert "missed: bias_gelu, forward, B=64: at least 85% of the floor's rate; 0.80 at B=64 S=9" in said
    assert "missed: bias_gelu, forward, B=64: at least 1 times torch.compile; 0.80 at B=64 S=9" in said
    assert (
        "met: resampler, forward + backward, B=64: at least 30 times published loop; 40.00 at B=64 S=9 depth=2" in said
    )
    assert "missed: ragged_cross_attention, forward, titin: at least 5 times ours, unsplit; 4.00 at titin S=9" in said
    assert "not measured: splice, forward, B=64: at least 80% of the floor's rate" in said
    assert len(said) == len(plot.TARGETS)
