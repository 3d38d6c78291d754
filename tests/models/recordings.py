"""Folders as the golden one, of any shape: random checkpoints in the published layout, recorded by the plain oracle."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from protein2text.models.sources import PRESETS
from tests.models.conftest import random_sequence
from tests.models.plain_reference import PlainReference

STAGES = ("residue_states", "latents", "projected", "last_logits")
QUESTIONS = (
    "What is the function of this protein?",
    "Can it bind zinc , or isn 't that known ?\nAnswer briefly.",
    "Où se trouve-t-elle?",
)


@dataclass(frozen=True)
class Shape:
    """Sizes of a random checkpoint; every one may differ from every other."""

    encoder_layers: int = 4
    encoder_heads: int = 4
    encoder_width: int = 32
    layers: int = 2
    heads: int = 4
    groups: int = 2
    head_dim: int = 16
    feed_forward: int = 128
    rope_scaling: dict[str, Any] | None = None
    extra_rows: int = 0
    tied: bool = False
    depth: int = 2
    bridge_heads: int = 4
    bridge_head_dim: int = 8
    multiple: int = 2
    num_latents: int = 16
    states_heads: bool = True
    """Whether ``model_args.json`` tells the number of heads."""
    rank: int = 8
    alpha: int = 2
    adapter: str = "adapter_model.safetensors"
    adapter_dtype: torch.dtype = torch.float32
    bridge_dtype: torch.dtype = torch.bfloat16
    prefix: str = ""
    """What stands before the encoder's names."""
    lengths: tuple[int, ...] = (1, 17, 130)
    num_tokens: int = 12
    std: float = 0.12

    @property
    def width(self) -> int:
        return self.heads * self.head_dim


LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip


BOS = "<|begin_of_text|>"
BEGINS = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": BOS, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
}
"""Llama's tokenizer puts a BOS before whatever it encodes; the tiny preset's leaves that to the chat template."""


class Random:
    """Random tensors from one seed."""

    def __init__(self, seed: int, std: float) -> None:
        self.generator, self.std = torch.Generator().manual_seed(seed), std

    def __call__(self, *shape: int, mean: float = 0.0, dtype: torch.dtype = torch.float32) -> Tensor:
        return (mean + self.std * torch.randn(shape, generator=self.generator)).to(dtype)


def write_base(folder: Path, shape: Shape, seed: int) -> dict[str, Any]:
    """A LLaMA in bfloat16 with the tiny preset's tokenizer; its ``config.json``."""
    folder.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"):
        if (PRESETS / "tiny" / "llama" / name).is_file():
            shutil.copy(PRESETS / "tiny" / "llama" / name, folder / name)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "clean_up_tokenization_spaces": True}))
    tokens = json.loads((folder / "tokenizer.json").read_text())
    begin = next(token["id"] for token in tokens["added_tokens"] if token["content"] == "<|begin_of_text|>")
    tokens["post_processor"] = {**BEGINS, "special_tokens": {BOS: {"id": BOS, "ids": [begin], "tokens": [BOS]}}}
    (folder / "tokenizer.json").write_text(json.dumps(tokens))
    names = {**tokens["model"]["vocab"], **{token["content"]: token["id"] for token in tokens["added_tokens"]}}
    rows, width, make = max(names.values()) + 1 + shape.extra_rows, shape.width, Random(seed, shape.std)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": width, "vocab_size": rows,
        "intermediate_size": shape.feed_forward, "num_hidden_layers": shape.layers, "hidden_act": "silu",
        "num_attention_heads": shape.heads, "num_key_value_heads": shape.groups, "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0, "rope_scaling": shape.rope_scaling, "max_position_embeddings": 2048,
        "tie_word_embeddings": shape.tied, "torch_dtype": "bfloat16", "bos_token_id": names["<|begin_of_text|>"],
        "eos_token_id": names["<|eot_id|>"], "attention_bias": False, "mlp_bias": False,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    kv = shape.groups * shape.head_dim
    tensors = {"model.embed_tokens.weight": make(rows, width), "model.norm.weight": make(width, mean=1.0)}
    for layer in range(shape.layers):
        at = f"model.layers.{layer}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{at}{norm}.weight"] = make(width, mean=1.0)
        for name, out in (("q_proj", width), ("k_proj", kv), ("v_proj", kv), ("o_proj", width)):
            tensors[f"{at}self_attn.{name}.weight"] = make(out, width)
        for name in ("gate_proj", "up_proj"):
            tensors[f"{at}mlp.{name}.weight"] = make(shape.feed_forward, width)
        tensors[f"{at}mlp.down_proj.weight"] = make(width, shape.feed_forward)
    if not shape.tied:
        tensors["lm_head.weight"] = make(rows, width)
    tensors = {name: tensor.bfloat16() for name, tensor in tensors.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return config


def write_encoder(folder: Path, shape: Shape, seed: int) -> None:
    """An ESM-2 in float32."""
    folder.mkdir(parents=True)
    width, make = shape.encoder_width, Random(seed, shape.std)
    config = {
        "architectures": ["EsmModel"], "model_type": "esm", "hidden_size": width, "vocab_size": 33,
        "num_hidden_layers": shape.encoder_layers, "num_attention_heads": shape.encoder_heads,
        "intermediate_size": 4 * width, "position_embedding_type": "rotary", "emb_layer_norm_before": False,
        "token_dropout": True, "layer_norm_eps": 1e-5, "mask_token_id": 32, "pad_token_id": 1,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    tensors = {"embeddings.word_embeddings.weight": make(33, width)}
    for layer in range(shape.encoder_layers):
        at = f"encoder.layer.{layer}."
        for norm in ("attention.LayerNorm", "LayerNorm"):
            tensors |= {f"{at}{norm}.weight": make(width, mean=1.0), f"{at}{norm}.bias": make(width)}
        sizes = {f"attention.self.{name}": (width, width) for name in ("query", "key", "value")}
        sizes |= {"attention.output.dense": (width, width), "intermediate.dense": (4 * width, width)}
        for name, (out, size) in {**sizes, "output.dense": (width, 4 * width)}.items():
            tensors |= {f"{at}{name}.weight": make(out, size), f"{at}{name}.bias": make(out)}
    for part, mean in (("weight", 1.0), ("bias", 0.0)):
        tensors[f"encoder.emb_layer_norm_after.{part}"] = make(width, mean=mean)
    save_file({shape.prefix + name: tensor for name, tensor in tensors.items()}, folder / "model.safetensors")


def bridge_tensors(shape: Shape, seed: int) -> dict[str, Tensor]:
    """What ``non_lora_trainables.bin`` holds, under its names."""
    width, out, make = shape.encoder_width, shape.width, Random(seed, shape.std)
    inner, hidden = shape.bridge_heads * shape.bridge_head_dim, shape.multiple * width
    resampler = {"latents": make(shape.num_latents, width), "media_pos_emb": make(out, 1, width)}
    for layer in range(shape.depth):
        at, forward = f"layers.{layer}.0.", f"layers.{layer}.1."
        for norm in (f"{at}norm_media", f"{at}norm_latents", f"{forward}0"):
            resampler |= {f"{norm}.weight": make(width, mean=1.0), f"{norm}.bias": make(width)}
        resampler |= {f"{at}to_q.weight": make(inner, width), f"{at}to_kv.weight": make(2 * inner, width)}
        resampler |= {f"{at}to_out.weight": make(width, inner), f"{forward}1.weight": make(hidden, width)}
        resampler[f"{forward}3.weight"] = make(width, hidden)
    resampler |= {"norm.weight": make(width, mean=1.0), "norm.bias": make(width)}
    projector = {"0.weight": make(out, width), "0.bias": make(out), "2.weight": make(out, out), "2.bias": make(out)}
    tensors = {f"mm_projector.{name}": tensor for name, tensor in projector.items()}
    tensors |= {f"mm_resampler.{name}": tensor for name, tensor in resampler.items()}
    return {f"base_model.model.model.{name}": tensor.to(shape.bridge_dtype) for name, tensor in tensors.items()}


def adapter_tensors(shape: Shape, seed: int) -> dict[str, Tensor]:
    """What the adapter's file holds, under its names."""
    make, width, kv = Random(seed, shape.std), shape.width, shape.groups * shape.head_dim
    sizes = {"self_attn.q_proj": (width, width), "self_attn.k_proj": (kv, width), "self_attn.v_proj": (kv, width)}
    sizes |= {"self_attn.o_proj": (width, width), "mlp.gate_proj": (shape.feed_forward, width)}
    sizes |= {"mlp.up_proj": (shape.feed_forward, width), "mlp.down_proj": (width, shape.feed_forward)}
    tensors = {}
    for layer in range(shape.layers):
        for name, (out, size) in sizes.items():
            at = f"base_model.model.model.layers.{layer}.{name}.lora_"
            tensors |= {f"{at}A.weight": make(shape.rank, size), f"{at}B.weight": make(out, shape.rank)}
    return {name: tensor.to(shape.adapter_dtype) for name, tensor in tensors.items()}


def write_checkpoint(folder: Path, shape: Shape, base: dict[str, Any], seed: int) -> None:
    """A checkpoint in the published layout, written without the product."""
    folder.mkdir(parents=True)
    mode = {"mm_use_resampler_gca": "resampler", "mm_projector_type": "mlp2x_gelu", "mm_protein_select_layer": -2}
    config = {**base, **mode, "model_type": "llava_llama", "mm_hidden_size": shape.encoder_width}
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    arguments = {**mode, "perceiver_depth": 99, "dim_attention_head": 4, "pretrain_mm_resampler": None}
    if shape.states_heads:
        arguments["perceiver_heads"] = shape.bridge_heads
    (folder / "model_args.json").write_text(json.dumps(arguments))
    modules = ["up_proj", "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "down_proj"]
    adapter = {
        "peft_type": "LORA", "r": shape.rank, "lora_alpha": shape.alpha, "lora_dropout": 0.05, "bias": "none",
        "target_modules": modules, "use_dora": False, "modules_to_save": None, "base_model_name_or_path": "base",
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(adapter))
    torch.save(bridge_tensors(shape, seed), folder / "non_lora_trainables.bin")
    tensors = adapter_tensors(shape, seed + 1)
    if shape.adapter.endswith(".bin"):
        torch.save(tensors, folder / shape.adapter)
    else:
        save_file(tensors, folder / shape.adapter, metadata={"format": "pt"})


@dataclass(frozen=True)
class Recording:
    """A folder and its three checkpoints."""

    folder: Path
    base: Path
    encoder: Path
    published: Path


def write_weights(folder: Path, shape: Shape, seed: int = 0) -> Recording:
    """The three checkpoints of a recording, under names that say nothing."""
    places = Recording(folder, folder / "a" / "seven", folder / "facebook" / "esm2_odd", folder / "zz-protein2text")
    base = write_base(places.base, shape, seed)
    (places.base / "generation_config.json").write_text(json.dumps({"eos_token_id": [base["eos_token_id"]]}))
    write_encoder(places.encoder, shape, seed + 1)
    write_checkpoint(places.published, shape, base, seed + 2)
    return places


def record(folder: Path, shape: Shape, seed: int = 0) -> Recording:
    """Write checkpoints, ask the plain oracle about random proteins, and keep what it computed at every stage.

    One of the tokens that end an answer is the newest token of the first one, so that it ends before its limit.
    """
    places = write_weights(folder, shape, seed)
    inputs = [
        {
            "long_format_id": f"P{number}_{length}", "id": f"P{number}",
            "amino_seq": random_sequence(length, seed + length),
            "conversations": [
                {"from": "human", "value": f"<protein_sequence>\n{QUESTIONS[number % len(QUESTIONS)]}"},
                {"from": "gpt", "value": "It binds zinc."},
            ],
        }
        for number, length in enumerate(shape.lengths)
    ]  # fmt: skip
    (folder / "input.json").write_text(json.dumps(inputs))
    unbounded = PlainReference(places.published, places.base, places.encoder)
    free = unbounded.answer(inputs[0], shape.num_tokens).generated_ids
    newest = max(range(len(free) - 1), key=lambda step: (free[step] not in free[:step], step))
    (places.base / "generation_config.json").write_text(json.dumps({"eos_token_id": [free[newest], 1]}))
    oracle = PlainReference(places.published, places.base, places.encoder)
    recorded: dict[str, Tensor] = {}
    texts = []
    for entry in inputs:
        answer = oracle.answer(entry, shape.num_tokens)
        for stage in STAGES:
            recorded[f"{entry['id']}.{stage}"] = getattr(answer, stage).contiguous()
        for ids in ("input_ids", "generated_ids"):
            recorded[f"{entry['id']}.{ids}"] = torch.tensor(getattr(answer, ids))
        texts.append({"long_format_id": entry["long_format_id"], "text": answer.text, "prompt": answer.prompt})
    save_file(recorded, folder / "recorded.safetensors")
    (folder / "recorded.json").write_text(json.dumps(texts))
    return places
