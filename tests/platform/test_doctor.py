"""The doctor reports what is installed, and only what the CPU path needs makes it unhealthy."""

import importlib.metadata
from pathlib import Path

import pytest

from protein2text import doctor
from protein2text.doctor import Examination, Finding, examine


def named(examination: Examination) -> dict[str, Finding]:
    return {finding.name: finding for finding in examination.findings}


def test_versions_are_those_installed(tmp_path: Path) -> None:
    findings = named(examine(tmp_path))
    for name in ("ray", "torch", "triton", "deepspeed", "mlflow", "transformers", "peft"):
        assert findings[name].status == "ok"
        assert findings[name].detail.startswith(importlib.metadata.version(name))


def test_it_says_which_kernels_run_and_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    finding = named(examine(tmp_path))["kernels"]
    assert finding.detail == (
        "bias_gelu, qkv_rope, residual_layer_norm, ragged_cross_attention, splice run in plain torch: "
        "tensors on cpu; the kernels need an NVIDIA GPU"
    )


def test_a_missing_package_is_named_with_its_purpose_and_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(doctor.PACKAGES, "no-such-distribution", "nothing")
    examination = examine(tmp_path)
    finding = named(examination)["no-such-distribution"]
    assert not examination.healthy
    assert (finding.status, finding.remedy) == ("missing", "make setup")
    assert "nothing" in finding.detail


def test_no_compiler_is_a_note_since_the_cpu_path_needs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_compiler = examine(tmp_path).healthy
    monkeypatch.setenv("PATH", str(tmp_path))
    examination = examine(tmp_path)
    finding = named(examination)["c compiler"]
    assert (finding.status, finding.remedy) == ("note", "apt install gcc")
    assert examination.healthy == with_compiler


def test_a_named_mmseqs_that_is_no_program_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMSEQS2_PATH", str(tmp_path / "absent"))
    finding = named(examine(tmp_path))["mmseqs2"]
    assert finding.status == "missing"
    assert str(tmp_path / "absent") in finding.detail


def test_disk_is_measured_at_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    finding = named(examine(tmp_path / "not" / "yet" / "there"))["disk"]
    assert finding.status == "ok"
    assert str(tmp_path) in finding.detail


def test_too_little_disk_is_missing_and_says_how_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MIN_DISK_BYTES", 1 << 60)
    examination = examine(tmp_path)
    assert not examination.healthy
    assert f"{1 << 30} GiB are needed" in named(examination)["disk"].detail
