"""The device part of a step: gradients against autograd of the whole batch, and nothing that waits for the device."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from protein2text.config import RunConfig
from protein2text.models.batches import Batch, pack
from protein2text.models.chat import Example
from protein2text.models.encoders import reading_of
from protein2text.models.protein_to_text import ProteinToText
from protein2text.train.planned import PlannedStep
from protein2text.train.rows import gather, places_of, planned_rows, read_steps
from protein2text.train.step import accumulate


@dataclass
class OneProcess:
    """An engine of torch alone."""

    model: ProteinToText
    device: torch.device

    def forward(self, batch: Batch) -> Tensor:
        loss: Tensor = self.model(batch)
        return loss

    def backward(self, loss_sum: Tensor, *, weight: float, last: bool) -> None:
        (loss_sum * weight).backward()


def first_step(plain: Any, config: RunConfig) -> PlannedStep:
    rows = plain.tokenized(config, "instruction")
    plan = plain.plan_of(config, "instruction", rows)
    places = places_of(plan, [rows])
    return next(read_steps(gather(part, places, [rows].__getitem__) for part in planned_rows(plan, 0, 1, 0)))


def model_of(config: RunConfig) -> ProteinToText:
    torch.manual_seed(0)
    model = ProteinToText(config.model)
    model.set_stage("instruction")
    return model.eval()


@pytest.mark.parametrize("kind", ["resampler", "projector", "gated_cross_attention"])
def test_a_step_asks_the_device_for_nothing(
    plain: Any, run_values: dict[str, Any], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the meta device no tensor has a value: ``item``, ``tolist``, ``cpu``, a mask as an index all raise."""
    for name in ("autocast", "is_autocast_enabled"):  # which know no meta device: the CPU's stands in
        known = getattr(torch, name)
        monkeypatch.setattr(
            torch, name, lambda device, known=known, **how: known("cpu" if device == "meta" else device, **how)
        )
    run_values["model"]["bridge"]["kind"] = kind
    config = RunConfig.parse(run_values)
    planned, model, meta = first_step(plain, config), model_of(config), torch.device("meta")
    assert len(planned.micro_batches) > 1
    share = accumulate(OneProcess(model.to(meta), meta), planned, config.model.bridge, model.reading, bf16=False)
    assert share.device == meta
    assert all(parameter.grad is not None for parameter in model.trainable().values())
    for waits in (share.item, share.tolist, share.cpu, lambda: share.reshape(1)[torch.ones(1, device=meta).bool()]):
        with pytest.raises(RuntimeError, match="meta"):
            waits()


def test_micro_batches_add_up_to_the_whole_batch(plain: Any, run_config: RunConfig) -> None:
    planned, model = first_step(plain, run_config), model_of(run_config).double()
    reading = reading_of(run_config.model)
    share = accumulate(OneProcess(model, torch.device("cpu")), planned, run_config.model.bridge, reading, bf16=False)
    found = {name: parameter.grad for name, parameter in model.trainable().items()}
    model.zero_grad()
    rows = [(e, p) for item in planned.micro_batches for e, p in zip(item.examples, item.proteins, strict=True)]
    examples, proteins = [Example(e.ids, e.labels) for e, _ in rows], [p for _, p in rows]
    batch = pack(examples, proteins, run_config.model.bridge, reading)
    (model(batch) / batch.num_supervised).backward()
    assert float(share) == pytest.approx(float(model(batch).detach()), rel=1e-6)  # the loss itself is float32
    for name, parameter in model.trainable().items():
        assert parameter.grad is not None
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-5, atol=1e-8, msg=name)
