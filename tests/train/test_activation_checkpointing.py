"""What the backward pass computes again is what the forward pass computed: losses and gradients do not change."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from protein2text.config import RunConfig
from protein2text.models.batches import pack
from protein2text.models.chat import Example
from protein2text.models.protein_to_text import ProteinToText
from protein2text.train.events import read_steps
from protein2text.train.loop import build_model
from protein2text.train.stage_config import Stage
from protein2text.train.task import StageTask


@dataclass
class Step:
    """One forward and backward."""

    loss: Tensor
    gradients: dict[str, Tensor]
    kept_bytes: int


def one_step(plain: Any, config: RunConfig, stage: Stage) -> Step:
    """Eight records in one packed batch, at the weights that a stage begins with, but for those that begin at 0."""
    model: ProteinToText = build_model(StageTask(config, "alignment", 1, {}), None)
    model.set_stage(stage)
    torch.manual_seed(1)
    for name, parameter in model.trainable().items():
        if "lora_B" in name or name.endswith("gate"):
            torch.nn.init.normal_(parameter, std=0.1)
    rows = plain.tokenized(config, stage).to_pylist()[:8]
    batch = pack([Example(row["ids"], row["labels"]) for row in rows], [row["sequences"] for row in rows],
                 config.model.bridge)  # fmt: skip
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    torch.manual_seed(2)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(batch)
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.trainable().items() if parameter.grad is not None}
    assert gradients.keys() == model.trainable().keys()
    return Step(loss.detach(), gradients, sum(size for place, size in kept.items() if place not in weights))


def checkpointed(values: dict[str, Any], **changes: Any) -> RunConfig:
    stages = {stage: values[stage] | {"activation_checkpointing": True} for stage in ("alignment", "instruction")}
    return RunConfig.parse(values | stages | changes)


@pytest.mark.parametrize("stage", ["alignment", "instruction"])
@pytest.mark.parametrize("kind", ["resampler", "gated_cross_attention"])
def test_loss_and_gradients_are_the_same_to_the_last_bit(
    plain: Any, run_values: dict[str, Any], stage: Stage, kind: str
) -> None:
    """LoRA's dropout is 0.1, and drawn again alike."""
    run_values["model"]["bridge"]["kind"] = kind
    whole = one_step(plain, RunConfig.parse(run_values), stage)
    again = one_step(plain, checkpointed(run_values), stage)
    assert torch.equal(again.loss, whole.loss)
    assert all(torch.equal(again.gradients[name], gradient) for name, gradient in whole.gradients.items())
    assert all(gradient.any() for gradient in whole.gradients.values())
    assert again.kept_bytes < 0.6 * whole.kept_bytes, "two decoder layers of two are computed again"


@pytest.mark.parametrize("zero_stage", [2, 3])
def test_a_stage_on_two_workers_ends_the_same(
    train_on: Any, two_workers: Any, run_values: dict[str, Any], zero_stage: int
) -> None:
    scaling = {"num_workers": 2, "zero_stage": zero_stage}
    run_values["alignment"] |= {"epochs": 1}
    run_values["instruction"] |= {"state_cache_gib": 0}
    whole = train_on(two_workers, RunConfig.parse(run_values | {"name": "whole", "scaling": scaling}))
    again = train_on(two_workers, checkpointed(run_values, name="again", scaling=scaling))
    numbers = [[(event["loss"], event["grad_norm"]) for event in read_steps(task.events)] for task in (whole, again)]
    assert len(numbers[0]) == 4
    assert numbers[0] == numbers[1]
