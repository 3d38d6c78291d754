"""The published inference, stated plainly: one protein, one step at a time, bfloat16 rounding wherever it rounded.

Written from the product's description of the reference, without any of the product's modules, as an oracle for the
compatibility mode: plain torch for the three networks and ``tokenizers`` for the text.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

LETTERS = ("<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO", ".", "-", "<null_1>", "<mask>")
Weights = dict[str, Tensor]


@dataclass
class Recorded:
    """What one record gives at every stage."""

    prompt: str
    input_ids: list[int]
    residue_states: Tensor
    latents: Tensor
    projected: Tensor
    last_logits: Tensor
    generated_ids: list[int]
    text: str


class PlainReference:
    """A published checkpoint with its bases, as the reference holds them after loading.

    Args:
        published: folder in the published layout.
        base: LLaMA folder.
        encoder: ESM-2 folder.
    """

    def __init__(self, published: Path, base: Path, encoder: Path) -> None:
        self.arguments = json.loads((published / "model_args.json").read_text())
        self.llama = json.loads((base / "config.json").read_text())
        self.esm = json.loads((encoder / "config.json").read_text())
        self.encoder_weights = {
            name: tensor.bfloat16() for name, tensor in load_file(encoder / "model.safetensors").items()
        }
        loose = torch.load(published / "non_lora_trainables.bin", weights_only=True)
        self.bridge = {
            name[name.index("mm_") :]: tensor.half().bfloat16() for name, tensor in loose.items() if "mm_" in name
        }
        self.tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
        self.tokenizer_config = json.loads((base / "tokenizer_config.json").read_text())
        self.decoder = self._merged(published, load_file(base / "model.safetensors"))
        stops = json.loads((base / "generation_config.json").read_text())["eos_token_id"]
        self.stops = stops if isinstance(stops, list) else [stops]

    def _merged(self, published: Path, base: Weights) -> Weights:
        settings = json.loads((published / "adapter_config.json").read_text())
        safe = published / "adapter_model.safetensors"
        adapter = load_file(safe) if safe.is_file() else torch.load(published / "adapter_model.bin", weights_only=True)
        weights = {name: tensor.half() for name, tensor in base.items()}
        for name in adapter:
            if name.endswith("lora_A.weight"):
                target = name.removeprefix("base_model.model.").replace(".lora_A", "")
                down, up = adapter[name].float(), adapter[name.replace("lora_A", "lora_B")].float()
                delta = (up @ down) * (settings["lora_alpha"] / settings["r"])
                weights[target] = (weights[target].float() + delta).half()
        rows = self.tokenizer.get_vocab_size()
        weights.setdefault("lm_head.weight", weights["model.embed_tokens.weight"])
        for name in ("lm_head.weight", "model.embed_tokens.weight"):
            weights[name] = weights[name][:rows]
        return {name: tensor.bfloat16() for name, tensor in weights.items()}

    def residue_states(self, sequence: str) -> Tensor:
        """``(residues + 1, E)``: output of the last layer but one, without CLS."""
        w, heads = self.encoder_weights, self.esm["num_attention_heads"]
        w = {name.removeprefix("esm."): tensor for name, tensor in w.items()}
        ids = [0, *(LETTERS.index(letter) for letter in sequence), 2]
        x = w["embeddings.word_embeddings.weight"][ids]
        if self.esm["token_dropout"]:
            x = x * (1 - 0.15 * 0.8)
        width = x.shape[1]
        size = width // heads
        inverse = (1.0 / (10000 ** (torch.arange(0, size, 2).float() / size))).bfloat16()
        angles = torch.outer(torch.arange(len(ids)).bfloat16(), inverse)
        cos, sin = torch.cat((angles, angles), -1).cos(), torch.cat((angles, angles), -1).sin()
        for number in range(self.esm["num_hidden_layers"] - 1):
            layer = {name.split(".", 3)[3]: t for name, t in w.items() if name.startswith(f"encoder.layer.{number}.")}
            x = self._encoder_layer(layer, x, cos, sin)
        return x[1:]

    def _encoder_layer(self, w: Weights, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        def linear(rows: Tensor, name: str) -> Tensor:
            return F.linear(rows, w[f"{name}.weight"], w[f"{name}.bias"])

        def norm(rows: Tensor, name: str) -> Tensor:
            return F.layer_norm(
                rows, rows.shape[1:], w[f"{name}.weight"], w[f"{name}.bias"], self.esm["layer_norm_eps"]
            )

        def split(rows: Tensor) -> Tensor:
            return rows.view(len(rows), self.esm["num_attention_heads"], -1).transpose(0, 1)

        normed = norm(x, "attention.LayerNorm")
        q, k, v = (split(linear(normed, f"attention.self.{name}")) for name in ("query", "key", "value"))
        q, k = rotate(q * q.shape[2] ** -0.5, cos, sin), rotate(k, cos, sin)
        attended = (q @ k.transpose(1, 2)).softmax(-1) @ v
        x = linear(attended.transpose(0, 1).reshape(x.shape), "attention.output.dense") + x
        hidden = linear(norm(x, "LayerNorm"), "intermediate.dense")
        hidden = hidden * 0.5 * (1.0 + torch.erf(hidden / math.sqrt(2.0)))
        return linear(hidden, "output.dense") + x

    def latents(self, states: Tensor) -> Tensor:
        """``(K, E)``: the resampler's output."""
        w, heads = (
            {name.removeprefix("mm_resampler."): t for name, t in self.bridge.items()},
            self.arguments.get("perceiver_heads", 8),
        )
        width = states.shape[1]
        norm = lambda rows, name: F.layer_norm(rows, (width,), w[name + ".weight"], w[name + ".bias"])  # noqa: E731
        media, latents = states + w["media_pos_emb"][0], w["latents"]
        depth = 1 + max(int(name.split(".")[1]) for name in w if name.startswith("layers."))
        for number in range(depth):
            at = f"layers.{number}."
            normed = norm(latents, at + "0.norm_latents")
            both = torch.cat((norm(media, at + "0.norm_media"), normed))
            q = F.linear(normed, w[at + "0.to_q.weight"])
            k, v = F.linear(both, w[at + "0.to_kv.weight"]).chunk(2, -1)
            size = q.shape[1] // heads
            q, k, v = (rows.view(len(rows), heads, size).transpose(0, 1) for rows in (q, k, v))
            scores = (q * size**-0.5) @ k.transpose(1, 2)
            attended = (scores - scores.amax(-1, keepdim=True)).softmax(-1) @ v
            latents = F.linear(attended.transpose(0, 1).flatten(1), w[at + "0.to_out.weight"]) + latents
            hidden = F.gelu(F.linear(norm(latents, at + "1.0"), w[at + "1.1.weight"]))
            latents = F.linear(hidden, w[at + "1.3.weight"]) + latents
        return norm(latents, "norm")

    def projected(self, latents: Tensor) -> Tensor:
        """``(K, D)``: the projector's output."""
        w = self.bridge
        hidden = F.gelu(F.linear(latents, w["mm_projector.0.weight"], w["mm_projector.0.bias"]))
        return F.linear(hidden, w["mm_projector.2.weight"], w["mm_projector.2.bias"])

    def prompt(self, question: str) -> str:
        """The text around the protein, verbatim."""
        indent = " " * 12
        lines = ["<protein_sequence>", "", f"{indent}<|start_header_id|>user<|end_header_id|>", indent + question]
        lines += [f"{indent}<|eot_id|>", f"{indent}<|start_header_id|>assistant<|end_header_id|>", indent, ""]
        return "\n".join(lines)

    def input_ids(self, prompt: str) -> list[int]:
        """Two pieces, each with a BOS; the second one's BOS is dropped."""
        first, second = (self.tokenizer.encode(piece).ids for piece in prompt.split("<protein_sequence>"))
        return [*first, -200, *second[1:]]

    def logits(self, embeddings: Tensor, cache: list[tuple[Tensor, Tensor]], begin: int) -> Tensor:
        """Logits ``(V,)`` float32 after the last of these rows, which begin at a position; the cache grows."""
        w, c = self.decoder, self.llama
        heads, groups = c["num_attention_heads"], c["num_key_value_heads"]
        size = c.get("head_dim") or c["hidden_size"] // heads
        x, length = embeddings, len(embeddings)
        angles = torch.arange(begin, begin + length).float()[:, None] * inverse_frequencies(c, size).bfloat16().float()
        angles = torch.cat((angles, angles), -1)
        cos, sin = angles.cos().bfloat16(), angles.sin().bfloat16()
        for number in range(c["num_hidden_layers"]):
            at = f"model.layers.{number}."
            normed = rms_norm(x, w[at + "input_layernorm.weight"], c["rms_norm_eps"])
            q = F.linear(normed, w[at + "self_attn.q_proj.weight"]).view(length, heads, size).transpose(0, 1)
            k = F.linear(normed, w[at + "self_attn.k_proj.weight"]).view(length, groups, size).transpose(0, 1)
            v = F.linear(normed, w[at + "self_attn.v_proj.weight"]).view(length, groups, size).transpose(0, 1)
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)
            if len(cache) > number:
                k, v = torch.cat((cache[number][0], k), 1), torch.cat((cache[number][1], v), 1)
                cache[number] = (k, v)
            else:
                cache.append((k, v))
            k, v = (rows.repeat_interleave(heads // groups, 0) for rows in (k, v))
            attended = F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=length > 1)[0]
            x = x + F.linear(attended.transpose(0, 1).reshape(length, -1), w[at + "self_attn.o_proj.weight"])
            normed = rms_norm(x, w[at + "post_attention_layernorm.weight"], c["rms_norm_eps"])
            gate = F.silu(F.linear(normed, w[at + "mlp.gate_proj.weight"]))
            x = x + F.linear(gate * F.linear(normed, w[at + "mlp.up_proj.weight"]), w[at + "mlp.down_proj.weight"])
        return F.linear(rms_norm(x, w["model.norm.weight"], c["rms_norm_eps"]), w["lm_head.weight"])[-1].float()

    @torch.no_grad()
    def answer(self, record: dict[str, Any], num_tokens: int = 24) -> Recorded:
        """Greedy answer to a record of the published input format, with every stage."""
        prompt = self.prompt(record["conversations"][0]["value"].replace("<protein_sequence>\n", ""))
        ids = self.input_ids(prompt)
        states = self.residue_states(record["amino_seq"])
        latents = self.latents(states)
        projected = self.projected(latents)
        embed = self.decoder["model.embed_tokens.weight"]
        rows = torch.cat((embed[ids[: ids.index(-200)]], projected, embed[ids[ids.index(-200) + 1 :]]))
        cache: list[tuple[Tensor, Tensor]] = []
        last = logits = self.logits(rows, cache, 0)
        generated, position = [int(logits.argmax())], len(rows)
        while len(generated) < num_tokens and generated[-1] not in self.stops:
            logits = self.logits(embed[generated[-1:]], cache, position)
            generated.append(int(logits.argmax()))
            position += 1
        text = self.tokenizer.decode(generated, skip_special_tokens=True)
        if self.tokenizer_config.get("clean_up_tokenization_spaces"):
            text = clean_up(text)
        return Recorded(prompt, ids, states, latents, projected, last, generated, text.strip())


def rotate(rows: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding."""
    low, high = rows.chunk(2, -1)
    return rows * cos + torch.cat((-high, low), -1) * sin


def rms_norm(rows: Tensor, weight: Tensor, eps: float) -> Tensor:
    """LLaMA's norm: statistics in float32, rounded before the weight is applied."""
    wide = rows.float()
    return weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)).to(rows.dtype)


def inverse_frequencies(config: dict[str, Any], size: int) -> Tensor:
    """LLaMA's rotary frequencies, with llama3 scaling where the configuration asks for it."""
    inverse = 1.0 / (config["rope_theta"] ** (torch.arange(0, size, 2).float() / size))
    scaling = config.get("rope_scaling")
    if not scaling:
        return inverse
    low, high, original = (
        scaling["low_freq_factor"],
        scaling["high_freq_factor"],
        scaling["original_max_position_embeddings"],
    )
    scaled = []
    for frequency in inverse.tolist():
        wavelength = 2 * math.pi / frequency
        if wavelength < original / high:
            scaled.append(frequency)
        elif wavelength > original / low:
            scaled.append(frequency / scaling["factor"])
        else:
            smooth = (original / wavelength - low) / (high - low)
            scaled.append((1 - smooth) * frequency / scaling["factor"] + smooth * frequency)
    return torch.tensor(scaled)


def clean_up(text: str) -> str:
    """The clean-up rule of the pinned tokenizer library."""
    for ugly in (" .", " ?", " !", " ,"):
        text = text.replace(ugly, ugly[1:])
    text = text.replace(" ' ", "'")
    for ending in ("n't", "'m", "'s", "'ve", "'re"):
        text = text.replace(f" {ending}", ending)
    return text
