"""One worker's part of an optimizer step, up to its gradients: packed on the host, then nothing waits for the device.

How many tokens the loss is divided by is known from the plan, so that no worker asks the others; each micro-batch is
packed while the device still works on the one before; the loss stays on the device until somebody reads it.
"""

from contextlib import nullcontext
from typing import Protocol

import torch
from torch import Tensor

from protein2text.models.batches import Batch, pack
from protein2text.models.long_proteins import Reading
from protein2text.models.model_config import BridgeConfig
from protein2text.train.planned import PlannedStep


class Engine(Protocol):
    """What runs a model forward and backward; `DeepSpeedEngine` in training."""

    device: torch.device

    def forward(self, batch: Batch) -> Tensor:
        """The model's loss, summed over supervised tokens, as a scalar."""

    def backward(self, loss_sum: Tensor, *, weight: float, last: bool) -> None:
        """Add ``weight x`` the gradient of a micro-batch's summed loss; ``last`` completes the step."""


def accumulate(
    engine: Engine, planned: PlannedStep, bridge: BridgeConfig, reading: Reading, *, bf16: bool,
    per_device_mean: bool = False,
) -> Tensor:  # fmt: skip
    """Gradients of the sum over supervised tokens / supervised tokens of the global batch, from all micro-batches.

    Args:
        bf16: compute under autocast.
        per_device_mean: instead of the mean over all tokens, that of the micro-batches' own means.

    Returns:
        This worker's part of the loss x supervised tokens of the global batch, nats, a float32 scalar on the device.
    """
    num_supervised, last = planned.size.num_supervised, len(planned.micro_batches) - 1
    loss_sum = torch.zeros((), device=engine.device)
    for number, item in enumerate(planned.micro_batches):
        batch = pack(item.examples, item.proteins, bridge, reading).to(engine.device)
        share: float = item.counted
        if per_device_mean:
            share *= num_supervised / (planned.num_micro_batches * batch.num_supervised)
        with torch.autocast(engine.device.type, torch.bfloat16) if bf16 else nullcontext():
            micro_loss = engine.forward(batch)
        engine.backward(micro_loss, weight=share / num_supervised, last=number == last)
        loss_sum += micro_loss.detach() * share
    return loss_sum
