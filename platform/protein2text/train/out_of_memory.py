"""Turns "out of memory" into what it was about: the worker, the micro-batch, the estimate, and what to turn."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from protein2text.errors import DeviceOutOfMemory, MissingWeights
from protein2text.models.chat import IGNORED
from protein2text.train.memory_estimate import Load, estimate
from protein2text.train.planned import PlannedMicroBatch, PlannedStep
from protein2text.train.task import StageTask

NUM_LONGEST = 3
CPU_OUT_OF_MEMORY = "can't allocate memory"
"""Part of the text of the bare ``RuntimeError`` that torch raises where host memory ends."""


@contextmanager
def explained(task: StageTask, planned: PlannedStep | None = None) -> Iterator[None]:
    """Around what may run out of memory.

    Args:
        task: the stage.
        planned: this worker's part of the step at work, None while the model is set up.

    Raises:
        DeviceOutOfMemory: in place of torch's error.
    """
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        if not isinstance(error, torch.OutOfMemoryError) and CPU_OUT_OF_MEMORY not in str(error):
            raise
        raise _explanation(task, planned, str(error).partition("\n")[0]) from error


def _explanation(task: StageTask, planned: PlannedStep | None, problem: str) -> DeviceOutOfMemory:
    during, load = "while the model was set up", None
    if planned is not None:
        load, longest = max(
            (_load(task, micro_batch) for micro_batch in planned.micro_batches),
            key=lambda found: found[0].tokens + found[0].residues,
        )
        during = (
            f"in step {planned.step + 1}, whose largest micro-batch there holds {load.records} records, {load.tokens} "
            f"decoder positions and {load.residues} residues (longest: {longest})"
        )
    device = "GPU" if task.config.scaling.gpus_per_worker else "worker"
    try:
        expected = estimate(task.config, task.stage, load)
    except MissingWeights as error:  # an estimate that fails must not hide what happened
        return DeviceOutOfMemory(dist.get_rank(), task.stage, during, problem, f"unknown ({error})", "see the run file")
    sentence = expected.sentence(None, device)
    return DeviceOutOfMemory(dist.get_rank(), task.stage, during, problem, sentence, expected.advice)


def _load(task: StageTask, micro_batch: PlannedMicroBatch) -> tuple[Load, str]:
    """What a micro-batch holds, and its longest records by name."""
    bridge = task.config.model.bridge
    sizes = sorted(
        (
            (bridge.num_positions(len(example.ids), proteins), sum(map(len, proteins)), record_id)
            for record_id, example, proteins in zip(
                micro_batch.record_ids, micro_batch.examples, micro_batch.proteins, strict=True
            )
        ),
        key=lambda size: -size[0] - size[1],
    )
    supervised = sum(label != IGNORED for example in micro_batch.examples for label in example.labels)
    named = ", ".join(
        f"{record_id} with {num_tokens} positions and {num_residues} residues"
        for num_tokens, num_residues, record_id in sizes[:NUM_LONGEST]
    )
    tokens, residues = sum(size[0] for size in sizes), sum(size[1] for size in sizes)
    return Load(len(sizes), tokens, residues, supervised), named
