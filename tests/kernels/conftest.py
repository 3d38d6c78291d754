"""Kernels in Triton's interpreter on the CPU, their outputs laid between guard bands and filled with NaN beforehand."""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

GUARD = 64
TOLERANCES = {torch.float32: 1e-6, torch.float16: 6e-4}
"""Relative error allowed against float64. The interpreter's bfloat16 is not trustworthy and is left to a GPU."""


def relative_error(actual: Tensor, reference: Tensor) -> float:
    """In the Frobenius norm; NaN where anything is NaN, which passes no comparison."""
    assert actual.shape == reference.shape, f"{tuple(actual.shape)} is not {tuple(reference.shape)}"
    actual, reference = actual.detach().double(), reference.detach().double()
    scale = reference.norm()
    return ((actual - reference).norm() / (scale if scale > 0 else 1)).item()


class GuardedMemory:
    """What kernels write to: every new tensor is NaN and lies between bands of NaN that must stay so."""

    def __init__(self) -> None:
        self.buffers: list[tuple[Tensor, int]] = []

    def empty(self, *shape: Any, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        size = torch.Size(shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape)
        buffer = torch.full((2 * GUARD + size.numel(),), float("nan"), dtype=dtype or torch.float32)
        self.buffers.append((buffer, size.numel()))
        return buffer[GUARD : GUARD + size.numel()].view(size)

    def empty_like(self, other: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
        return self.empty(other.shape, dtype=dtype or other.dtype)

    def check(self) -> None:
        for buffer, size in self.buffers:
            assert buffer[:GUARD].isnan().all(), "written before the beginning of an output"
            assert buffer[GUARD + size :].isnan().all(), "written behind the end of an output"


@pytest.fixture(scope="session")
def interpreted() -> Callable[[str], ModuleType]:
    """The Triton form of an operation, run by the interpreter (``TRITON_INTERPRET`` in the suite's conftest)."""
    return lambda operation: importlib.import_module(f"protein2text_kernels.{operation}.triton")


@contextmanager
def guarded_memory() -> Iterator[GuardedMemory]:
    """Give operations such memory, and look at the bands in the end."""
    memory = GuardedMemory()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "empty", memory.empty)
        patch.setattr(torch, "empty_like", memory.empty_like)
        yield memory
    assert memory.buffers, "the operation made no output of its own"
    memory.check()


@pytest.fixture
def guarded() -> Iterator[GuardedMemory]:
    with guarded_memory() as memory:
        yield memory


@pytest.fixture(params=list(TOLERANCES), ids=str)
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    chosen: torch.dtype = request.param
    return chosen


@pytest.fixture
def close(dtype: torch.dtype) -> Callable[[Tensor, Tensor], None]:
    """Hold an output of ``dtype`` to its float64 reference."""

    def check(actual: Tensor, reference: Tensor) -> None:
        assert actual.dtype == dtype
        assert relative_error(actual, reference) <= TOLERANCES[dtype]

    return check


@pytest.fixture
def draw(dtype: torch.dtype) -> Callable[..., Tensor]:
    """Normal numbers of ``dtype``, each call new ones."""
    generator = torch.Generator().manual_seed(7)
    return lambda *shape, scale=1.0: (torch.randn(*shape, generator=generator, dtype=torch.float64) * scale).to(dtype)
