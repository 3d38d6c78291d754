"""Useful operations: against torch's own count of what it does, against sums by hand, and what must not be counted."""

from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from protein2text.models.batches import pack
from protein2text.models.chat import IGNORED, PROTEIN_ID, Example
from protein2text.models.device_peaks import dense_bf16_tflops
from protein2text.models.flops import UsefulFlops
from protein2text.models.model_config import ModelConfig
from protein2text.models.protein_to_text import ProteinToText

ENCODER_WIDTH, NUM_ENCODER_LAYERS = 96, 3  # of four, the states of layer -2
"""Of the tiny preset's ESM-2."""


def model_of(kind: str, stage: Any) -> ProteinToText:
    values = {
        "encoder": {"source": "preset:tiny/esm2"},
        "bridge": {"kind": kind, "num_latents": 4, "depth": 2, "num_heads": 2, "head_dim": 8},
        "decoder": {"source": "preset:tiny/llama", "lora": {"rank": 2, "dropout": 0.0}},
    }
    model = ProteinToText(ModelConfig.parse(values))
    model.set_stage(stage)
    return model.train()


def example(num_question: int, num_answer: int) -> Example:
    """A protein, then a question, then an answer."""
    return Example(
        [1, PROTEIN_ID, *range(5, 5 + num_question + num_answer)],
        [IGNORED] * (2 + num_question) + [7] * num_answer,
    )


@pytest.mark.parametrize("stage", ["alignment", "instruction"])
@pytest.mark.parametrize("kind", ["resampler", "projector", "gated_cross_attention"])
def test_the_count_is_torchs_own_without_the_keys_that_causality_hides(kind: str, stage: str) -> None:
    model = model_of(kind, stage)
    batch = pack([example(4, 2), example(1, 7)], [["MKVL"], ["MKVLAAAGG"]], model.config.bridge, model.reading)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(batch).backward()
    hidden = sum(length * length - length * (length + 1) // 2 for length in batch.text.lengths)
    shape = model.decoder.language_model.config
    computed = counter.get_total_flops() - 6 * 2 * shape.num_hidden_layers * shape.hidden_size * hidden
    assert UsefulFlops(model).step(batch) == computed


def test_an_encoder_is_counted_forward_up_to_its_layer_and_not_at_all_where_its_states_were_kept() -> None:
    model = model_of("resampler", "alignment")
    batch = pack([example(1, 1)], [["MKVLA"]], model.config.bridge, model.reading)
    rows = 5 + 2  # CLS and EOS
    weights = 3 * ENCODER_WIDTH**2 + ENCODER_WIDTH**2 + 2 * ENCODER_WIDTH * 4 * ENCODER_WIDTH
    by_hand = NUM_ENCODER_LAYERS * (2 * rows * weights + 2 * 2 * rows * rows * ENCODER_WIDTH)
    flops = UsefulFlops(model)
    assert flops.encoder(batch.proteins) == by_hand
    assert flops.step(batch) - flops.trained(batch) == by_hand


def test_a_protein_that_two_records_share_is_read_once() -> None:
    model = model_of("resampler", "alignment")
    flops, bridge = UsefulFlops(model), model.config.bridge
    once, shared = (
        flops.encoder(pack([example(1, 1)] * number, [["MKVLA"]] * number, bridge, model.reading).proteins)
        for number in (1, 3)
    )
    assert once == shared


def test_packing_costs_nothing_and_logits_only_where_somebody_looks() -> None:
    """Two records together are their sum; one more supervised row costs the head, forward and backward to its input."""
    model = model_of("projector", "alignment")
    flops, bridge = UsefulFlops(model), model.config.bridge
    records = [(example(4, 2), ["MKVL"]), (example(1, 7), ["MKVLAAAGG"])]
    apart = [flops.step(pack([text], [proteins], bridge, model.reading)) for text, proteins in records]
    together = flops.step(pack([text for text, _ in records], [proteins for _, proteins in records], bridge))
    assert sum(apart) == together
    more = flops.step(pack([example(3, 3)], [["MKVL"]], bridge, model.reading))
    assert more - apart[0] == 2 * 2 * model.decoder.width * model.decoder.language_model.config.vocab_size


def test_a_trained_weight_costs_half_as_much_again_as_a_frozen_one() -> None:
    model = model_of("resampler", "instruction")
    batch = pack([example(4, 2)], [["MKVL"]], model.config.bridge, model.reading)
    frozen = UsefulFlops(model).trained(batch)
    layer = model.decoder.language_model.get_submodule("model.layers.0.mlp.up_proj.base_layer")
    layer.weight.requires_grad_(True)
    assert UsefulFlops(model).trained(batch) - frozen == 2 * layer.weight.numel() * batch.num_tokens


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989), ("NVIDIA H100 PCIe", 756), ("NVIDIA H100 NVL", 835), ("NVIDIA H200", 989),
        ("NVIDIA A100-SXM4-80GB", 312), ("NVIDIA A100 80GB PCIe", 312), ("NVIDIA A10", 125), ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362), ("NVIDIA A10G", None), ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None), ("cpu", None),
    ],
)  # fmt: skip
def test_a_devices_peak_is_its_datasheets_and_no_device_borrows_anothers(name: str, peak: float | None) -> None:
    assert dense_bf16_tflops(name) == peak


def test_counting_asks_nothing_of_the_device() -> None:
    """On the meta device every read of a value would fail."""
    model = model_of("resampler", "alignment")
    batch = pack([example(4, 2)], [["MKVL"]], model.config.bridge, model.reading)
    expected = UsefulFlops(model).step(batch)
    assert UsefulFlops(model.to("meta")).step(batch.to("meta")) == expected
    assert torch.device("meta") == model.device
