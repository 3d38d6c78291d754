"""Encoder and resampler run through the kernels: in the interpreter they give what plain torch gives, gradients too."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from protein2text.models.batches import ProteinBatch, pack_proteins, pack_text
from protein2text.models.bridge import Bridge, Resampler
from protein2text.models.chat import IGNORED, PROTEIN_ID, Example
from protein2text.models.encoders import build_encoder
from protein2text.models.model_config import BridgeConfig, EncoderConfig
from protein2text.models.splicing import decoder_inputs
from protein2text_kernels.registry import forced, ran
from tests.models.conftest import relative_error

TOLERANCE = 2e-6
"""Relative, in float32."""
SEQUENCES = ["MKTAYIAKQRQISFVKSHFSRQ", "A", "MVLSPADKTNVKAAWGKVGAHAGEYGAEALERMFLSFPTTKTYFPHFDLSH"]


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


@pytest.mark.parametrize("kind", ["resampler", "gated_cross_attention"])
def test_the_decoders_input_is_the_same_from_its_table_and_from_its_module(kind: str) -> None:
    """One protein stands in two examples; the rows' gradients are those of the scattered embeddings.

    The module is called where it does more than look up, and where DeepSpeed may have split its table.
    """
    torch.manual_seed(0)
    table = nn.Embedding(11, 24).requires_grad_(False)
    bridge = Bridge(BridgeConfig(kind=kind, num_latents=3, num_heads=2, head_dim=8), 16, 24)
    if bridge.mm_gated_cross_attention is not None:
        nn.init.ones_(bridge.mm_gated_cross_attention.attn_gate)
    examples = [Example([4, PROTEIN_ID, 7], [IGNORED, IGNORED, 7]), Example([PROTEIN_ID, 2, PROTEIN_ID], [IGNORED] * 3)]
    text = pack_text(examples, [[1], [0, 1]], [3, 3])
    rows = torch.randn(6, 24, requires_grad=True)

    class Scaled(nn.Embedding):
        def forward(self, ids: Tensor) -> Tensor:
            return 1.0 * super().forward(ids)

    scaled = Scaled(11, 24, _weight=table.weight, _freeze=True)
    places = text.protein_rows_P
    embedded = table(text.ids_T)
    read = bridge.read_question(rows[text.protein_sources_P], embedded, text)
    expected = embedded.index_copy(0, places, read)
    upstream = torch.randn(len(text.ids_T), 24)
    (expected_gradient,) = torch.autograd.grad(expected, rows, upstream)
    split = nn.Embedding(11, 24, _weight=nn.Parameter(table.weight.detach()), _freeze=True)
    split.weight.ds_id = 0  # type: ignore[attr-defined]
    called: list[nn.Module] = []
    for embedding in (table, scaled, split):
        embedding.register_forward_hook(lambda module, *_: called.append(module))
        for implementation in ("naive", "triton"):
            with forced(implementation):
                inputs = decoder_inputs(embedding, bridge, rows, text)
            assert ran["splice"].name == implementation
            assert torch.equal(inputs, expected)
            (gradient,) = torch.autograd.grad(inputs, rows, upstream)
            assert relative_error(gradient, expected_gradient) < TOLERANCE
    if kind == "resampler":  # the gated kind embeds the question's words too
        assert called == [scaled, scaled, split, split]
