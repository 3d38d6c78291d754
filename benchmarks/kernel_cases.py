"""What is timed: an operation at a shape, everybody who can do it, and what is right in float64."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, NamedTuple

import torch
from torch import Tensor

MEDIAN_RESIDUES, SIGMA_RESIDUES, LIMITS_RESIDUES = 294, 0.63, (30, 4000)
"""Of reviewed proteins, nearly log-normal."""
TITIN = 35_213


class Step(NamedTuple):
    """One way to do an operation."""

    run: Callable[[], Any]
    """Does it once; this is timed."""
    results: Callable[[Any], Sequence[Tensor]] = lambda found: found if isinstance(found, Sequence) else [found]
    """What ``run`` returned, in the form of the case's exact results."""


@dataclass(frozen=True)
class Case:
    """One operation at one shape and dtype.

    ``providers`` make their step when asked, so that one which a machine lacks stops no other; ``ours`` is the
    package's own. A step's first run is on the inputs of ``exact``, later ones on others in turn.
    """

    op: str
    passes: str
    shape: str
    dtype: torch.dtype
    num_bytes: int
    """Least that must be read and written."""
    flops: int
    """Useful ones."""
    tolerance: float
    """Of ours against float64, relative, in the Frobenius norm."""
    exact: Callable[[], Sequence[Tensor]] | None
    """In float64; None where that would need more memory than a device has."""
    providers: dict[str, Callable[[], Step]]
    holds: Callable[[], bool] = field(default=lambda: True)
    """A promise of ours beside its numbers, such as the same bits alone and in a batch."""


@dataclass(frozen=True)
class Sizes:
    """Of the models that the operations belong to."""

    batches: dict[str, list[int]]
    """Residues of each protein, longest first, by name."""
    width: int = 1280
    num_layers: int = 32
    num_heads: int = 20
    num_latents: int = 128
    bridge_heads: int = 8
    head_dim: int = 64
    decoder_width: int = 4096
    vocabulary: int = 128_256
    words: int = 100
    """Text tokens of an example."""
    depths: tuple[int, ...] = (2, 6)
    exact_up_to: int = 4_000
    """Residues of a protein whose encoding is checked in float64, which holds all scores of a head at once."""


def drawn_lengths(number: int, *more: int) -> list[int]:
    """So many proteins, and others of given lengths; longest first, as the product packs them."""
    rng, (least, most) = random.Random(number), LIMITS_RESIDUES
    drawn = [rng.lognormvariate(0, SIGMA_RESIDUES) * MEDIAN_RESIDUES for _ in range(number)]
    return sorted([*(min(max(round(length), least), most) for length in drawn), *more], reverse=True)


def sizes_of(suite: str) -> Sizes:
    """``all`` is the published model; ``tiny`` goes the same way in seconds on a CPU."""
    if suite == "tiny":
        return Sizes(
            {"B=3": [9, 5, 1], "B=2 + long": [40, 3, 2]}, width=24, num_layers=2, num_heads=3, num_latents=4,
            bridge_heads=2, head_dim=8, decoder_width=32, vocabulary=50, words=5, depths=(2,), exact_up_to=30,
        )  # fmt: skip
    # the size of a training batch first, so that a suite which is stopped has it
    batches = {f"B={number}": drawn_lengths(number) for number in (64, 8, 1, 32, 128)}
    return Sizes(batches | {"B=64 + titin": drawn_lengths(64, TITIN), "titin": [TITIN]})


def rotating(sets: Sequence[Any], do: Callable[..., Any]) -> Callable[[], Any]:
    """A step on one set of inputs after the other, so that none is warm in a cache."""
    turn = cycle(sets)
    return lambda: do(*next(turn))


@contextmanager
def poisoned() -> Iterator[None]:
    """New memory is NaN until it is written."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)  # which is when torch fills new memory
    torch.utils.deterministic.fill_uninitialized_memory = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def relative_error(found: Sequence[Tensor], exact: Sequence[Tensor]) -> float:
    """Of the worst of the results; NaN if one holds NaN."""
    assert [each.shape for each in found] == [each.shape for each in exact], "results of other shapes"
    errors = [
        float(
            (one.detach().double() - other.detach().double()).norm() / other.detach().double().norm().clamp(min=1e-300)
        )
        for one, other in zip(found, exact, strict=True)
    ]
    return float("nan") if any(error != error for error in errors) else max(errors)
