"""transformers' Evolla has a resampler of the same layers; ours takes its weights and gives its numbers.

It differs at the end, projector then norm, and has no position vector.
"""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.models.evolla.modeling_evolla import EvollaSequenceCompressorResampler

from protein2text.models.batches import ProteinBatch, pack_proteins
from protein2text.models.bridge import Resampler
from protein2text.models.model_config import BridgeConfig
from protein2text_kernels.registry import forced, ran
from tests.models.conftest import relative_error

WIDTH, DECODER_WIDTH = 24, 40
SEQUENCES = ["MKTAYIAKQRQISFVKSHFSRQ", "MVLSPADKTNVKAAWGK", "A"]
CONFIG = BridgeConfig(num_latents=5, depth=3, num_heads=2, head_dim=8, feed_forward_multiple=2)
TOLERANCES = {torch.float64: 1e-12, torch.float32: 2e-6}


def evolla(dtype: torch.dtype) -> Any:
    """With random norms too, which start at one and zero."""
    torch.manual_seed(3)
    config = SimpleNamespace(
        protein_encoder_config=SimpleNamespace(hidden_size=WIDTH), hidden_size=DECODER_WIDTH,
        resampler_num_latents=CONFIG.num_latents, resampler_depth=CONFIG.depth, resampler_dim_head=CONFIG.head_dim,
        resampler_heads=CONFIG.num_heads, resampler_ff_mult=CONFIG.feed_forward_multiple,
    )  # fmt: skip
    module = EvollaSequenceCompressorResampler(config).to(dtype)
    for parameter in module.parameters():
        nn.init.normal_(parameter, mean=0.1, std=0.5)
    return module.requires_grad_(False)


def ours_with(weights: dict[str, Tensor], dtype: torch.dtype) -> Resampler:
    """Our layers with theirs; the final norm, which theirs has elsewhere, does nothing."""
    renamed = {"norm": "0", "fc1": "1", "fc2": "3"}
    state = {"latents": weights["latents"], "media_pos_emb": torch.zeros(1, 1, WIDTH)}
    for name, tensor in weights.items():
        parts = name.split(".")
        if parts[0] == "layers":
            parts[3] = renamed[parts[3]] if parts[2] == "1" else parts[3]
            state[".".join(parts)] = tensor
    resampler = Resampler(WIDTH, CONFIG).to(dtype)
    resampler.norm = nn.Identity()  # type: ignore[assignment]
    resampler.load_state_dict(state)
    return resampler.requires_grad_(False)


def padded(states_SE: Tensor, proteins: ProteinBatch) -> tuple[Tensor, Tensor]:
    """Theirs reads padded states and a mask; what lies in the padding is anything."""
    each = states_SE.split(list(proteins.state_lengths))
    states = nn.utils.rnn.pad_sequence(list(each), batch_first=True, padding_value=7.0)
    mask = nn.utils.rnn.pad_sequence([torch.ones(len(one)) for one in each], batch_first=True)
    return states, mask


@pytest.mark.parametrize(("dtype", "implementation"), [(torch.float64, "naive"), (torch.float32, "triton")])
def test_same_layers_then_projector_then_norm(dtype: torch.dtype, implementation: Any) -> None:
    theirs, proteins = evolla(dtype), pack_proteins(SEQUENCES)
    states_SE = torch.randn(sum(proteins.state_lengths), WIDTH, dtype=dtype)
    before: list[Tensor] = []
    theirs.protein_projector.register_forward_pre_hook(lambda _, inputs: before.extend(inputs))
    after = theirs(*padded(states_SE, proteins))
    with forced(implementation):
        pooled = ours_with(theirs.state_dict(), dtype)(states_SE, proteins)
    assert ran["ragged_cross_attention"].name == implementation
    assert relative_error(pooled, before[0]) < TOLERANCES[dtype]
    composed = theirs.norm(theirs.protein_projector(pooled))
    assert relative_error(composed, after) < TOLERANCES[dtype]
