"""Reading a published checkpoint: every tensor accounted for, every setting that would change an answer checked."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from protein2text.errors import MissingFile
from protein2text.models.model_config import BridgeConfig, LoraConfig
from protein2text.models.published_layout import (
    ADAPTER_SITE,
    ADAPTERS,
    LOOSE,
    SETTINGS,
    UNUSED_FAMILIES,
    PublishedFiles,
    check_shapes,
    infer_bridge,
    native_names,
    refused,
)
from protein2text.models.published_pickle import check_tensor, read_pickles

PLAIN_LORA: dict[str, Any] = {
    "peft_type": "LORA", "bias": "none", "use_dora": False, "use_rslora": False, "use_qalora": False,
    "lora_bias": False, "fan_in_fan_out": False, "rank_pattern": {}, "alpha_pattern": {}, "layers_to_transform": None,
    "layer_replication": None, "modules_to_save": None, "target_parameters": None, "trainable_token_indices": None,
    "alora_invocation_tokens": None,
}  # fmt: skip
"""Settings of an adapter that would change what it computes, with the value that means plain LoRA."""

SAME_AS_BASE = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "rms_norm_eps", "rope_theta", "rope_scaling",
)  # fmt: skip
"""Keys on which a published ``config.json`` and its base's must agree where both have them."""


@dataclass(frozen=True)
class Published:
    """A published checkpoint under the product's own names and configuration."""

    files: PublishedFiles
    bridge: BridgeConfig
    lora: LoraConfig
    bridge_state: dict[str, Tensor]
    """By own name, with all rows of the positions."""
    lora_state: dict[str, Tensor]
    layer: int
    dropped: list[str]
    """Published names of tensors of known families that nothing reads."""


def read_files(folder: Path) -> PublishedFiles:
    """Everything in a published folder, its pickles read apart and held against the allow-list.

    Raises:
        MissingFile: the folder or one of its files is not there.
        CorruptCheckpoint: a file cannot be read or holds what it may not, by name.
    """
    adapter_file = next((name for name in ADAPTERS if (folder / name).is_file()), ADAPTERS[0])
    for name in (*SETTINGS, LOOSE, adapter_file):
        if not (folder / name).is_file():
            remedy = f"A published checkpoint holds {', '.join(SETTINGS)}, {LOOSE} and {' or '.join(ADAPTERS)}."
            raise MissingFile(str(folder / name), "a part of a published checkpoint", remedy)
    settings = {}
    for name in SETTINGS:
        try:
            settings[name] = (folder / name).read_bytes().decode()
            if not isinstance(json.loads(settings[name]), dict):
                raise ValueError("it is no object")
        except ValueError as error:
            raise refused(str(folder), name, f"cannot be read as JSON ({error})") from None
    if adapter_file.endswith(".bin"):
        loose, adapter = read_pickles(folder / LOOSE, folder / adapter_file)
        return PublishedFiles(settings, loose, adapter, adapter_file, {})
    adapter, metadata = _read_safetensors(folder / adapter_file)
    return PublishedFiles(settings, read_pickles(folder / LOOSE)[0], adapter, adapter_file, metadata)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, "pt") as file:
            tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise refused(str(path.parent), path.name, f"cannot be read ({error})") from None
    for name, tensor in tensors.items():
        if problem := check_tensor(name, tensor):
            raise refused(str(path.parent), path.name, problem)
    return tensors, metadata or {}


def read_published(folder: Path, decoder: Path, encoder_width: int) -> Published:
    """A published checkpoint that fits its bases.

    Args:
        decoder: folder of the base.
        encoder_width: E of the encoder.

    Raises:
        MissingFile, CorruptCheckpoint: see `read_files`; a tensor or setting that does not fit is named.
    """
    folder = folder.expanduser()
    files = read_files(folder)
    config, arguments = files.read("config.json"), files.read("model_args.json")
    check_settings(str(folder), config, arguments, json.loads((decoder / "config.json").read_text()))
    names = native_names(list(files.loose))
    dropped = [name for name, own in names.items() if own.split(".")[0] in UNUSED_FAMILIES]
    state = {names[name]: tensor for name, tensor in files.loose.items() if name not in dropped}
    if len(state) + len(dropped) != len(files.loose):
        raise refused(str(folder), LOOSE, "two tensors have the same name once their prefixes are dropped")
    bridge = infer_bridge(state, arguments, str(folder))
    for what, given, wanted in (
        ("encoder", state["mm_resampler.latents"].shape[1], encoder_width),
        ("base", state["mm_projector.0.weight"].shape[0], decoder_width(decoder)),
    ):
        if given != wanted:
            raise refused(str(folder), LOOSE, f"the bridge wants a width of {given}, this {what} has {wanted}")
    lora = infer_lora(files, linear_shapes(decoder), str(folder))
    lora_state = {name.removeprefix(ADAPTER_SITE): tensor for name, tensor in files.adapter.items()}
    layer = config.get("mm_protein_select_layer", arguments.get("mm_protein_select_layer", -2))
    kept = replace(files, loose={name: tensor for name, tensor in files.loose.items() if name not in dropped})
    return Published(kept, bridge, lora, state, lora_state, layer, dropped)


def check_settings(folder: str, config: dict[str, Any], arguments: dict[str, Any], base: dict[str, Any]) -> None:
    """Refuse settings that ask for something this product does not compute, or for another base."""
    both = {**arguments, **config}
    wanted: dict[str, tuple[Any, ...]] = {
        "mm_use_resampler_gca": ("resampler", True), "mm_projector_type": ("mlp2x_gelu",),
        "mm_protein_select_feature": ("patch",), "mm_use_protein_start_end": (False, None),
    }  # fmt: skip
    for source in (config, arguments):
        for key, values in wanted.items():
            if key in source and source[key] not in values:
                file = "config.json" if source is config else "model_args.json"
                raise refused(folder, file, f"{key}={source[key]!r}; this program converts {values[0]!r} only")
    if not isinstance(both.get("mm_protein_select_layer", -2), int):
        raise refused(
            folder, "config.json", f"mm_protein_select_layer={both['mm_protein_select_layer']!r} is no number"
        )
    for key in SAME_AS_BASE:
        if key in config and key in base and config[key] != base[key]:
            problem = f"{key}={config[key]!r}, but the base's config.json says {base[key]!r}"
            raise refused(folder, "config.json", problem)


def infer_lora(files: PublishedFiles, linears: dict[str, tuple[int, int]], folder: str) -> LoraConfig:
    """Configuration of a plain LoRA adapter from its settings and tensors.

    Args:
        linears: output and input width of each linear layer of the base, by name.

    Raises:
        CorruptCheckpoint: no plain LoRA, or tensors that are not one pair per target in every layer.
    """
    settings = files.read("adapter_config.json")
    for key, plain in PLAIN_LORA.items():
        if key in settings and settings[key] != plain and (settings[key] or plain):
            raise refused(
                folder, "adapter_config.json", f"{key}={settings[key]!r}; only plain LoRA ({plain!r}) is read"
            )
    rank, alpha, listed = settings.get("r"), settings.get("lora_alpha"), settings.get("target_modules")
    if not isinstance(rank, int) or not isinstance(alpha, (int, float)) or alpha != int(alpha):
        raise refused(folder, "adapter_config.json", f"r={rank!r} and lora_alpha={alpha!r} must be whole numbers")
    ends = [".lora_A.weight", ".lora_B.weight"]
    sites = {name.removeprefix(ADAPTER_SITE)[: -len(ends[0])] for name in files.adapter}
    targets = sorted({site.rsplit(".", 1)[-1] for site in sites})
    if isinstance(listed, list) and sorted(listed) != targets:
        problem = f"target_modules are {sorted(listed)}, the tensors are of {targets}"
        raise refused(folder, files.adapter_file, problem)
    shapes: dict[str, list[int]] = {}
    for site, (out_width, in_width) in linears.items():
        if site.rsplit(".", 1)[-1] in targets:
            shapes[f"{ADAPTER_SITE}{site}{ends[0]}"] = [rank, in_width]
            shapes[f"{ADAPTER_SITE}{site}{ends[1]}"] = [out_width, rank]
    if not shapes:
        raise refused(folder, files.adapter_file, "no tensor of a low-rank adapter on this base")
    check_shapes(files.adapter, shapes, folder, files.adapter_file)
    order = listed if isinstance(listed, list) else targets
    return LoraConfig(
        rank=rank, alpha=int(alpha), dropout=settings.get("lora_dropout", 0.0), target_modules=tuple(order)
    )


def linear_shapes(decoder: Path) -> dict[str, tuple[int, int]]:
    """Output and input width of each linear layer of a decoder, by name, without its weights."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(decoder, local_files_only=True))
    return {
        name: (module.out_features, module.in_features)
        for name, module in model.named_modules() if isinstance(module, nn.Linear)
    }  # fmt: skip


def decoder_width(decoder: Path) -> int:
    """Width D of a decoder's embeddings, from its configuration."""
    return int(json.loads((decoder / "config.json").read_text())["hidden_size"])
