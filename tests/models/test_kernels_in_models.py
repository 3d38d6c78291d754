"""Encoder and resampler run through the kernels: in the interpreter they give what plain torch gives, gradients too."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from protein2text.models.batches import ProteinBatch, pack_proteins
from protein2text.models.bridge import Resampler
from protein2text.models.encoders import build_encoder
from protein2text.models.model_config import BridgeConfig, EncoderConfig
from protein2text_kernels.registry import forced, ran

TOLERANCE = 2e-6
"""Relative, in float32."""
SEQUENCES = ["MKTAYIAKQRQISFVKSHFSRQ", "A", "MVLSPADKTNVKAAWGKVGAHAGEYGAEALERMFLSFPTTKTYFPHFDLSH"]


def relative_error(actual: Tensor, reference: Tensor) -> float:
    return float((actual.double() - reference.double()).norm() / reference.double().norm())


@pytest.fixture
def proteins() -> ProteinBatch:
    return pack_proteins(SEQUENCES)


def test_the_encoder_runs_all_three_of_its_kernels(random_esm: Path, proteins: ProteinBatch) -> None:
    encoder = build_encoder(EncoderConfig(source=str(random_esm)))
    plain = encoder(proteins)
    ran.clear()
    with forced("triton"):
        states = encoder(proteins)
    assert {name for name, choice in ran.items() if choice.name == "triton"} == {
        "bias_gelu",
        "qkv_rope",
        "residual_layer_norm",
    }
    assert relative_error(states, plain) < TOLERANCE


@pytest.mark.parametrize(("latents", "heads", "head_dim", "depth"), [(5, 3, 8, 2), (17, 1, 20, 3)])
def test_the_resampler_and_its_gradients(
    latents: int, heads: int, head_dim: int, depth: int, proteins: ProteinBatch
) -> None:
    torch.manual_seed(0)
    config = BridgeConfig(num_latents=latents, num_heads=heads, head_dim=head_dim, depth=depth)
    resampler = Resampler(24, config)
    states = torch.randn(sum(proteins.state_lengths), 24)
    upstream = torch.randn(len(SEQUENCES), latents, 24)
    parameters = dict(resampler.named_parameters())

    def run() -> tuple[Tensor, tuple[Tensor, ...]]:
        pooled = resampler(states, proteins)
        return pooled.detach(), torch.autograd.grad(pooled, list(parameters.values()), upstream)

    plain, plain_gradients = run()
    with forced("triton"):
        pooled, gradients = run()
    assert ran["ragged_cross_attention"].name == "triton"
    assert relative_error(pooled, plain) < TOLERANCE
    for name, ours, reference in zip(parameters, gradients, plain_gradients, strict=True):
        assert relative_error(ours, reference) < TOLERANCE, name
