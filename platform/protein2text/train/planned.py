"""What a worker is handed of the plan: a step's examples in micro-batches, and what the whole batch holds."""

from dataclasses import dataclass
from typing import NamedTuple

from protein2text.models.chat import Example
from protein2text.train.plan import StepSize


@dataclass(frozen=True)
class PlannedMicroBatch:
    """What a worker packs and runs at once."""

    record_ids: list[str]
    examples: list[Example]
    proteins: list[list[str]]
    counted: bool


class PlannedStep(NamedTuple):
    """One worker's part of an optimizer step."""

    step: int
    micro_batches: list[PlannedMicroBatch]
    size: StepSize
    """Of the global batch, so that no worker has to ask the others what they hold."""
    num_micro_batches: int
    """Over all workers, fillers apart; known beforehand likewise."""
