"""The bridge on a checkpoint in the published layout, against an independent plain implementation."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from protein2text.models.batches import ProteinBatch, pack_proteins
from protein2text.models.bridge import Resampler, build_projector
from protein2text.models.model_config import BridgeConfig
from tests.models.conftest import random_sequence, relative_error

WIDTH, DECODER_WIDTH = 24, 20
CONFIG = BridgeConfig(num_latents=7, depth=3, num_heads=2, head_dim=6, feed_forward_multiple=3)
SIZES = [
    CONFIG,
    BridgeConfig(num_latents=1, depth=1, num_heads=1, head_dim=4, feed_forward_multiple=1),
    BridgeConfig(num_latents=33, depth=2, num_heads=3, head_dim=128, feed_forward_multiple=5),
]
PREFIX = "base_model.model.model."


def published_checkpoint(config: BridgeConfig) -> dict[str, Tensor]:
    """Random tensors under the names and shapes of a published ``non_lora_trainables.bin``, float64."""
    inner, hidden = config.num_heads * config.head_dim, WIDTH * config.feed_forward_multiple
    shapes: dict[str, tuple[int, ...]] = {"latents": (config.num_latents, WIDTH), "media_pos_emb": (1, 1, WIDTH)}
    for layer in range(config.depth):
        at, ff = f"layers.{layer}.0", f"layers.{layer}.1"
        for norm in (f"{at}.norm_media", f"{at}.norm_latents", f"{ff}.0"):
            shapes |= {f"{norm}.weight": (WIDTH,), f"{norm}.bias": (WIDTH,)}
        shapes |= {f"{at}.to_q.weight": (inner, WIDTH), f"{at}.to_kv.weight": (2 * inner, WIDTH)}
        shapes |= {
            f"{at}.to_out.weight": (WIDTH, inner),
            f"{ff}.1.weight": (hidden, WIDTH),
            f"{ff}.3.weight": (WIDTH, hidden),
        }
    shapes |= {"norm.weight": (WIDTH,), "norm.bias": (WIDTH,)}
    projector = {"0.weight": (DECODER_WIDTH, WIDTH), "0.bias": (DECODER_WIDTH,)}
    projector |= {"2.weight": (DECODER_WIDTH, DECODER_WIDTH), "2.bias": (DECODER_WIDTH,)}
    generator = torch.Generator().manual_seed(3)
    names = {f"mm_resampler.{name}": shape for name, shape in shapes.items()}
    names |= {f"mm_projector.{name}": shape for name, shape in projector.items()}
    tensors = {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in names.items()}
    # Matrices at the scale of trained ones: a saturated softmax has gradients that are rounding errors.
    scales = {
        name: shape[-1] ** -0.5 if name.endswith("weight") and len(shape) > 1 else 1.0 for name, shape in names.items()
    }
    return {f"{PREFIX}{name}": tensor * scales[name] for name, tensor in tensors.items()}


def plain(config: BridgeConfig, tensors: dict[str, Tensor], states_RE: Tensor) -> Tensor:
    """One protein, one head at a time, from the formulas of the paper's method section; ``(K, D)``."""
    get = lambda name: tensors[f"{PREFIX}mm_resampler.{name}"]  # noqa: E731
    norm = lambda rows, name: F.layer_norm(rows, (WIDTH,), get(f"{name}.weight"), get(f"{name}.bias"))  # noqa: E731
    media = states_RE + get("media_pos_emb")[0]
    latents = get("latents")
    size = config.head_dim
    for layer in range(config.depth):
        at, ff = f"layers.{layer}.0", f"layers.{layer}.1"
        normed = norm(latents, f"{at}.norm_latents")
        both = torch.cat([norm(media, f"{at}.norm_media"), normed])
        queries, (keys, values) = (
            normed @ get(f"{at}.to_q.weight").T,
            (both @ get(f"{at}.to_kv.weight").T).chunk(2, dim=-1),
        )
        heads = []
        for head in range(config.num_heads):
            part = slice(head * size, (head + 1) * size)
            heads.append(torch.softmax(queries[:, part] @ keys[:, part].T / size**0.5, dim=-1) @ values[:, part])
        latents = latents + torch.cat(heads, dim=-1) @ get(f"{at}.to_out.weight").T
        hidden = norm(latents, f"{ff}.0") @ get(f"{ff}.1.weight").T
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
        latents = latents + hidden @ get(f"{ff}.3.weight").T
    project = lambda name: tensors[f"{PREFIX}mm_projector.{name}"]  # noqa: E731
    hidden = norm(latents, "norm") @ project("0.weight").T + project("0.bias")
    return (hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))) @ project("2.weight").T + project("2.bias")


def loaded(config: BridgeConfig, tensors: dict[str, Tensor]) -> tuple[Resampler, torch.nn.Sequential]:
    resampler, projector = Resampler(WIDTH, config).double(), build_projector(WIDTH, DECODER_WIDTH).double()
    for module, name in ((resampler, "mm_resampler."), (projector, "mm_projector.")):
        module.load_state_dict(
            {key.removeprefix(PREFIX + name): tensors[key] for key in tensors if name in key}, strict=True
        )
    return resampler, projector


def ragged(lengths: tuple[int, ...]) -> tuple[ProteinBatch, Tensor]:
    proteins = pack_proteins([random_sequence(length, seed) for seed, length in enumerate(lengths)])
    return proteins, torch.randn(
        sum(proteins.state_lengths), WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(9)
    )


@pytest.mark.parametrize("lengths", [(1,), (63, 2, 1), (130, 64, 64, 5)])
@pytest.mark.parametrize("config", SIZES, ids=lambda config: f"{config.num_latents}x{config.head_dim}")
def test_published_tensors_give_the_plain_implementations_outputs_and_gradients(
    config: BridgeConfig, lengths: tuple[int, ...]
) -> None:
    tensors = published_checkpoint(config)
    resampler, projector = loaded(config, tensors)
    proteins, states = ragged(lengths)
    ours = projector(resampler(states, proteins))
    weights = torch.randn(ours.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    (ours * weights).sum().backward()

    leaves = {name: tensor.clone().requires_grad_() for name, tensor in tensors.items()}
    theirs = torch.stack([plain(config, leaves, part) for part in states.split(list(proteins.state_lengths))])
    (theirs * weights).sum().backward()
    assert relative_error(ours, theirs) < 1e-12
    modules = {f"{PREFIX}mm_resampler.": resampler, f"{PREFIX}mm_projector.": projector}
    for prefix, module in modules.items():
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None
            assert relative_error(parameter.grad, leaves[prefix + name].grad) < 1e-12, name


def test_latents_do_not_depend_on_the_batch() -> None:
    resampler, _ = loaded(CONFIG, published_checkpoint(CONFIG))
    proteins, states = ragged((90, 33, 1))
    together = resampler(states, proteins)
    for number, (length, part) in enumerate(zip((90, 33, 1), states.split(list(proteins.state_lengths)), strict=True)):
        alone = resampler(part, pack_proteins([random_sequence(length, 0)]))
        assert relative_error(together[number], alone[0]) < 1e-12
