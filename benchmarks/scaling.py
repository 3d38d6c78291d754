"""What workers send each other in an optimizer step, counted, by their number and DeepSpeed's ZeRO stage.

    python benchmarks/scaling.py                          1 and 2 workers, ZeRO 0 to 3, both stages of the tiny preset
    python benchmarks/scaling.py --workers 3 --records 48

One process a worker, joined over gloo on this machine; the product's plan, model, loss and engine on random weights and
records drawn as ``step_world`` states. Every collective of the second step is seen as torch dispatches it, with the
bytes of the tensors that a worker hands in: what a ring then sends of them is (n - 1) / n for a gather or a scatter,
twice that for a reduction on all. Counts do not depend on how fast or busy the machine is. The steps of an epoch stand
beside them, since they must not depend on the workers. Prints, and appends to ``results/scaling.csv``, one row each.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from rows import append, origin
from step_world import planned_step, run_of, world_of
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from protein2text.models.encoders import reading_of
from protein2text.train.deepspeed_engine import DeepSpeedEngine
from protein2text.train.plan import num_optimizer_steps
from protein2text.train.stage_config import Stage
from protein2text.train.step import accumulate

EPOCH: dict[Stage, int] = {"alignment": 394_000, "instruction": 210_000}
"""Records of the published corpora (Protein2Text, NAACL 2025)."""
CPU = torch.device("cpu")


class CollectiveCounter(TorchDispatchMode):
    """Counts the collectives of this process by name, and the bytes that it hands in."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        """See the base class."""
        if func.namespace == "c10d" and (tensors := [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor)]):
            name = func._schema.name.removeprefix("c10d::").strip("_")
            given = max(tensors, key=lambda tensor: tensor.nbytes) if "scatter" in name else tensors[-1]
            self.calls[name] += 1
            self.bytes[name] += given.nbytes
        return func(*args, **(kwargs or {}))


def work(stage: Stage, zero_stage: int, rank: int, num_workers: int, num_records: int) -> dict[str, Any]:
    """Two steps of one worker, the second one counted."""
    world, run = world_of("tiny", stage, 1.0, num_records, CPU), run_of("tiny")
    planned = planned_step(
        run.model, run.stage(stage), world.examples, world.sequences, worker=rank, num_workers=num_workers
    )
    engine = DeepSpeedEngine(world.model, config=run.stage(stage), zero_stage=zero_stage, device=CPU, offload=False)
    counter = CollectiveCounter()
    for mode in (None, counter):
        if mode:
            mode.__enter__()
        accumulate(engine, planned, run.model.bridge, reading_of(run.model), bf16=False)
        engine.step(1e-4)
        if mode:
            mode.__exit__(None, None, None)
    trained = sum(parameter.numel() for parameter in world.model.trainable().values())
    micro_batches = len(planned.micro_batches)
    return {"trained": trained, "micro_batches": micro_batches, "calls": counter.calls, "bytes": counter.bytes}


def counted(stage: Stage, zero_stage: int, num_workers: int, num_records: int) -> dict[str, Any]:
    """What worker 0 of so many told."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    processes = []
    for rank in range(num_workers):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": num_workers, "MASTER_PORT": port}
        environment = os.environ | {name: str(value) for name, value in place.items()} | {"MASTER_ADDR": "127.0.0.1"}
        command = [sys.executable, __file__, "--work", stage, "--zero", str(zero_stage), "--records", str(num_records)]
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit(1)
    told: dict[str, Any] = json.loads(outputs[0].splitlines()[-1])
    return told


def main() -> None:
    """Count the chosen cases, or be one worker of one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--records", type=int, default=32, help="of a step")
    parser.add_argument("--zero", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--work", choices=list(EPOCH), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        torch.set_num_threads(1)
        dist.init_process_group("gloo")
        rank, num_workers = dist.get_rank(), dist.get_world_size()
        told = work(arguments.work, arguments.zero[0], rank, num_workers, arguments.records)
        sys.stdout.write(json.dumps(told) + "\n")
        dist.destroy_process_group()
        return
    for stage, num_epoch in EPOCH.items():
        global_batch = run_of("protein2text-8b").stage(stage).global_batch
        for zero_stage in arguments.zero:
            for num_workers in arguments.workers:
                told = counted(stage, zero_stage, num_workers, arguments.records)
                row = {
                    "stage": stage, "preset": "tiny", "zero_stage": zero_stage, "workers": num_workers,
                    "records": arguments.records, "trained_parameters": told["trained"],
                    "micro_batches_a_worker": told["micro_batches"], "collectives": sum(told["calls"].values()),
                    "bytes": sum(told["bytes"].values()), "by_kind": json.dumps(told["bytes"]),
                    "steps_of_published_epoch": num_optimizer_steps(num_epoch, 1, global_batch), **origin(CPU),
                }  # fmt: skip
                append("scaling", row)
                sys.stdout.write(
                    f"{stage}, ZeRO {zero_stage}, {num_workers} workers: {row['collectives']} collectives, "
                    f"{row['bytes']:,} bytes a step and worker ({told['bytes']})\n"
                )
                sys.stdout.flush()


if __name__ == "__main__":
    main()
