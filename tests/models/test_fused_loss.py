"""When the fused loss is taken, and what it is given. The kernel itself needs a GPU and is not run here."""

import importlib.util
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from protein2text.errors import ConfigError
from protein2text.models.batches import pack
from protein2text.models.chat import IGNORED, PROTEIN_ID, Example
from protein2text.models.fused_loss import use_liger
from protein2text.models.model_config import BridgeConfig, DecoderConfig, EncoderConfig, ModelConfig
from protein2text.models.protein_to_text import ProteinToText

FITS: dict[str, Any] = {"device_type": "cuda", "model_type": "llama", "zero_stage": 2}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: SimpleNamespace() if name == "liger_kernel" else found(name)
    )


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"device_type": "cpu"}, "CUDA only"), ({"model_type": "gemma2"}, "of type gemma2"),
        ({"zero_stage": 3}, "zero_stage 3"),
    ],
)  # fmt: skip
def test_it_is_taken_where_it_fits_and_refused_by_name_where_not(change: dict[str, Any], reason: str) -> None:
    assert [use_liger(wanted, **FITS) for wanted in ("auto", "liger", "torch")] == [True, True, False]
    assert not use_liger("auto", **FITS | change)
    with pytest.raises(ConfigError, match=reason):
        use_liger("liger", **FITS | change)


def test_without_the_package_auto_does_without_and_liger_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not use_liger("auto", **FITS)
    with pytest.raises(ConfigError, match=r"pip install -e \.\[liger\]"):
        use_liger("liger", **FITS)


def test_it_is_given_supervised_rows_and_the_head_and_has_the_same_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[tuple[int, ...], ...]] = []

    def in_torch(rows: Tensor, weight: Tensor, labels: Tensor, bias: Tensor | None, reduction: str) -> Tensor:
        given.append((tuple(rows.shape), tuple(weight.shape), tuple(labels.shape)))
        return F.cross_entropy(F.linear(rows, weight, bias).float(), labels, reduction=reduction)

    functional = ModuleType("liger_kernel.transformers.functional")
    functional.liger_fused_linear_cross_entropy = in_torch  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "liger_kernel", ModuleType("liger_kernel"))
    monkeypatch.setitem(sys.modules, "liger_kernel.transformers", ModuleType("liger_kernel.transformers"))
    monkeypatch.setitem(sys.modules, "liger_kernel.transformers.functional", functional)
    torch.manual_seed(0)
    config = ModelConfig(
        encoder=EncoderConfig(source="preset:tiny/esm2"), decoder=DecoderConfig(source="preset:tiny/llama"),
        bridge=BridgeConfig(num_latents=4, depth=1, num_heads=2, head_dim=8),
    )  # fmt: skip
    model = ProteinToText(config)
    model.set_stage("alignment")
    examples = [
        Example([7, PROTEIN_ID, 8, 9, 10], [IGNORED] * 3 + [9, 10]), Example([PROTEIN_ID, 5, 6], [IGNORED] * 2 + [6])
    ]  # fmt: skip
    batch = pack(examples, [["MKV"], ["ACDEF"]], config.bridge, model.reading)
    losses, gradients = [], []
    for fused in (False, True):
        model.fused_loss = fused
        loss = model(batch)
        loss.backward()
        losses.append(float(loss.detach()))
        gradients.append(torch.cat([value.grad.flatten() for value in model.trainable().values()]))
        model.zero_grad()
    assert given == [((3, 128), (model.decoder.language_model.config.vocab_size, 128), (3,))]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert float((gradients[0] - gradients[1]).norm() / gradients[0].norm()) < 1e-5
