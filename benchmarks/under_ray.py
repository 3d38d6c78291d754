"""What Ray costs a training step: the wait for its rows, and the question whether a node is taken away.

    python benchmarks/under_ray.py                150 steps of either stage, the tiny preset as it is, two minutes

The product's own run on the synthetic sample corpus, in a folder that is gone afterwards: Ray Data tokenizes, Ray Train
runs the workers, and the events of the steps say how long each waited for rows. After each step all workers agree
whether a node is drained; that question is asked again by workers that do nothing else, ``QUESTIONS`` times. Prints,
and appends to ``results/under_ray.csv``, one row a stage. Times are of the wall clock: leave the machine to it.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import ray.train
import torch
from ray.train.torch import TorchConfig, TorchTrainer
from rows import append, origin

from protein2text.config import STAGES, RunConfig, load_run
from protein2text.data.ingest import ingest
from protein2text.data.sample import write_sample
from protein2text.data.split import split
from protein2text.resources import ray_session
from protein2text.train.events import read_steps
from protein2text.train.launch import launch
from protein2text.train.run import train_stage
from protein2text.train.stage_config import Stage
from protein2text.train.task import EVENTS, is_drained

QUESTIONS = 500
FIRST_STEPS = 5
"""Left out: what happens once happens there."""


def sample_run(folder: Path, num_steps: int) -> RunConfig:
    """The tiny preset on its sample corpus, both stages so many steps long, without validation."""
    sample, corpus, halves = folder / "sample", str(folder / "corpus"), str(folder / "split")
    write_sample(sample, seed=0)
    short = {"max_steps": num_steps, "validation": {"max_records": 0}}
    data = {"corpus": [corpus], "split": halves}
    run = load_run("tiny", {"output": str(folder), "data": data, **dict.fromkeys(STAGES, short)})
    sources = [str(sample / "proteins.tsv"), str(sample / "questions.json")]
    ingest(sources, corpus, max_residues=run.data.max_residues)
    split([corpus], halves, kind="by_member", assignment=str(sample / "assignment.tsv"))
    return run


def ask(config: dict[str, Any]) -> list[float]:
    """On every worker: seconds of each question, after one that connects."""
    is_drained()
    seconds = []
    for _ in range(QUESTIONS):
        began = time.monotonic()
        is_drained()
        seconds.append(time.monotonic() - began)
    return seconds


def questions_s(run: RunConfig, folder: Path) -> list[float]:
    """Worker 0's seconds, on the workers that the run has."""
    resolved = launch(run.scaling)
    trainer = TorchTrainer(
        ask,  # type: ignore[arg-type]  # v2 takes what it returns
        train_loop_config={},
        torch_config=TorchConfig(**resolved.torch_config),
        scaling_config=ray.train.ScalingConfig(**resolved.scaling_config),
        run_config=ray.train.RunConfig(name="questions", storage_path=str(folder)),
    )
    seconds: list[float] = trainer.fit().return_value  # type: ignore[attr-defined]  # v2 has it
    return seconds


def measured(run: RunConfig, stage: Stage, question_s: float) -> dict[str, object]:
    """Train a stage, and make a row of its steps."""
    train_stage(run, stage)
    steps = read_steps(run.folder / stage / EVENTS)[FIRST_STEPS:]
    step_s = statistics.median(event["seconds"] for event in steps)
    waited = sum(event["data_wait_s"] for event in steps) / sum(event["seconds"] for event in steps)
    return {
        "stage": stage, "preset": "tiny", "workers": run.scaling.num_workers, "steps": len(steps),
        "step_ms_p50": round(1e3 * step_s, 2), "data_wait_share": round(waited, 5),
        "drain_question_ms_p50": round(1e3 * question_s, 3), "drain_question_share": round(question_s / step_s, 5),
        **origin(torch.device("cpu")),
    }  # fmt: skip


def main() -> None:
    """Measure both stages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=150)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with ray_session(load_run("tiny").scaling):
            run = sample_run(folder, arguments.steps)
            question_s = statistics.median(questions_s(run, folder))
            for stage in STAGES:
                row = measured(run, stage, question_s)
                append("under_ray", row)
                sys.stdout.write(f"{row}\n")


if __name__ == "__main__":
    main()
