"""One optimizer step of either stage at any preset, beside the same step as LLaVA's code does it.

    python benchmarks/train_step.py --preset tiny --records 32              on the CPU, both stages
    python benchmarks/train_step.py --preset protein2text-8b --scale 0.1    smaller by that, on anything
    python benchmarks/train_step.py --suite                                 protein2text-8b on one GPU, 8 minutes

Random weights of the true shapes; the product's own plan, packing, model and loss; proteins of log-normal lengths and
texts of the lengths that ``step_world`` states. Needs torch, transformers, peft, pydantic and safetensors: no Ray, no
DeepSpeed. The optimizer is AdamW on one device. Before a stage is timed both ways compute the loss of the batch and
must agree; if they do not, it is not timed. Instruction tuning is timed again with the residue states in a folder. A
row goes to ``results/train_step.csv`` as soon as it is measured, so that a stopped suite leaves what it had. At its end
a suite says which targets the file's rows meet (`step_targets.py`).

Times are of the wall clock; the CPU's seconds beside them are what counts on a machine that others use. MFU counts
useful operations (`UsefulFlops`) over the device's dense bfloat16 peak.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import peft
import step_targets
import torch
import transformers
from llava_way import DECODER_ATTENTION, LlavaWay
from rows import append, origin
from step_world import World, run_of, world_of
from torch import Tensor

from protein2text.models.attention import PACKED
from protein2text.models.batches import Batch, pack
from protein2text.models.device_peaks import dense_bf16_tflops
from protein2text.models.feature_cache import open_cache
from protein2text.models.flops import UsefulFlops
from protein2text.models.fused_loss import use_liger
from protein2text.models.protein_to_text import ProteinToText
from protein2text.train.stage_config import Stage
from protein2text.train.step import accumulate

PLAIN_RECORDS: dict[Stage, int] = {"alignment": 32, "instruction": 16}
"""Records of a plain micro-batch: LLaVA-1.5's per-device batch sizes."""
TOLERANCE = {"fp32": 1e-4, "bf16": 2e-2}
"""Relative difference of the two losses."""
MOST_S_EACH, SUITE_S = 75.0, 450.0
LEAST_REPEATS = 3


class OneDevice:
    """The engine of one process: torch's AdamW on what trains."""

    def __init__(self, model: ProteinToText) -> None:
        self.model, self.device = model, model.device
        self.parameters = list(model.trainable().values())
        self._optimizer = torch.optim.AdamW(self.parameters, lr=0.0, fused=True)

    def forward(self, batch: Batch) -> Tensor:
        """See `step.Engine`."""
        loss: Tensor = self.model(batch)
        return loss

    def backward(self, loss_sum: Tensor, *, weight: float, last: bool) -> None:
        """See `step.Engine`."""
        (loss_sum * weight).backward()

    def step(self) -> None:
        """Clip and update; the rate is zero, so that every step is the same."""
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)


class Ways:
    """The step of one stage, done either way; both return the loss in nats per supervised token, on the device."""

    def __init__(self, world: World, stage: Stage, *, bf16: bool) -> None:
        self.world, self.bf16 = world, bf16
        self.fused = use_liger(
            "auto", device_type=world.model.device.type, zero_stage=0,
            model_type=world.model.decoder.language_model.config.model_type,
        )  # fmt: skip
        self.engine = OneDevice(world.model)
        self.num_records = PLAIN_RECORDS[stage]
        self.plain_way = LlavaWay(world.model)

    def product(self) -> Tensor:
        """As training does it."""
        self._attend(PACKED)
        model, planned = self.world.model, self.world.planned
        model.fused_loss = self.fused
        loss_sum = accumulate(self.engine, planned, model.config.bridge, model.reading, bf16=self.bf16)
        self.engine.step()
        return loss_sum / planned.size.num_supervised

    def plain(self) -> Tensor:
        """As LLaVA's code does it, in the order in which the records were drawn."""
        self._attend(DECODER_ATTENTION)
        world, total = self.world, torch.zeros((), device=self.engine.device)
        for begin in range(0, len(world.examples), self.num_records):
            part = slice(begin, begin + self.num_records)
            with torch.autocast(self.engine.device.type, torch.bfloat16, enabled=self.bf16):
                loss_sum = self.plain_way.loss_sum(world.examples[part], world.sequences[part])
            (loss_sum / world.planned.size.num_supervised).backward()
            total += loss_sum.detach()
        self.engine.step()
        return total / world.planned.size.num_supervised

    def _attend(self, how: str) -> None:
        language_model = self.world.model.decoder.language_model
        if language_model.config._attn_implementation != how:
            language_model.set_attn_implementation(how)


def flops_of(world: World) -> tuple[int, int]:
    """Useful operations of the step: with the encoder, and without."""
    counter, config = UsefulFlops(world.model), world.model.config
    batches = [pack(item.examples, item.proteins, config.bridge) for item in world.planned.micro_batches]
    trained = sum(counter.trained(batch) for batch in batches)
    return trained + sum(counter.encoder(batch.proteins) for batch in batches), trained


class Seconds(NamedTuple):
    """What one step took."""

    wall: float
    cpu: float


def timed(step: Callable[[], Tensor], device: torch.device, repeats: int, most_s: float) -> list[Seconds]:
    """Each step after one to warm up; at least `LEAST_REPEATS`, then as many as the time allows."""
    taken: list[Seconds] = []
    step()
    while len(taken) < repeats and (len(taken) < LEAST_REPEATS or sum(item.wall for item in taken) < most_s):
        _wait_for(device)
        began = Seconds(time.perf_counter(), time.process_time())
        step()
        _wait_for(device)
        taken.append(Seconds(time.perf_counter() - began.wall, time.process_time() - began.cpu))
    return taken


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def measure(
    preset: str, stage: Stage, scale: float, records: int | None, device: torch.device, repeats: int, until: float
) -> bool:
    """Rows of one stage; False if the two ways disagree."""
    run = run_of(preset)
    world = world_of(preset, stage, scale, records or run.stage(stage).global_batch, device)
    precision = run.stage(stage).precision
    ways = Ways(world, stage, bf16=precision == "bf16")
    ours, plain = float(ways.product()), float(ways.plain())
    if not abs(ours - plain) <= TOLERANCE[precision] * abs(plain):
        sys.stderr.write(f"{stage}: the product's loss is {ours}, the plain step's {plain}; nothing is timed\n")
        return False
    whole, trained = flops_of(world)
    size, model = world.planned.size, world.model
    shape = f"{len(world.examples)} records, {size.num_tokens} tokens, {size.num_residues} residues"
    about = {"op": "train_step", "stage": stage, "preset": preset, "scale": scale, "shape": shape, "dtype": precision}

    def row(provider: str, step: Callable[[], Tensor], loss: float, flops: int) -> None:
        if time.monotonic() > until:
            sys.stderr.write(f"{stage}, {provider}: left out, the time is over\n")
            return
        try:
            values = timing(step, world, flops, device, repeats, loss)
            append("train_step", about | {"provider": provider} | values)
            shown = ("p50_s", "p50_cpu_s", "samples_per_s", "tokens_per_s", "mfu", "peak_bytes")
            told = ", ".join(f"{name} {values[name] or 'not known'}" for name in shown)
            sys.stdout.write(f"{stage}, {provider}: {told}\n")
        except torch.OutOfMemoryError as error:
            sys.stderr.write(f"{stage}, {provider}: out of memory, no row: {str(error).splitlines()[0]}\n")

    row("product", ways.product, ours, whole)
    row("plain LLaVA", ways.plain, plain, whole)
    if stage == "instruction":
        with tempfile.TemporaryDirectory() as name:
            cache = open_cache(model.encoder, model.reading, precision, Path(name), 2**40)
            model.encoder = cache
            cached = float(ways.product())
            cache.flush()
            cache.num_encoded = 0
            if abs(cached - ours) > TOLERANCE[precision] * abs(ours):
                sys.stderr.write(f"{stage}: the loss with cached features is {cached}, without {ours}; not timed\n")
                return False
            row("product, cached features", ways.product, cached, trained)
            assert not cache.num_encoded, "the encoder was to have no work"
    return True


def timing(
    step: Callable[[], Tensor], world: World, flops: int, device: torch.device, repeats: int, loss: float
) -> dict[str, object]:
    """The measured part of a row. Peak bytes are a GPU's; on a CPU the process's would be those of both ways."""
    gpu = device.type == "cuda"
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    taken = timed(step, device, repeats, MOST_S_EACH)
    seconds, cpu = [item.wall for item in taken], [item.cpu for item in taken]
    cuts, p50 = statistics.quantiles(seconds, n=10, method="inclusive"), statistics.median(seconds)
    peak_tflops = dense_bf16_tflops(torch.cuda.get_device_name()) if gpu else None
    values: dict[str, object] = {
        "p20_s": round(cuts[1], 4), "p50_s": round(p50, 4), "p80_s": round(cuts[7], 4),
        "p50_cpu_s": round(statistics.median(cpu), 4), "repeats": len(seconds),
        "samples_per_s": round(len(world.examples) / p50, 3),
        "tokens_per_s": round(world.planned.size.num_tokens / p50, 1), "useful_tflop": round(flops / 1e12, 4),
        "mfu": round(flops / p50 / (peak_tflops * 1e12), 4) if peak_tflops else "",
        "peak_bytes": torch.cuda.max_memory_allocated() if gpu else "", "loss": round(loss, 5),
        "transformers": transformers.__version__, "peft": peft.__version__, **origin(device),
    }  # fmt: skip
    return values


def main() -> int:
    """Time the chosen stages; 1 when the two ways disagree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="protein2text-8b")
    parser.add_argument("--stage", choices=("alignment", "instruction", "both"), default="both")
    parser.add_argument("--scale", type=float, default=1.0, help="of heads, layers, hidden width and vocabulary")
    parser.add_argument("--records", type=int, help="of the batch; by default the stage's global batch")
    parser.add_argument("--repeats", type=int, default=10, help="timed steps of each way, as far as time allows")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--suite", action="store_true", help="protein2text-8b, both stages, in 8 minutes")
    arguments = parser.parse_args()
    preset, scale = ("protein2text-8b", 1.0) if arguments.suite else (arguments.preset, arguments.scale)
    until = time.monotonic() + (SUITE_S if arguments.suite else float("inf"))
    stages: tuple[Stage, ...] = ("alignment", "instruction")
    chosen = [stage for stage in stages if arguments.suite or arguments.stage in (stage, "both")]
    device = torch.device(arguments.device)
    agreed = [measure(preset, stage, scale, arguments.records, device, arguments.repeats, until) for stage in chosen]
    if arguments.suite:
        step_targets.main()
    return 0 if all(agreed) else 1


if __name__ == "__main__":
    sys.exit(main())
