"""Time the operations, one CSV row per result, and only those whose tests pass.

    make bench                                   every operation, on the GPU if there is one
    python benchmarks/run.py --only ragged_cross_attention --repeats 50

Rows are appended to ``benchmarks/results/OP.csv``: what was timed, where, with which versions and at which commit.
"""

import argparse
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import torch
from kernel_cases import MEDIAN_RESIDUES, SIGMA_RESIDUES
from reference_way import resample
from rows import ORIGIN, ROOT, append, origin
from torch.nn.utils.rnn import pad_sequence

from protein2text.memory import peak_bytes
from protein2text.models.batches import pack_proteins
from protein2text.models.bridge import Resampler
from protein2text.models.model_config import BridgeConfig
from protein2text.models.published_layout import POSITIONS
from protein2text_kernels.ragged_cross_attention import ragged_cross_attention

COLUMNS = ("op", "shape", "dtype", "provider", "p20_ms", "p50_ms", "p80_ms", "peak_bytes", *ORIGIN)
WARM_UP = 3

Step = Callable[[], None]


@dataclass(frozen=True)
class Case:
    """One operation at one shape: ``make`` builds its inputs and returns a step, forward and backward, to be timed."""

    op: str
    shape: str
    provider: str
    make: Callable[[torch.device], Step]
    area: str = "kernels"

    @property
    def tests(self) -> Path:
        """The tests that must pass before this is timed."""
        return ROOT / "tests" / self.area / f"test_{self.op}.py"


def cross_attention(lengths: list[int], latents: int, heads: int, channels: int) -> Case:
    """Pool packed proteins of the given lengths, in residues, into latents."""

    def make(device: torch.device) -> Step:
        generator = torch.Generator(device).manual_seed(0)
        shapes = [(len(lengths), latents)] * 3 + [(sum(lengths),)] * 2
        inputs = [
            torch.randn(*shape, heads, channels, generator=generator, device=device, requires_grad=True)
            for shape in shapes
        ]
        starts = torch.tensor([0, *lengths], device=device).cumsum(0, dtype=torch.int32)

        def step() -> None:
            pooled = ragged_cross_attention(*inputs, cu_seqlens_B1=starts, lengths=lengths, scale=channels**-0.5)
            torch.autograd.grad(pooled.sum(), inputs)

        return step

    shape = f"B={len(lengths)} S={sum(lengths)} K={latents} H={heads} C={channels}"
    return Case("ragged_cross_attention", shape, "naive", make)


def resampler(lengths: list[int], config: BridgeConfig, width: int, provider: str) -> Case:
    """The whole resampler over states of proteins of the given lengths, each pass with every gradient of a parameter.

    "packed and folded" is the product's. "published loop" pools one protein after the other as the published code does,
    each over its own rows; "published loop, padded batch" over the rows that code has for a batch: as many as the
    longest has, since the encoder pads on the right and its mask is dropped before the resampler.
    """

    def make(device: torch.device) -> Step:
        torch.manual_seed(0)
        module = Resampler(width, config).to(device)
        proteins = pack_proteins(["A" * length for length in lengths]).to(device)
        states_SE = torch.randn(sum(proteins.state_lengths), width, device=device)
        weights = {f"mm_resampler.{name}": parameter for name, parameter in module.named_parameters()}
        if provider != OURS:  # published with 4,096 rows, of which the first alone is read, and with a gradient for all
            weights[POSITIONS] = torch.randn(4096, 1, width, device=device, requires_grad=True)
        each = torch.split(states_SE, list(proteins.state_lengths))
        pooled_one_by_one = pad_sequence(list(each), batch_first=True) if provider == PADDED_LOOP else each
        upstream_BKE = torch.randn(len(lengths), config.num_latents, width, device=device)
        sizes = {"depth": config.depth, "num_heads": config.num_heads}

        def step() -> None:
            if provider == OURS:
                pooled = module(states_SE, proteins)
            else:
                pooled = torch.stack([resample(weights, states_RE, **sizes) for states_RE in pooled_one_by_one])
            torch.autograd.grad(pooled, list(weights.values()), upstream_BKE)

        return step

    shape = f"B={len(lengths)} S={sum(lengths) + len(lengths)} K={config.num_latents} depth={config.depth} E={width}"
    return Case("bridge", shape, provider, make, area="models")


def reviewed_lengths(count: int) -> list[int]:
    """Residues of ``count`` proteins, longest first: the middle quantiles of reviewed entries' lengths.

    Log-normal, with the median and the sigma of every benchmark here.
    """
    middles = [NormalDist().inv_cdf((number + 0.5) / count) for number in range(count)]
    return [round(MEDIAN_RESIDUES * math.exp(SIGMA_RESIDUES * middle)) for middle in reversed(middles)]


OURS, LOOP, PADDED_LOOP = "packed and folded", "published loop", "published loop, padded batch"
PUBLISHED = BridgeConfig(num_latents=128, depth=2, num_heads=8, head_dim=64, feed_forward_multiple=2)
CASES = (
    cross_attention([90 + 7 * number for number in range(16)], latents=16, heads=4, channels=24),
    cross_attention(reviewed_lengths(8), latents=128, heads=8, channels=64),
    *(resampler(reviewed_lengths(8), PUBLISHED, 1280, provider) for provider in (OURS, LOOP, PADDED_LOOP)),
)
"""The tiny preset's shape, and the published one over lengths such as reviewed proteins have."""


def passes(tests: Path) -> bool:
    """Whether the operation's tests are green; a red operation has no speed."""
    return subprocess.run([sys.executable, "-m", "pytest", "-q", str(tests)], cwd=ROOT, check=False).returncode == 0


def measure(cases: Sequence[Case], device: torch.device, repeats: int) -> list[dict[str, object]]:
    """Time cases in turns, so that a machine which slows down does so for all.

    Args:
        cases: what to time.
        device: where.
        repeats: timed steps of each, after a warm-up.

    Returns:
        A row of ``COLUMNS`` each; times in milliseconds of wall clock, the device's queue emptied around each step.
        Peak bytes are the device's on a GPU, else the process's largest resident set, and of all cases together.
    """
    steps = [case.make(device) for case in cases]
    milliseconds: list[list[float]] = [[] for _ in cases]
    for number in range(WARM_UP + repeats):
        for step, taken in zip(steps, milliseconds, strict=True):
            _wait_for(device)
            started = time.perf_counter()
            step()
            _wait_for(device)
            if number >= WARM_UP:
                taken.append((time.perf_counter() - started) * 1e3)
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else peak_bytes()
    rows: list[dict[str, object]] = []
    for case, taken in zip(cases, milliseconds, strict=True):
        deciles = statistics.quantiles(taken, n=10)
        times = [round(value, 3) for value in (deciles[1], statistics.median(taken), deciles[7])]
        values = (case.op, case.shape, "float32", case.provider, *times, peak, *origin(device).values())
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> int:
    """Time the chosen operations; 1 when one of them is red."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sorted({case.op for case in CASES}), help="one operation")
    parser.add_argument("--repeats", type=int, default=20, help="timed steps")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    chosen = [case for case in CASES if arguments.only in (None, case.op)]
    status = 0
    for op in dict.fromkeys(case.op for case in chosen):
        cases = [case for case in chosen if case.op == op]
        if not passes(cases[0].tests):
            sys.stderr.write(f"{op}: its tests fail, so it is not timed: {cases[0].tests}\n")
            status = 1
            continue
        for row in measure(cases, torch.device(arguments.device), arguments.repeats):
            append(op, row)
            sys.stdout.write(f"{op} {row['shape']} {row['provider']}: p50 {row['p50_ms']} ms\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
