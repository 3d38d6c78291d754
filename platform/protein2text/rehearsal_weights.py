"""Random checkpoints of a preset's true shapes: an ESM-2, a LLaMA with its tokenizer, and a published adapter on both.

Nothing of the gated weights is needed. Files are written layer by layer, so memory stays at one layer's.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from protein2text.errors import ConfigError
from protein2text.models.conversion import new_files
from protein2text.models.model_config import BridgeConfig, LoraConfig, ModelConfig
from protein2text.models.published import linear_shapes
from protein2text.models.published_layout import POSITIONS, bridge_shapes, write_published
from protein2text.models.sources import PRESETS

STD = 0.02


@dataclass(frozen=True)
class Shapes:
    """Sizes of a rehearsal's two bases."""

    encoder_layers: int
    encoder_heads: int
    encoder_head_dim: int
    layers: int
    heads: int
    groups: int
    head_dim: int
    feed_forward: int
    vocabulary: int
    tied: bool = False
    llama3_positions: bool = False

    @property
    def encoder_width(self) -> int:
        return self.encoder_heads * self.encoder_head_dim

    @property
    def width(self) -> int:
        return self.heads * self.head_dim

    def scaled(self, scale: float) -> "Shapes":
        """Fewer layers and heads, narrower feed-forward and smaller vocabulary; heads keep their size."""

        def less(number: int, least: int = 2) -> int:
            return max(min(least, number), round(number * scale))

        groups = less(self.groups, 1)
        return replace(
            self, encoder_layers=less(self.encoder_layers), encoder_heads=less(self.encoder_heads),
            layers=less(self.layers), groups=groups, heads=groups * (self.heads // self.groups),
            feed_forward=less(self.feed_forward, 64), vocabulary=less(self.vocabulary, 1024),
        )  # fmt: skip


_LLAMA_8B: dict[str, Any] = {
    "layers": 32, "heads": 32, "groups": 8, "head_dim": 128, "feed_forward": 14336, "vocabulary": 128256,
    "llama3_positions": True,
}  # fmt: skip
SHAPES = {
    "protein2text-8b": Shapes(encoder_layers=33, encoder_heads=20, encoder_head_dim=64, **_LLAMA_8B),
    "protein2text-8b-esm2-3b": Shapes(encoder_layers=36, encoder_heads=40, encoder_head_dim=64, **_LLAMA_8B),
    "starter": Shapes(6, 20, 16, layers=32, heads=15, groups=5, head_dim=64, feed_forward=2560, vocabulary=49152),
}
"""True shapes of the presets whose weights come from the hub."""


def shapes_of(preset: str, scale: float) -> Shapes:
    """Shapes of a preset, scaled.

    Raises:
        ConfigError: the preset has none, or the scale is not in (0, 1].
    """
    if preset not in SHAPES:
        raise ConfigError("rehearse", "--preset", f"{preset!r} has no shapes; choose one of {', '.join(SHAPES)}")
    if not 0 < scale <= 1:
        raise ConfigError("rehearse", "--scale", f"{scale:g} is not above 0 and at most 1")
    return SHAPES[preset] if scale == 1 else SHAPES[preset].scaled(scale)


def write_encoder(folder: Path, shapes: Shapes, seed: int) -> None:
    """A random ESM-2 in the Hugging Face layout, float32."""
    width, make = shapes.encoder_width, _Random(seed, torch.float32)
    config = {
        "architectures": ["EsmModel"], "model_type": "esm", "hidden_size": width, "vocab_size": 33,
        "num_hidden_layers": shapes.encoder_layers, "num_attention_heads": shapes.encoder_heads,
        "intermediate_size": 4 * width, "position_embedding_type": "rotary", "emb_layer_norm_before": False,
        "token_dropout": True, "layer_norm_eps": 1e-5, "mask_token_id": 32, "pad_token_id": 1,
    }  # fmt: skip
    norms = ("attention.LayerNorm", "LayerNorm")
    linears = {f"attention.self.{name}": (width, width) for name in ("query", "key", "value")}
    linears |= {"attention.output.dense": (width, width), "intermediate.dense": (4 * width, width)}
    linears["output.dense"] = (width, 4 * width)

    def shards() -> Iterator[dict[str, Tensor]]:
        yield {"embeddings.word_embeddings.weight": make(33, width)}
        for layer in range(shapes.encoder_layers):
            at = f"encoder.layer.{layer}."
            shard: dict[str, Tensor] = {}
            for name in norms:
                shard |= {f"{at}{name}.weight": make.ones(width), f"{at}{name}.bias": make(width)}
            for name, (out, size) in linears.items():
                shard |= {f"{at}{name}.weight": make(out, size), f"{at}{name}.bias": make(out)}
            yield shard
        last = "encoder.emb_layer_norm_after."
        yield {f"{last}weight": make.ones(width), f"{last}bias": make(width)}

    _write(folder, config, shards(), shapes.encoder_layers + 2)


def write_decoder(folder: Path, shapes: Shapes, seed: int) -> None:
    """A random LLaMA in bfloat16, with the tiny preset's tokenizer filled up to its vocabulary."""
    width, kv, make = shapes.width, shapes.groups * shapes.head_dim, _Random(seed, torch.bfloat16)
    names = _write_tokenizer(folder, shapes.vocabulary)
    scaling = {
        "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    }  # fmt: skip
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": width,
        "intermediate_size": shapes.feed_forward, "num_hidden_layers": shapes.layers, "hidden_act": "silu",
        "num_attention_heads": shapes.heads, "num_key_value_heads": shapes.groups, "head_dim": shapes.head_dim,
        "vocab_size": shapes.vocabulary, "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "attention_bias": False,
        "rope_scaling": scaling if shapes.llama3_positions else None, "max_position_embeddings": 131072,
        "tie_word_embeddings": shapes.tied, "torch_dtype": "bfloat16", "mlp_bias": False,
        "bos_token_id": names["<|begin_of_text|>"], "eos_token_id": names["<|eot_id|>"],
    }  # fmt: skip
    stops = [names[name] for name in ("<|end_of_text|>", "<|eot_id|>", "<|finetune_right_pad_id|>")]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": stops}))
    linears = {"self_attn.q_proj": (width, width), "self_attn.k_proj": (kv, width), "self_attn.v_proj": (kv, width)}
    linears |= {"self_attn.o_proj": (width, width), "mlp.gate_proj": (shapes.feed_forward, width)}
    linears |= {"mlp.up_proj": (shapes.feed_forward, width), "mlp.down_proj": (width, shapes.feed_forward)}

    def shards() -> Iterator[dict[str, Tensor]]:
        yield {"model.embed_tokens.weight": make(shapes.vocabulary, width), "model.norm.weight": make.ones(width)}
        for layer in range(shapes.layers):
            at = f"model.layers.{layer}."
            shard = {f"{at}{name}.weight": make(*sizes) for name, sizes in linears.items()}
            for name in ("input_layernorm", "post_attention_layernorm"):
                shard[f"{at}{name}.weight"] = make.ones(width)
            yield shard
        if not shapes.tied:
            yield {"lm_head.weight": make(shapes.vocabulary, width)}

    _write(folder, config, shards(), shapes.layers + (1 if shapes.tied else 2))


def write_checkpoint(folder: Path, config: ModelConfig, decoder: Path, encoder_width: int, seed: int) -> None:
    """A random bridge and adapter in the published layout."""
    make, base = _Random(seed, torch.bfloat16), json.loads((decoder / "config.json").read_text())
    shapes = bridge_shapes(config.bridge, encoder_width, base["hidden_size"], 1)
    bridge = {name: _bridge_tensor(name, shape, make) for name, shape in shapes.items()}
    adapter: dict[str, Tensor] = {}
    for site, (out, size) in linear_shapes(decoder).items():
        if site.rsplit(".", 1)[-1] in config.decoder.lora.target_modules:
            adapter[f"{site}.lora_A.weight"] = make(config.decoder.lora.rank, size)
            adapter[f"{site}.lora_B.weight"] = make(out, config.decoder.lora.rank)
    write_published(folder, new_files(config, base, bridge, adapter, num_positions=base["hidden_size"]))


def _bridge_tensor(name: str, shape: list[int], make: "_Random") -> Tensor:
    is_norm = len(shape) == 1 and name.endswith(".weight")
    scale = 1.0 if name == POSITIONS or name.endswith("latents") else STD
    return make.ones(*shape) if is_norm else make(*shape) * (scale / STD)


class _Random:
    """Random tensors of one dtype from one seed."""

    def __init__(self, seed: int, dtype: torch.dtype) -> None:
        self.generator, self.dtype = torch.Generator().manual_seed(seed), dtype

    def __call__(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=self.dtype) * STD

    def ones(self, *shape: int) -> Tensor:
        return torch.ones(shape, dtype=self.dtype)


def _write(folder: Path, config: dict[str, Any], shards: Iterator[dict[str, Tensor]], count: int) -> None:
    """Write shards as they come, then their index and the configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    places: dict[str, str] = {}
    num_bytes = 0
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{count:05d}.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(shard, file)
        num_bytes += sum(tensor.nbytes for tensor in shard.values())
    index = {"metadata": {"total_size": num_bytes}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(config, indent=2))


def _write_tokenizer(folder: Path, num_tokens: int) -> dict[str, int]:
    """The tiny preset's tokenizer, grown to a size with tokens that no text gives; ids of its control tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    source = PRESETS / "tiny" / "llama"
    for name in ("tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(source / name, folder / name)
    tokens = json.loads((source / "tokenizer.json").read_text())
    added = {token["content"]: token["id"] for token in tokens["added_tokens"]}
    begin = 1 + max(*tokens["model"]["vocab"].values(), *added.values())
    tokens["model"]["vocab"] |= {f"\u241f{number}": number for number in range(begin, num_tokens)}
    bos = "<|begin_of_text|>"
    tokens["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {bos: {"id": bos, "ids": [added[bos]], "tokens": [bos]}},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokens))
    return added


def scaled_parts(bridge: BridgeConfig, lora: LoraConfig, scale: float) -> tuple[BridgeConfig, LoraConfig]:
    """The preset's bridge and adapter, smaller where the bases are."""
    if scale == 1:
        return bridge, lora
    latents, rank = max(4, round(bridge.num_latents * scale)), max(2, round(lora.rank * scale))
    return bridge.model_copy(update={"num_latents": latents}), lora.model_copy(update={"rank": rank})
