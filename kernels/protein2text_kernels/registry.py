"""Which implementation of an operation runs, and why: Triton on a GPU that it supports, plain torch everywhere else.

Every public function asks here, so `protein2text doctor` and a benchmark's rows can say what ran.
"""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

Implementation = Literal["triton", "naive"]

VARIABLE = "PROTEIN2TEXT_KERNELS"
"""Environment variable: ``naive`` keeps plain torch on every device."""
MIN_CAPABILITY = (8, 0)
"""Oldest compute capability that the kernels are written for: bfloat16 products and asynchronous copies."""
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Choice:
    """What runs, and the reason in words."""

    name: Implementation
    reason: str


ran: dict[str, Choice] = {}
"""The latest choice by operation."""
_forced: list[Choice] = []


def choose(operation: str, tensor: Tensor, unable: str | None = None) -> Implementation:
    """The implementation that is to run on a tensor, noted in `ran`.

    Args:
        unable: why the operation's kernel cannot take these operands, if it cannot.
    """
    if unable is not None:
        choice = Choice("naive", unable)
    else:
        choice = _forced[-1] if _forced else choice_for(tensor.device, tensor.dtype)
    ran[operation] = choice
    return choice.name


@lru_cache
def choice_for(device: torch.device, dtype: torch.dtype) -> Choice:
    """What runs on a device, unless `forced` says otherwise."""
    if os.environ.get(VARIABLE) == "naive":
        return Choice("naive", f"{VARIABLE}=naive")
    if device.type != "cuda":
        return Choice("naive", f"tensors on {device.type}; the kernels need an NVIDIA GPU")
    if dtype not in DTYPES:
        return Choice("naive", f"{dtype}; the kernels compute float32, float16 and bfloat16")
    if importlib.util.find_spec("triton") is None:
        return Choice("naive", "triton is not installed: pip install triton")
    capability = torch.cuda.get_device_capability(device)
    if capability < MIN_CAPABILITY:
        return Choice("naive", f"compute capability {capability[0]}.{capability[1]}; the kernels need 8.0")
    return Choice("triton", f"compute capability {capability[0]}.{capability[1]}")


@contextmanager
def forced(name: Implementation) -> Iterator[None]:
    """Run one implementation whatever the device, for tests and benchmarks."""
    _forced.append(Choice(name, "forced"))
    try:
        yield
    finally:
        _forced.pop()
