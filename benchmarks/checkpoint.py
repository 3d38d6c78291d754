"""How long training stands still while worker 0 writes a checkpoint, beside the least that its bytes need.

    python benchmarks/checkpoint.py            both stages of protein2text-8b, 2.5 GB at most, under a minute

Random numbers in the true shapes, written into a folder that is gone afterwards. Beside the product's way: the same
files from one thread, first written, then hashed; and the floor, a plain copy of the finished files on the same disk
and the SHA-256 of the same bytes, also in one thread. Prints, and appends to ``results/checkpoint.csv``, one row a
stage. Nothing is flushed to the disk in any of them. The last two columns are computed, from ``TARGET_H``. Times are of
the wall clock: leave the machine to it.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from rows import append, origin
from safetensors.torch import save_file
from step_targets import PRESET, STEPS, TARGET_H

from protein2text.config import STAGES, RunConfig, load_run
from protein2text.models.checkpoints import sha256_of
from protein2text.train import checkpoints
from protein2text.train.checkpoints import PARTS, State
from protein2text.train.skeleton import skeleton
from protein2text.train.stage_config import Stage

TRIES = 5


def random_state(config: RunConfig, stage: Stage) -> State:
    """Three times what the stage trains, float32."""
    model = skeleton(config.model, stage)
    named = {**dict(model.bridge.named_parameters()), **dict(model.language_model.named_parameters())}
    shapes = {name: parameter.shape for name, parameter in named.items() if parameter.requires_grad}
    return {part: {name: torch.rand(shape) for name, shape in shapes.items()} for part in PARTS}


def one_thread(folder: Path, state: State) -> None:
    """What ``checkpoints.save`` writes, one file after another and then one sum after another."""
    folder.mkdir()
    for part in PARTS:
        save_file(state[part], folder / part)
    hash_all(folder)


def hash_all(folder: Path) -> None:
    """SHA-256 of every file, one after another."""
    for path in folder.iterdir():
        sha256_of(path)


def medians(ways: Mapping[str, Callable[[Path], object]], folder: Path) -> dict[str, float]:
    """Seconds of each way, tried in turn, into a folder of its own that is not there yet."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(TRIES):
        for name, work in ways.items():
            shutil.rmtree(folder / name, ignore_errors=True)
            began = time.monotonic()
            work(folder / name)
            taken[name].append(time.monotonic() - began)
    return {name: statistics.median(values) for name, values in taken.items()}


def measured(stage: Stage, folder: Path) -> dict[str, object]:
    """Write a stage's state, and make a row of it."""
    config = load_run(PRESET)
    state = random_state(config, stage)
    num_bytes = sum(tensor.nbytes for values in state.values() for tensor in values.values())
    ways: dict[str, Callable[[Path], object]] = {
        "save": lambda place: checkpoints.save(place, 1, state, {}),
        "one_thread": lambda place: one_thread(place, state),
        "copy": lambda place: shutil.copytree(folder / "one_thread", place),
        "sha256": lambda _: hash_all(folder / "one_thread"),
    }
    taken = medians(ways, folder)
    interval_s = 3600 * TARGET_H[stage] / STEPS[stage] * config.stage(stage).checkpoint_interval_steps
    return {
        "stage": stage, "preset": PRESET, "bytes": num_bytes, "tries": TRIES,
        **{f"{name}_s_p50": round(value, 3) for name, value in taken.items()},
        "save_mb_per_s": round(num_bytes / 1e6 / taken["save"]), "computed_interval_s": round(interval_s),
        "computed_share": round(taken["save"] / interval_s, 5), **origin(torch.device("cpu")),
    }  # fmt: skip


def main() -> None:
    """Measure both stages, one in memory at a time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--disk", help="folder on the disk to measure; by default that of temporary files")
    arguments = parser.parse_args()
    for stage in STAGES:
        with tempfile.TemporaryDirectory(dir=arguments.disk) as folder:
            row = measured(stage, Path(folder))
        append("checkpoint", row)
        sys.stdout.write(f"{row}\n")


if __name__ == "__main__":
    main()
