"""What a step cost and how much of it was of use: counted on every worker, gathered in one collective.

Nothing here reads from the device: rows and operations are known from the batches, times from the wall clock between
steps. Whoever reads the loss, which waits for the device, reads the gathered numbers with it.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from protein2text import memory
from protein2text.models.batches import Batch, ProteinBatch
from protein2text.models.device_peaks import dense_bf16_tflops
from protein2text.models.flops import UsefulFlops
from protein2text.models.protein_to_text import ProteinToText
from protein2text.train.stage_config import ScalingConfig


class MicroBatch(Protocol):
    """What is asked of a planned micro-batch."""

    @property
    def counted(self) -> bool:
        """False on a filler."""


@dataclass
class WorkerStep:
    """One worker's part of a step; every field a number, so that it travels as one tensor."""

    rows: float = 0
    """Decoder positions and residues of counted micro-batches."""
    filler_rows: float = 0
    """Those of fillers, computed for nothing."""
    padded_rows: float = 0
    """What ``rows`` would be if each micro-batch were padded to its longest record and its longest protein."""
    flops: float = 0
    """Useful operations, see `UsefulFlops`."""
    waited_s: float = 0
    """From the end of the step before until this one's rows were there."""
    peak_memory_bytes: float = 0
    """Of the device, most since the worker began; of the process where the device is the CPU."""
    peak_flops: float = 0
    """Operations per second that the device can do at most; 0 where that is not known."""


class StepMeter:
    """Watches one worker's model and plan; made when the stage is set, before anything wraps the model."""

    def __init__(self, model: ProteinToText, scaling: ScalingConfig, device: torch.device) -> None:
        self._flops = UsefulFlops(model)
        self._device, self._peak_flops = device, peak_flops(scaling, device)
        self._step, self._counting = WorkerStep(), False
        self._flags: Iterator[bool] = iter(())
        model.register_forward_pre_hook(self._takes)
        model.encoder.register_forward_pre_hook(self._encodes)

    def watch(self, steps: Iterable[Any]) -> Iterator[Any]:
        """Planned steps, the second item of each being its micro-batches, as they come; begins to count at each."""
        waiting = iter(steps)
        while True:
            began = time.monotonic()
            planned = next(waiting, None)
            if planned is None:
                return
            self._step = WorkerStep(waited_s=time.monotonic() - began, peak_flops=self._peak_flops)
            micro_batches: Iterable[MicroBatch] = planned[1]
            self._flags = iter([micro_batch.counted for micro_batch in micro_batches])
            yield planned

    def gather(self) -> Tensor:
        """The step of each worker, ``(workers, numbers)``, on the device until it is read. A collective."""
        self._step.peak_memory_bytes = peak_memory_bytes(self._device)
        own = torch.tensor(list(asdict(self._step).values()), dtype=torch.float64, device=self._device)
        gathered = own.new_empty(dist.get_world_size() * len(own))
        dist.all_gather_into_tensor(gathered, own)
        return gathered.reshape(-1, len(own))

    def _takes(self, model: nn.Module, arguments: tuple[Any, ...]) -> None:
        """The model begins a micro-batch; what it reads beyond the step's own, as in a validation, is not counted."""
        counted = next(self._flags, None)
        self._counting = bool(counted)
        if counted is None:
            return
        batch: Batch = arguments[0]
        rows = batch.num_tokens + batch.num_residues
        if not counted:
            self._step.filler_rows += rows
            return
        self._step.rows += rows
        self._step.padded_rows += padded_rows(batch)
        self._step.flops += self._flops.trained(batch)

    def _encodes(self, encoder: nn.Module, arguments: tuple[Any, ...]) -> None:
        """The encoder reads proteins; it is not asked for those whose states were kept."""
        proteins: ProteinBatch = arguments[0]
        if self._counting:
            self._step.flops += self._flops.encoder(proteins)


def step_numbers(gathered: Tensor, seconds: float) -> dict[str, float | None]:
    """What an event says of a step, over all workers, from `StepMeter.gather`; waits for the device.

    Args:
        gathered: ``(workers, numbers)``.
        seconds: wall time of the step.

    Returns:
        ``flops``, useful ones; ``mfu``, their share of what the devices could have done in that time, None where a
        device's peak is not known; ``data_wait_s`` of the worker that waited longest; ``padding_ratio``, the share of
        the rows computed that were fillers'; ``padding_avoided``, the share of a padded batch's rows that would have
        been padding; ``peak_memory_bytes`` of the worker that used most.
    """
    names = [field.name for field in fields(WorkerStep)]
    workers = [WorkerStep(**dict(zip(names, row, strict=True))) for row in gathered.tolist()]
    rows, filler_rows, padded, flops = (
        sum(getattr(worker, name) for worker in workers) for name in ("rows", "filler_rows", "padded_rows", "flops")
    )
    peaks = [worker.peak_flops for worker in workers]
    return {
        "flops": flops,
        "mfu": flops / (seconds * sum(peaks)) if all(peaks) and seconds else None,
        "data_wait_s": max(worker.waited_s for worker in workers),
        "padding_ratio": filler_rows / (rows + filler_rows),
        "padding_avoided": 1 - rows / padded,
        "peak_memory_bytes": max(worker.peak_memory_bytes for worker in workers),
    }


def padded_rows(batch: Batch) -> int:
    """Rows of the batch as a rectangle of records and one of proteins, each as wide as its longest."""
    residues = [length - 2 for length in batch.proteins.lengths]
    return len(batch.text.lengths) * max(batch.text.lengths) + len(residues) * max(residues)


def peak_flops(scaling: ScalingConfig, device: torch.device) -> float:
    """Dense bfloat16 operations per second of the worker's part of its device; 0 where nobody knows them."""
    tflops = scaling.peak_tflops
    if tflops is None and device.type == "cuda":
        tflops = dense_bf16_tflops(torch.cuda.get_device_name(device))
    return (tflops or 0.0) * 1e12 * min(1.0, scaling.gpus_per_worker or 1.0)


def peak_memory_bytes(device: torch.device) -> int:
    """Most that this process has held on the device; of the machine's memory where that is the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return memory.peak_bytes()
