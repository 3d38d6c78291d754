"""DeepSpeed on two workers with unequal shares, against torch's own AdamW on the whole batch."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from protein2text.train.stage_config import StageConfig

NUM_STEPS, LEARNING_RATE = 6, 1e-3
SETTINGS = {"epochs": 1, "global_batch": 10, "learning_rate": LEARNING_RATE, "weight_decay": 0.1, "max_grad_norm": 0.05}


def plain_torch(odd_model: Any) -> tuple[list[float], dict[str, Tensor]]:
    """The same steps in one process: mean by the same divisor, clip, decay matrices only."""
    model = odd_model.OddModel()
    vectors = [model.hidden.bias, model.scale]
    groups = [{"params": [model.hidden.weight], "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.0)
    norms = []
    for step in range(NUM_STEPS):
        optimizer.zero_grad()
        (model(odd_model.rows_of(step)) / 100).backward()
        parameters = [model.hidden.weight, *vectors]
        norms.append(nn.utils.clip_grad_norm_(parameters, StageConfig.model_validate(SETTINGS).max_grad_norm).item())
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 + step % 3)
        optimizer.step()
    return norms, {"hidden.weight": model.hidden.weight, "hidden.bias": model.hidden.bias, "scale": model.scale}


WAYS = [(0, False), (1, False), (2, False), (3, False), (1, True), (2, True), (3, True)]
"""ZeRO stages, and whether the optimizer is offloaded."""


@pytest.mark.parametrize(("zero_stage", "offload"), WAYS)
def test_every_zero_stage_equals_plain_torch_with_unequal_shares(
    two_workers: Any, worker_functions: Any, zero_stage: int, offload: bool
) -> None:
    norms, weights = plain_torch(worker_functions)
    for result in two_workers.run("engine_steps", SETTINGS, zero_stage, None, NUM_STEPS, offload):
        assert result["norms"] == pytest.approx(norms, rel=1e-5)
        assert result["state"]["weights"].keys() == weights.keys()
        for name, weight in weights.items():
            torch.testing.assert_close(result["state"]["weights"][name], weight.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("zero_stage", "offload"), WAYS)
def test_a_second_engine_goes_on_bit_for_bit(two_workers: Any, zero_stage: int, offload: bool) -> None:
    whole = two_workers.run("engine_steps", SETTINGS, zero_stage, None, NUM_STEPS, offload)[0]
    resumed = two_workers.run("engine_steps", SETTINGS, zero_stage, 3, NUM_STEPS, offload)[0]
    assert resumed["norms"] == whole["norms"]
    for part, values in whole["state"].items():
        assert all(torch.equal(resumed["state"][part][name], value) for name, value in values.items())


def test_an_offloaded_step_is_done_where_there_is_no_compiler(tmp_path: Path) -> None:
    """Neither DeepSpeed's shared-memory communication nor its AdamW, which it would compile, is used."""
    script = """
import torch, torch.distributed as dist
dist.init_process_group("gloo", init_method="tcp://127.0.0.1:0", rank=0, world_size=1)
from protein2text.train.deepspeed_engine import DeepSpeedEngine
from protein2text.train.stage_config import StageConfig
config = StageConfig(epochs=1, global_batch=1, learning_rate=1.0)
model = torch.nn.Linear(3, 1)
before = model.weight.clone()
engine = DeepSpeedEngine(model, config=config, zero_stage=2, device=torch.device("cpu"), offload=True)
engine.backward(engine.forward(torch.ones(2, 3)).sum(), weight=1.0, last=True)
engine.step(0.1)
assert not torch.equal(model.weight, before)
import deepspeed.comm
assert deepspeed.comm.is_initialized()
"""
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path), "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.rglob("*.so")), "nothing was compiled"
    assert "PATH" in os.environ
