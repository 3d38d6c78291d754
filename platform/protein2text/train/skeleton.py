"""A run's model as shapes alone, on torch's meta device: every parameter has its true size and none has values.

Counts and memory estimates come from it in seconds, before any weights are downloaded or loaded.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import inject_adapter_in_model
from torch import nn
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    LlamaConfig,
    PretrainedConfig,
)

from protein2text.errors import MissingWeights
from protein2text.models.attention import PACKED
from protein2text.models.bridge import Bridge
from protein2text.models.decoder import check_lora_targets, peft_config
from protein2text.models.encoder import Encoder, EncoderShape
from protein2text.models.encoders import build_encoder, layer_of, size_of
from protein2text.models.model_config import DecoderConfig, EncoderConfig, ModelConfig
from protein2text.models.sources import PRESETS
from protein2text.train.stage_config import Stage

DECODERS: dict[str, dict[str, Any]] = {
    "meta-llama/Llama-3.1-8B-Instruct": {
        "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": False,
    },
    "HuggingFaceTB/SmolLM2-360M-Instruct": {
        "hidden_size": 960, "intermediate_size": 2560, "num_hidden_layers": 32, "num_attention_heads": 15,
        "num_key_value_heads": 5, "vocab_size": 49152, "tie_word_embeddings": True,
    },
}  # fmt: skip
"""Published sizes of the presets' decoders, all of LLaMA's architecture: they can be counted without the hub."""


@dataclass(frozen=True)
class Skeleton:
    """The parts of a model, on the meta device, those of a stage trainable and in float32."""

    encoder: Any
    bridge: Bridge
    language_model: Any

    def counts(self) -> dict[str, "PartCount"]:
        """Parameters per part, in the order in which data passes them."""
        parts: dict[str, list[nn.Parameter]] = {"encoder": list(self.encoder.parameters())}
        for name, parameter in self.bridge.named_parameters():
            parts.setdefault(name.split(".")[0].removeprefix("mm_").replace("_", " "), []).append(parameter)
        for name, parameter in self.language_model.named_parameters():
            parts.setdefault("LoRA" if "lora_" in name else "decoder", []).append(parameter)
        return {name: PartCount.of(parameters) for name, parameters in parts.items()}


@dataclass(frozen=True)
class PartCount:
    """Parameters of one part of a model."""

    trained: int
    frozen: int
    num_bytes: int

    @classmethod
    def of(cls, parameters: list[nn.Parameter]) -> "PartCount":
        trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
        total = sum(parameter.numel() for parameter in parameters)
        return cls(trained, total - trained, sum(parameter.nbytes for parameter in parameters))


def skeleton(config: ModelConfig, stage: Stage, *, num_layers: int | None = None) -> Skeleton:
    """The stage's model without weights.

    Args:
        config: the model; a base's size comes from its ``config.json``, or from what is published of a hub id.
        stage: which parts train.
        num_layers: of the decoder, if not all.

    Raises:
        MissingWeights: a base whose sizes cannot be found, or of an architecture that is not its part's.
        ConfigError: a layer that the encoder does not have, or an adapter's target that the decoder does not have.
    """
    encoder = _encoder(config.encoder)
    shape = _decoder_shape(config.decoder)
    if num_layers is not None:
        shape.num_hidden_layers = num_layers
        if getattr(shape, "layer_types", None):
            shape.layer_types = shape.layer_types[:num_layers]
    with torch.device("meta"):
        language_model = AutoModelForCausalLM.from_config(
            shape, dtype=getattr(torch, config.decoder.dtype), attn_implementation=PACKED
        )
        bridge = Bridge(config.bridge, encoder.width, shape.hidden_size)
        encoder.requires_grad_(False)
        language_model.requires_grad_(False)
        if stage == "instruction":
            check_lora_targets(config.decoder.lora, language_model)
            inject_adapter_in_model(peft_config(config.decoder.lora), language_model)
            for name, parameter in language_model.named_parameters():
                if "lora_" in name:
                    parameter.data = parameter.data.float()
                    parameter.requires_grad_(True)
    return Skeleton(encoder, bridge, language_model)


def _encoder(config: EncoderConfig) -> Any:
    """ESM-2 by its shape; an encoder of another family is loaded, for nothing else tells its size."""
    shape = _encoder_shape(config) if config.family == "esm2" else None
    if shape is None:
        return build_encoder(config)
    with torch.device("meta"):
        return Encoder(shape, layer=layer_of(config)).to(getattr(torch, config.dtype))


def _encoder_shape(config: EncoderConfig) -> EncoderShape | None:
    path = _local(config.source) / "config.json"
    if not path.is_file():
        size = size_of(config)
        return EncoderShape(size.width, size.num_layers, size.num_heads, 4 * size.width) if size else None
    remedy = "Give an ESM-2, or name its family in encoder.family."
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["model_type"] == "esm":
            names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
            return EncoderShape(*(raw[name] for name in names))
    except (ValueError, KeyError, TypeError) as error:
        raise MissingWeights(config.source, f"its config.json is no ESM-2's ({error!r})", remedy) from None
    raise MissingWeights(config.source, f"its config.json is that of {raw['model_type']!r}, not of ESM-2", remedy)


def _decoder_shape(config: DecoderConfig) -> PretrainedConfig:
    folder = _local(config.source)
    here = (folder / "config.json").is_file()
    if not here and config.source in DECODERS:
        return LlamaConfig(**DECODERS[config.source])
    try:
        shape: PretrainedConfig = AutoConfig.from_pretrained(
            folder if here else config.source, revision=None if here else config.revision, local_files_only=here
        )
    except (OSError, ValueError) as error:
        remedy = "Give a local folder, or a hub id that can be reached."
        raise MissingWeights(config.source, f"its config.json cannot be read ({error})", remedy) from None
    if type(shape) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        problem = f"its config.json is that of {shape.model_type!r}, which writes no text"
        raise MissingWeights(config.source, problem, "Give a causal language model.")
    return shape


def _local(source: str) -> Path:
    return PRESETS / source.removeprefix("preset:") if source.startswith("preset:") else Path(source).expanduser()
