"""The losses of held-out records while a stage trains, divided over its workers."""

import time
from collections.abc import Iterable
from dataclasses import asdict, fields
from functools import cached_property
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from protein2text.models.batches import Batch, pack
from protein2text.models.chat import IGNORED, Example
from protein2text.models.encoders import reading_of
from protein2text.train.deepspeed_engine import DeepSpeedEngine
from protein2text.train.events import Event, EventWriter, read_events
from protein2text.train.plan import Plan, RecordSize
from protein2text.train.separation import Validation, standard_error, warning
from protein2text.train.task import StageTask

CONTROLS = ("true", "shuffled", "swapped")


class Validator:
    """One worker's share of a stage's validations, and the results of those so far.

    An item is a record under one control, and all items are the one global batch of a plan: so each worker has its
    share within the same bounds as in training, and equally many forward passes, which ZeRO-3 needs.
    """

    def __init__(self, task: StageTask, first_step: int) -> None:
        """Remember what earlier attempts at the stage found up to ``first_step``; the process group exists."""
        self._task = task
        self._stage = task.config.stage(task.stage)
        self._interval = self._stage.validation.interval(len(task.validation), self._stage.global_batch)
        self._results = remembered(read_events(task.events), first_step)

    @property
    def newest_loss(self) -> float | None:
        """With the true proteins; None before the first validation."""
        return self._results[-1].loss if self._results else None

    def is_due(self, step: int) -> bool:
        """Whether to validate after so many steps."""
        return bool(self._task.validation) and (step % self._interval == 0 or step == self._task.num_steps)

    def validate(self, engine: DeepSpeedEngine, step: int, events: EventWriter | None) -> None:
        """Read all held-out records and tell the result, with a warning where it calls for one.

        A collective. It takes no gradient and draws nothing, so training goes on to the bit as it would without it.
        """
        began = time.monotonic()
        self._results.append(self._measure(engine, step))
        if events is None:
            return
        numbers = {name: value for name, value in asdict(self._results[-1]).items() if name != "step"}
        place = {"stage": self._task.stage, "step": step, "num_steps": self._task.num_steps}
        events.write({**place, "validation": numbers, "seconds": time.monotonic() - began})
        if message := warning(self._results, self._task.num_steps):
            events.write({"stage": self._task.stage, "message": message, "level": "warning"})

    def _measure(self, engine: DeepSpeedEngine, step: int) -> Validation:
        records = self._task.validation
        num_tokens = [sum(label != IGNORED for label in record.labels) for record in records]
        proteins = [record.protein for record in records]
        true, *controls = self._losses(engine)
        error_shuffled, error_swapped = (
            standard_error([other - own for other, own in zip(control, true, strict=True)], num_tokens, proteins)
            for control in controls
        )
        loss, loss_shuffled, loss_swapped = (sum(losses) / sum(num_tokens) for losses in (true, *controls))
        return Validation(
            step, loss, loss_shuffled, loss_swapped, error_shuffled, error_swapped, len(records), len(set(proteins))
        )

    def _losses(self, engine: DeepSpeedEngine) -> list[list[float]]:
        """For each control the loss of each record, summed over its tokens, nats; the same on all workers."""
        bf16 = self._stage.precision == "bf16"
        sums = torch.zeros(len(CONTROLS) * len(self._task.validation), dtype=torch.float64, device=engine.device)
        for batch, item_of_M, counted in self._share:
            with torch.autocast(engine.device.type, torch.bfloat16, enabled=bf16):
                losses_M = engine.token_losses(batch.to(engine.device))
            sums.index_add_(0, item_of_M.to(engine.device), losses_M.double() * counted)
        dist.all_reduce(sums)
        losses: list[list[float]] = sums.reshape(len(CONTROLS), -1).tolist()
        return losses

    @cached_property
    def _share(self) -> list[tuple[Batch, Tensor, bool]]:
        """This worker's batches, the item of each supervised token, and whether they count."""
        bridge, reading = self._task.config.model.bridge, reading_of(self._task.config.model)
        items = [(Example(record.ids, record.labels), record.sequences[control])
                 for control in CONTROLS for record in self._task.validation]  # fmt: skip
        sizes = tuple(
            RecordSize(
                f"{number:09}",
                bridge.num_positions(len(example.ids), sequences),
                sum(map(len, sequences)),
                sum(label != IGNORED for label in example.labels),
            )
            for number, (example, sequences) in enumerate(items)
        )
        plan = Plan(
            sizes, seed=0, epochs=1, global_batch=len(items), micro_batch_tokens=self._stage.micro_batch_tokens,
            micro_batch_residues=self._stage.micro_batch_residues,
        )  # fmt: skip
        share = []
        for micro_batch in plan.step(0, dist.get_world_size())[dist.get_rank()]:
            examples, proteins = zip(*(items[item] for item in micro_batch.records), strict=True)
            supervised = [item for item in micro_batch.records for label in items[item][0].labels if label != IGNORED]
            share.append((pack(examples, proteins, bridge, reading), torch.tensor(supervised), micro_batch.counted))
        return share


def remembered(events: Iterable[Event], last_step: int) -> list[Validation]:
    """Results that a stage's events tell of, up to a step and in order; the later line counts where two tell of one.

    Those that lack a number are passed over: another version wrote them, or somebody else.
    """
    whole = {event["step"]: event["validation"] for event in events if _is_whole(event.get("validation"))}
    return [Validation(step, **whole[step]) for step in sorted(whole) if step <= last_step]


def _is_whole(numbers: Any) -> bool:
    """Whether it has all numbers of a `Validation` and no others; only the standard errors may be unknown."""
    names = {field.name for field in fields(Validation)} - {"step"}
    return (
        isinstance(numbers, dict)
        and numbers.keys() == names
        and all(value is not None or name.startswith("error_") for name, value in numbers.items())
    )
