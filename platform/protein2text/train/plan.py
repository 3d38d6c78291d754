"""Which records form optimizer step k, on which worker, in which micro-batch: a pure function, planned before training.

    epoch orders, end to end:  |---- epoch 0 ----|---- epoch 1 ----|-- ...
    steps of global_batch:     |--0--|--1--|--2--|--3--|--4--|--5--| dropped
    one step, over workers:    worker 0: [long, ...] [...]      micro-batches under the token and residue bounds
                               worker 1: [long, ...] (filler)   as many everywhere, so that every collective is joined

The records of a step depend on the seed, the epochs and the global batch, never on the number of workers, which is
known only when they have started and may change each time that they start again.
"""

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from protein2text.errors import ConfigError


@dataclass(frozen=True)
class RecordSize:
    """What the plan knows of a record."""

    record_id: str
    num_tokens: int
    """Decoder positions, the proteins' rows included."""
    num_residues: int
    num_supervised: int
    """Tokens that the loss is taken over."""
    content: str = ""
    """Sum of what is trained on; the order of work does not depend on it."""

    @property
    def cost(self) -> int:
        return self.num_tokens + self.num_residues


class StepSize(NamedTuple):
    """What the global batch of a step holds over all workers, fillers apart; known before training."""

    num_supervised: int
    num_tokens: int
    """Decoder positions, the proteins' rows included."""
    num_residues: int


@dataclass(frozen=True)
class MicroBatch:
    """Records that one worker holds at once, as indices into ``Plan.records``, longest first."""

    records: tuple[int, ...]
    counted: bool = True
    """False on a filler: a worker out of work takes a short record at weight zero, to join the others' collectives."""


@dataclass
class _Room:
    """What a micro-batch under construction can still take."""

    tokens: int
    residues: int
    records: list[int] = field(default_factory=list)


def num_optimizer_steps(num_records: int, epochs: int, global_batch: int) -> int:
    """``floor(records x epochs / global batch)``: batches run across epochs, the last incomplete one is dropped."""
    return num_records * epochs // global_batch


@dataclass(frozen=True)
class Plan:
    """The whole stage's order of work.

    Attributes:
        records: every record once, sorted by id, so that the order in which files were read does not matter.
    """

    records: tuple[RecordSize, ...]
    seed: int
    epochs: int
    global_batch: int
    micro_batch_tokens: int
    micro_batch_residues: int
    max_steps: int | None = None

    def __post_init__(self) -> None:
        ids = [record.record_id for record in self.records]
        assert all(first < second for first, second in pairwise(ids)), "records sorted, ids unique"
        if not self.num_full_steps:
            raise ConfigError(
                "training plan",
                "global_batch",
                f"{len(self.records)} records x {self.epochs} epochs do not fill one batch of {self.global_batch}; "
                f"lower global_batch or add records",
            )
        for key, limit in (("num_tokens", self.micro_batch_tokens), ("num_residues", self.micro_batch_residues)):
            largest = max(self.records, key=lambda record: int(getattr(record, key)))
            if getattr(largest, key) > limit:
                bound = key.replace("num_", "micro_batch_")
                message = f"{largest.record_id} has {getattr(largest, key)}; raise {bound} above {limit}"
                raise ConfigError("training plan", bound, message)

    @property
    def num_full_steps(self) -> int:
        return num_optimizer_steps(len(self.records), self.epochs, self.global_batch)

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the stage."""
        return self.num_full_steps if self.max_steps is None else min(self.max_steps, self.num_full_steps)

    @cached_property
    def dropped(self) -> tuple[str, ...]:
        """Ids in the last incomplete batch, which is not trained on."""
        left_over = range(self.num_full_steps * self.global_batch, len(self.records) * self.epochs)
        return tuple(self.records[self._record_at(position)].record_id for position in left_over)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of records, sizes and contents: plans of equal settings and digest do the same work on the same."""
        text = "\n".join(
            f"{record.record_id}\t{record.num_tokens}\t{record.num_residues}\t{record.content}"
            for record in self.records
        )
        return hashlib.sha256(text.encode()).hexdigest()

    def step_records(self, step: int) -> list[int]:
        """Indices of the ``global_batch`` records of one step, in shuffled order."""
        if not 0 <= step < self.num_steps:
            raise IndexError(f"step {step} of a plan of {self.num_steps} steps")
        return [self._record_at(at) for at in range(step * self.global_batch, (step + 1) * self.global_batch)]

    def step(self, step: int, num_workers: int) -> list[list[MicroBatch]]:
        """One step's micro-batches for each of so many workers, equally many on all."""
        drawn = self.step_records(step)
        longest_first = sorted(drawn, key=lambda index: (-self.records[index].cost, index))
        filler = MicroBatch((longest_first[-1],), counted=False)
        workers = [self._fill(share) for share in self._deal(longest_first, num_workers)]
        most = max(len(micro_batches) for micro_batches in workers)
        return [micro_batches + [filler] * (most - len(micro_batches)) for micro_batches in workers]

    def step_size(self, step: int) -> StepSize:
        """Sums over the step's records, the same for any number of workers."""
        records = [self.records[index] for index in self.step_records(step)]
        return StepSize(*(sum(getattr(record, name) for record in records) for name in StepSize._fields))

    def worker(
        self, worker: int, num_workers: int, *, first_step: int = 0
    ) -> Iterator[tuple[int, list[MicroBatch], int]]:
        """For one worker of so many each step, its micro-batches, and how many of all workers' are no fillers."""
        for step in range(first_step, self.num_steps):
            workers = self.step(step, num_workers)
            yield step, workers[worker], sum(batch.counted for share in workers for batch in share)

    def _record_at(self, position: int) -> int:
        epoch, offset = divmod(position, len(self.records))
        if epoch not in self._epoch_orders:
            self._epoch_orders[epoch] = epoch_order([record.record_id for record in self.records], self.seed, epoch)
        return self._epoch_orders[epoch][offset]

    @cached_property
    def _epoch_orders(self) -> dict[int, list[int]]:
        return {}

    def _deal(self, longest_first: Sequence[int], num_workers: int) -> list[list[int]]:
        """Largest first, each to the worker with the least work so far: shares differ by at most one record's cost."""
        load = [(0, worker) for worker in range(num_workers)]
        shares: list[list[int]] = [[] for _ in range(num_workers)]
        for index in longest_first:
            cost, worker = load[0]
            shares[worker].append(index)
            heapq.heapreplace(load, (cost + self.records[index].cost, worker))
        return shares

    def _fill(self, longest_first: Sequence[int]) -> list[MicroBatch]:
        """First fit: each record into the first micro-batch with room for its tokens and residues."""
        opened: list[_Room] = []
        for index in longest_first:
            record = self.records[index]
            fitting = (
                room for room in opened if room.tokens >= record.num_tokens and room.residues >= record.num_residues
            )
            room = next(fitting, None)
            if room is None:
                room = _Room(self.micro_batch_tokens, self.micro_batch_residues)
                opened.append(room)
            room.records.append(index)
            room.tokens -= record.num_tokens
            room.residues -= record.num_residues
        return [MicroBatch(tuple(room.records)) for room in opened]


def epoch_order(record_ids: Sequence[str], seed: int, epoch: int) -> list[int]:
    """A shuffle per epoch: by the hash of seed, epoch and id, the same on every machine and library version."""

    def rank(index: int) -> bytes:
        return hashlib.blake2b(f"{seed}:{epoch}:{record_ids[index]}".encode(), digest_size=16).digest()

    return sorted(range(len(record_ids)), key=rank)
