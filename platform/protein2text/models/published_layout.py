"""The published checkpoint layout: its files, its names, and what sizes its tensors imply.

Legend of shapes: K latents, E encoder width, I inner width (heads × channels), D decoder width, P position rows.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from protein2text.errors import CorruptCheckpoint
from protein2text.models.encoders import layer_of
from protein2text.models.model_config import BridgeConfig, LoraConfig, ModelConfig

LOOSE = "non_lora_trainables.bin"
ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin")
SETTINGS = ("config.json", "model_args.json", "adapter_config.json")
POSITIONS = "mm_resampler.media_pos_emb"
LOOSE_SITE = "base_model.model.model."
"""What stands before the names of bridge tensors in a published file."""
ADAPTER_SITE = "base_model.model."
DEFAULT_HEADS = 8

UNUSED_FAMILIES = {"mm_gated_cross_attention": "gated cross-attention, which a resampler checkpoint never runs"}
"""First parts of names that a published file may hold although nothing reads them."""


@dataclass(frozen=True)
class PublishedFiles:
    """What a folder of the published layout holds. Tensors carry their published names, in the file's order."""

    settings: dict[str, str]
    """Text of each JSON file, by file name."""
    loose: dict[str, Tensor]
    adapter: dict[str, Tensor]
    adapter_file: str = ADAPTERS[0]
    adapter_metadata: dict[str, str] = field(default_factory=lambda: {"format": "pt"})

    def read(self, name: str) -> dict[str, Any]:
        """A settings file as a mapping."""
        settings: dict[str, Any] = json.loads(self.settings[name])
        return settings


def write_published(folder: Path, files: PublishedFiles) -> None:
    """Write a folder in the published layout; the loose tensors, and an adapter in ``.bin``, are a pickle there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.settings.items():
        (folder / name).write_bytes(text.encode())
    torch.save({name: tensor.contiguous() for name, tensor in files.loose.items()}, folder / LOOSE)
    adapter = {name: tensor.contiguous() for name, tensor in files.adapter.items()}
    if files.adapter_file.endswith(".bin"):
        torch.save(adapter, folder / files.adapter_file)
    else:
        save_file(adapter, folder / files.adapter_file, metadata=files.adapter_metadata or None)


def native_name(name: str, site_is_doubled: bool) -> str:
    """A loose tensor's own name: ``base_model.`` goes, then ``model.`` once more where some name has it twice."""
    name = name.removeprefix("base_model.")
    return (name.removeprefix("model.") if site_is_doubled else name).removeprefix("model.")


def native_names(names: list[str]) -> dict[str, str]:
    """Own name of each published loose name."""
    doubled = any(name.removeprefix("base_model.").startswith("model.model.") for name in names)
    return {name: native_name(name, doubled) for name in names}


def bridge_shapes(bridge: BridgeConfig, width: int, decoder_width: int, position_rows: int) -> dict[str, list[int]]:
    """Shape of every bridge tensor, by own name, in the order in which the modules declare them."""
    inner, hidden = bridge.num_heads * bridge.head_dim, width * bridge.feed_forward_multiple
    shapes = {"mm_resampler.latents": [bridge.num_latents, width], POSITIONS: [position_rows, 1, width]}
    for layer in range(bridge.depth):
        at, forward = f"mm_resampler.layers.{layer}.0", f"mm_resampler.layers.{layer}.1"
        for norm in ("norm_media", "norm_latents"):
            shapes |= {f"{at}.{norm}.{part}": [width] for part in ("weight", "bias")}
        shapes |= {f"{at}.to_q.weight": [inner, width], f"{at}.to_kv.weight": [2 * inner, width]}
        shapes |= {f"{at}.to_out.weight": [width, inner]}
        shapes |= {f"{forward}.0.{part}": [width] for part in ("weight", "bias")}
        shapes |= {f"{forward}.1.weight": [hidden, width], f"{forward}.3.weight": [width, hidden]}
    shapes |= {f"mm_resampler.norm.{part}": [width] for part in ("weight", "bias")}
    shapes |= {"mm_projector.0.weight": [decoder_width, width], "mm_projector.0.bias": [decoder_width]}
    return shapes | {"mm_projector.2.weight": [decoder_width, decoder_width], "mm_projector.2.bias": [decoder_width]}


def infer_bridge(bridge: dict[str, Tensor], arguments: dict[str, Any], folder: str) -> BridgeConfig:
    """Sizes of a bridge from its tensors' shapes; only the number of heads is told by ``model_args.json``.

    Raises:
        CorruptCheckpoint: a tensor is missing, unexpected or misshapen, by name, or the heads do not fit.
    """
    layers = [int(match[1]) for name in bridge if (match := re.match(r"mm_resampler\.layers\.(\d+)\.", name))]
    probe = BridgeConfig(depth=max(layers, default=0) + 1)
    wanted = bridge_shapes(probe, 1, 1, 1)
    odd = [f"missing {name}" for name in wanted if name not in bridge]
    odd += [f"unexpected {name}" for name in bridge if name not in wanted]
    if odd:
        raise refused(folder, LOOSE, "; ".join(odd[:5]))
    (latents, width), heads = bridge["mm_resampler.latents"].shape, arguments.get("perceiver_heads", DEFAULT_HEADS)
    inner = bridge["mm_resampler.layers.0.0.to_q.weight"].shape[0]
    hidden = bridge["mm_resampler.layers.0.1.1.weight"].shape[0]
    if not isinstance(heads, int) or heads < 1 or inner % heads:
        raise refused(folder, "model_args.json", f"perceiver_heads={heads!r} does not divide the inner width {inner}")
    if hidden % width:
        problem = f"mm_resampler.layers.0.1.1.weight has {hidden} rows, no whole multiple of the width {width}"
        raise refused(folder, LOOSE, problem)
    config = BridgeConfig(
        num_latents=latents, depth=probe.depth, num_heads=heads, head_dim=inner // heads,
        feed_forward_multiple=hidden // width,
    )  # fmt: skip
    decoder_width = bridge["mm_projector.0.weight"].shape[0]
    check_shapes(bridge, bridge_shapes(config, width, decoder_width, bridge[POSITIONS].shape[0]), folder, LOOSE)
    return config


def check_shapes(given: dict[str, Tensor], wanted: dict[str, list[int]], folder: str, file: str) -> None:
    """Refuse tensors that are missing, unexpected or misshapen, by name."""
    odd = [f"missing {name}" for name in wanted if name not in given]
    odd += [f"unexpected {name}" for name in given if name not in wanted]
    odd += [
        f"{name} is {tuple(given[name].shape)}, expected {tuple(shape)}"
        for name, shape in wanted.items() if name in given and list(given[name].shape) != shape
    ]  # fmt: skip
    if odd:
        raise refused(folder, file, "; ".join(odd[:5]))


def published_settings(config: ModelConfig, decoder: dict[str, Any], encoder_width: int) -> dict[str, str]:
    """The three JSON files for a model of our own.

    Args:
        decoder: the base's ``config.json``.
    """
    encoder = config.encoder.source.rstrip("/").split("/")[-1].removeprefix("preset:")
    shared = {
        "mm_use_resampler_gca": "resampler", "mm_hidden_size": encoder_width, "mm_projector_type": "mlp2x_gelu",
        "mm_protein_select_layer": layer_of(config.encoder), "mm_protein_select_feature": "patch",
    }  # fmt: skip
    main = {
        **decoder, "architectures": ["LlavaLlamaForCausalLM"], "model_type": "llava_llama",
        "mm_protein_encoder": f"facebook/{encoder}", "use_mm_proj": True, "tokenizer_model_max_length": 2048,
        "tokenizer_padding_side": "right", "mm_use_protein_start_end": False, "mm_use_protein_segment_token": False,
        **shared,
    }  # fmt: skip
    arguments = {
        **shared, "pretrain_mm_resampler": None, "pretrain_mm_gated_cross_attention": None,
        "llm_hidden_size": decoder["hidden_size"], "perceiver_heads": config.bridge.num_heads,
        "perceiver_depth": config.bridge.depth, "dim_attention_head": config.bridge.head_dim,
        "num_media_tokens": config.bridge.num_latents, "ff_mult": config.bridge.feed_forward_multiple,
        "protein_encoder": f"facebook/{encoder}",
    }  # fmt: skip
    texts = (main, arguments, adapter_settings(config.decoder.lora, config.decoder.source))
    return {name: json.dumps(values, indent=2) for name, values in zip(SETTINGS, texts, strict=True)}


def adapter_settings(lora: LoraConfig, base: str) -> dict[str, Any]:
    """``adapter_config.json`` of plain LoRA, as peft reads it."""
    return {
        "alpha_pattern": {}, "auto_mapping": None, "base_model_name_or_path": base, "bias": "none",
        "fan_in_fan_out": False, "inference_mode": True, "init_lora_weights": True, "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout, "modules_to_save": None, "peft_type": "LORA", "r": lora.rank, "rank_pattern": {},
        "target_modules": list(lora.target_modules), "task_type": "CAUSAL_LM", "use_dora": False, "use_rslora": False,
    }  # fmt: skip


def refused(folder: str, file: str, problem: str) -> CorruptCheckpoint:
    """The error for a published checkpoint that is not what the layout says."""
    return CorruptCheckpoint(folder, file, problem, "Use a checkpoint of the published layout, whole and unchanged.")
