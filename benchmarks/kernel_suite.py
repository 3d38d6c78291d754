"""Every kernel and the two whole modules beside everybody who does the same, each right before it is timed.

    python benchmarks/kernel_suite.py --suite all --output results.csv             one GPU, below 8 minutes
    python benchmarks/kernel_suite.py --suite tiny --device cpu --output tiny.csv  minutes, on anything: proves the way

Needs torch, triton, transformers and pydantic, and the package on the path (``PYTHONPATH=platform:kernels``). First the
device's own ceilings: what it copies and multiplies. Then, case by case: float64 is computed, every provider's error
against it is noted, and where ours exceeds its tolerance, holds NaN (new memory is poisoned), differs between two runs
or breaks a promise of its own, nothing of the case is timed. A row is appended as soon as it is known, so that a
stopped suite leaves what it had; what a machine cannot do has a row that says why. (As ``kernels.py`` this file would
be taken by transformers for Hugging Face's package of that name.)

``p50_ms`` is the GPU's time (triton's ``do_bench``: caches flushed, inputs in turn) or a CPU's wall clock; ``wall_ms``
is the wall clock of many steps one after the other. ``floor_ms`` is the longer of least bytes at the copy's rate and
useful operations at the product's.
"""

import argparse
import math
import signal
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
import triton
from kernel_attention import attention
from kernel_cases import Case, Sizes, Step, poisoned, relative_error, sizes_of
from kernel_modules import encoder, resampler
from kernel_ops import operations
from rows import append_to, origin
from torch import Tensor

from protein2text_kernels.registry import ran

SUITE_S = 450.0
MOST_S_EACH = 60.0
"""Of one provider, its compilation included."""
TIMED_MS = 60.0
PEERS_ERROR = 1.5
"""Ours in half precision may be this many times as wrong as the best peer."""


@dataclass(frozen=True)
class Ceilings:
    """What the device does at most, in this very run."""

    bytes_per_s: float
    flops_per_s: float

    def floor_ms(self, num_bytes: int, flops: int) -> float:
        return max(num_bytes / self.bytes_per_s, flops / self.flops_per_s) * 1e3


class OutOfTime(Exception):
    """A provider took too long."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise `OutOfTime` in what takes longer, and again where somebody catches it and goes on."""

    def stop(*_: object) -> None:
        raise OutOfTime(f"{seconds:.0f} s were over")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001), 5.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


NO_TIMES: dict[str, object] = dict.fromkeys(("p20_ms", "p50_ms", "p80_ms", "wall_ms", "peak_bytes"), "")
"""Columns of what was not timed."""


def timed(run: Callable[[], Any], device: torch.device) -> dict[str, object]:
    """Quantiles of the device's time, the mean wall clock of a series, and a GPU's most memory."""
    if device.type == "cuda":
        from triton.testing import do_bench

        torch.cuda.reset_peak_memory_stats()
        quantiles = do_bench(run, warmup=25, rep=TIMED_MS, quantiles=[0.2, 0.5, 0.8])
    else:
        seconds = sorted(_series(run, device, 1) for _ in range(7))
        cuts = statistics.quantiles(seconds[1:], n=10, method="inclusive")
        quantiles = [1e3 * value for value in (cuts[1], statistics.median(seconds), cuts[7])]
    wall = _series(run, device, min(50, max(3, int(TIMED_MS / quantiles[1])))) * 1e3
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else ""
    values = [*(round(value, 5) for value in (*quantiles, wall)), peak]
    return dict(zip(NO_TIMES, values, strict=True))


def _series(run: Callable[[], Any], device: torch.device, number: int) -> float:
    """Seconds of one step in a series."""
    _wait_for(device)
    started = time.perf_counter()
    for _ in range(number):
        run()
    _wait_for(device)
    return (time.perf_counter() - started) / number


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


class Suite:
    """One run: where rows go, until when, and how fast the device is."""

    def __init__(self, output: Path, device: torch.device, seconds: float) -> None:
        self.output, self.device, self.until = output, device, time.monotonic() + seconds
        self.num_red = 0
        versions = {"triton": triton.__version__, "transformers": transformers.__version__}
        self.origin = versions | origin(device)
        self.ceilings = self._ceilings()

    def _ceilings(self) -> Ceilings:
        gpu = self.device.type == "cuda"
        size, side = (2**30, 8192) if gpu else (2**22, 256)
        source = torch.empty(size, dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)
        left, right = (torch.randn(side, side, device=self.device, dtype=torch.bfloat16) for _ in range(2))
        copied = timed(lambda: target.copy_(source), self.device)
        multiplied = timed(lambda: left @ right, self.device)
        self._write("copy", "", f"{size} bytes", "uint8", "torch", copied, {"bytes": 2 * size, "flops": 0})
        flops = 2 * side**3
        self._write("product", "", f"{side}^3", "bfloat16", "torch", multiplied, {"bytes": 6 * side**2, "flops": flops})
        return Ceilings(2 * size / copied["p50_ms"] * 1e3, flops / multiplied["p50_ms"] * 1e3)  # type: ignore[operator]

    def _write(
        self, op: str, passes: str, shape: str, dtype: str, provider: str, times: dict[str, object],
        more: dict[str, object],
    ) -> None:  # fmt: skip
        columns = {"ran": "", "status": "ok", "error": "", "bytes": "", "flops": "", "floor_ms": ""} | more
        about = {"op": op, "passes": passes, "shape": shape, "dtype": dtype, "provider": provider}
        append_to(self.output, about | columns | times | self.origin)
        told = f"p50 {times['p50_ms']} ms" if times["p50_ms"] else columns["status"]
        sys.stdout.write(f"{op} {passes} {shape} {dtype}, {provider}: {told}\n")
        sys.stdout.flush()

    def measure(self, case: Case) -> None:
        """Check, then time, every provider of a case."""
        exact = self.limited(lambda: list(case.exact()) if case.exact else None)
        if isinstance(exact, str):
            return self._note(case, "float64", exact)
        steps: dict[str, Step] = {}
        errors: dict[str, float | str] = {}
        ran.clear()
        implementation = ""
        for provider, make in case.providers.items():
            ours = provider == "ours"
            found = self.limited(lambda make=make, ours=ours: self._checked(make, exact, twice=ours))
            if isinstance(found, str):
                self._note(case, provider, found)
            else:
                steps[provider], errors[provider] = found
            if ours:
                implementation = " + ".join(sorted({choice.name for choice in ran.values()})) or "libraries"
        problem = self._problem(case, errors)
        self.num_red += bool(problem)
        for provider, step in steps.items():
            times = NO_TIMES if problem else self.limited(lambda step=step: timed(step.run, self.device))
            if isinstance(times, str):
                self._note(case, provider, times)
                continue
            more = {
                "ran": implementation if provider.startswith("ours") else "", "status": problem or "ok",
                "error": errors[provider], "bytes": case.num_bytes, "flops": case.flops,
                "floor_ms": round(self.ceilings.floor_ms(case.num_bytes, case.flops), 5),
            }  # fmt: skip
            self._write(case.op, case.passes, case.shape, _name(case.dtype), provider, times, more)
        return None

    def _checked(
        self, make: Callable[[], Step], exact: Sequence[Tensor] | None, *, twice: bool
    ) -> tuple[Step, float | str]:
        """A step that is ready to be timed, and its error; NaN if it is not the same at every run."""
        with poisoned() if twice else nullcontext():
            step = make()
            found = [each.detach().clone() for each in step.results(step.run())]
            again = make() if twice else None
            same = again is None or all(map(torch.equal, found, again.results(again.run())))
        error: float | str = "" if exact is None else relative_error(found, exact)
        return step, error if same else math.nan

    def _problem(self, case: Case, errors: dict[str, float | str]) -> str:
        """Why nothing of the case may be timed; empty if it may."""
        ours = errors.get("ours")
        if ours is None:
            return "red: ours did not run"
        if ours == "":
            return ""
        assert isinstance(ours, float)
        if not ours <= case.tolerance:
            return f"red: error {ours:.2e}, at most {case.tolerance:.0e}"
        peers = [error for name, error in errors.items() if not name.startswith("ours") and isinstance(error, float)]
        if case.dtype == torch.bfloat16 and peers and ours > PEERS_ERROR * min(peers):
            return f"red: error {ours:.2e}, the best peer's {min(peers):.2e}"
        held = self.limited(case.holds)
        return "" if held is True else f"red: a promise is broken ({held})"

    def _note(self, case: Case, provider: str, why: str) -> None:
        self._write(case.op, case.passes, case.shape, _name(case.dtype), provider, NO_TIMES, {"status": why})

    def limited(self, do: Callable[[], Any]) -> Any:
        """What it returns; in words why it could not, a provider's failure being no reason to stop."""
        try:
            with at_most(min(MOST_S_EACH, self.until - time.monotonic())):
                return do()
        except Exception as error:  # noqa: BLE001  (compilers and drivers raise anything)
            return f"not available: {type(error).__name__}: {' '.join(str(error).split())[:160]}"
        finally:
            if self.device.type == "cuda":
                torch.cuda.empty_cache()


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def groups(sizes: Sizes, device: torch.device) -> Iterator[Callable[[], Iterator[Case]]]:
    """Makers of all cases, what matters most first; a group's inputs live only while it is timed."""
    gpu = device.type == "cuda"
    main = torch.bfloat16 if gpu else torch.float32
    others = (torch.float32, torch.float16) if gpu else ()
    for number, name in enumerate(sizes.batches):
        yield lambda name=name: attention(sizes, name, main, device)
        yield lambda name=name: operations(sizes, name, main, device)
        yield lambda name=name: iter([encoder(sizes, name, main, device)])
        for depth in sizes.depths:
            yield lambda name=name, depth=depth: iter([resampler(sizes, name, depth, main, device)])
        if number == 1:
            for dtype in others:
                yield lambda name=name, dtype=dtype: attention(sizes, name, dtype, device)
                yield lambda name=name, dtype=dtype: operations(sizes, name, dtype, device)


def run(suite: Suite, sizes: Sizes, only: str | None) -> None:
    """Measure all cases, or one operation's."""
    for make in groups(sizes, suite.device):
        cases = suite.limited(lambda make=make: list(make()))
        if isinstance(cases, str):
            sys.stderr.write(f"a group of cases was left out: {cases}\n")
            continue
        for case in cases:
            if time.monotonic() > suite.until:
                sys.stderr.write(f"stopped: the time is over; the rows so far are in {suite.output}\n")
                return
            if only in (None, case.op):
                suite.measure(case)


def main() -> int:
    """Run a suite; 1 if an operation of ours was red."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", choices=("all", "tiny"), default="all")
    parser.add_argument("--output", type=Path, required=True, help="CSV file that rows are appended to")
    parser.add_argument("--only", help="one operation, as the rows name it")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seconds", type=float, default=SUITE_S, help="after which no more is begun")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)  # of deterministic mode, whose memory filling is wanted
    suite = Suite(arguments.output, torch.device(arguments.device), arguments.seconds)
    run(suite, sizes_of(arguments.suite), arguments.only)
    return int(suite.num_red > 0)


if __name__ == "__main__":
    sys.exit(main())
