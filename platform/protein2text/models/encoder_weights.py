"""ESM-2's weights from a Hugging Face folder or a fair-esm ``.pt``, under one set of names.

Both formats hold queries, keys and values apart; the encoder holds them fused. Nothing is loaded loosely: a missing,
unexpected or misshapen tensor is an error that names it.
"""

import argparse
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from protein2text.errors import MissingWeights
from protein2text.models.encoder import Encoder, EncoderShape
from protein2text.models.model_config import ESM2_LAYER, EncoderConfig
from protein2text.models.sources import resolve_source
from protein2text.outputs import naming_a_full_disk, refuse_url

INDEX = "model.safetensors.index.json"
"""Names the shards of large weights, and which tensor lies in which."""

_HUGGING_FACE = {
    "attention.LayerNorm": "attention_norm", "attention.self.query": "q", "attention.self.key": "k",
    "attention.self.value": "v", "attention.output.dense": "attention_out", "LayerNorm": "feed_forward_norm",
    "intermediate.dense": "feed_forward_in", "output.dense": "feed_forward_out",
}  # fmt: skip

_FAIR_ESM = {
    "self_attn_layer_norm": "attention_norm", "self_attn.q_proj": "q", "self_attn.k_proj": "k", "self_attn.v_proj": "v",
    "self_attn.out_proj": "attention_out", "final_layer_norm": "feed_forward_norm", "fc1": "feed_forward_in",
    "fc2": "feed_forward_out",
}  # fmt: skip

_IGNORED = re.compile(
    r"contact_head\.|lm_head\.|pooler\.|position_embeddings\.|rotary_embeddings\.|rot_emb\.|\.inv_freq$|position_ids$"
)
"""Heads that no state passes through, unused absolute positions, and rotary frequencies, which the encoder computes."""


def load_encoder(config: EncoderConfig) -> Encoder:
    """An ESM-2 with the configured weights, layer, dtype and rotary switch.

    Raises:
        MissingWeights: the source cannot be found or read, or a tensor is missing, unexpected or misshapen.
    """
    path = resolve_source(config.source, config.revision)
    shape, tensors = read_fair_esm(path) if path.suffix == ".pt" else read_hugging_face(path)
    encoder = Encoder(shape, layer=ESM2_LAYER if config.layer is None else config.layer, rope=config.esm_rope)
    wanted = encoder.state_dict()
    given = {
        name: tensor for name, tensor in tensors.items() if name in wanted or not _above(name, len(encoder.layers))
    }
    problems = [f"missing {name}" for name in wanted if name not in given]
    problems += [f"unexpected {name}" for name in given if name not in wanted]
    problems += [
        f"{name} is {tuple(given[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in wanted.items() if name in given and given[name].shape != tensor.shape
    ]  # fmt: skip
    if problems:
        raise MissingWeights(str(path), "; ".join(problems[:5]), "Use the weights of an ESM-2 as published.")
    encoder.load_state_dict(given)
    return encoder.to(getattr(torch, config.dtype)).requires_grad_(False).eval()


def _above(name: str, num_layers: int) -> bool:
    """Whether a tensor belongs above the last layer that runs."""
    layer = re.match(r"layers\.(\d+)\.", name)
    return int(layer[1]) >= num_layers if layer else name.startswith("final_norm.")


def read_hugging_face(folder: Path) -> tuple[EncoderShape, dict[str, Tensor]]:
    """Shape and tensors of a transformers ESM folder (``config.json``, ``*.safetensors``, sharded or not).

    Raises:
        MissingWeights: a file is missing or damaged, or this is no ESM-2.
    """
    try:
        raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        remedy = "Give a folder as transformers writes it, or a fair-esm .pt file."
        raise MissingWeights(str(folder), f"config.json cannot be read ({error})", remedy) from None
    if (
        raw.get("model_type") != "esm"
        or raw.get("position_embedding_type") != "rotary"
        or raw.get("emb_layer_norm_before")
    ):
        raise MissingWeights(str(folder), "config.json does not describe an ESM-2 (rotary positions)", "Give an ESM-2.")
    shape = EncoderShape(
        raw["hidden_size"], raw["num_hidden_layers"], raw["num_attention_heads"], raw["intermediate_size"],
        bool(raw.get("token_dropout", False)), raw.get("layer_norm_eps", 1e-5),
    )  # fmt: skip
    raw_tensors = {_current_name(name): tensor for name, tensor in read_shards(folder).items()}
    names = {"embeddings.word_embeddings.weight": "embeddings.weight"}
    names |= {f"encoder.emb_layer_norm_after.{part}": f"final_norm.{part}" for part in ("weight", "bias")}
    return shape, _rename(raw_tensors, names, re.compile(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias)"), _HUGGING_FACE)


def read_shards(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder's safetensors files: those that its index names, or every one without an index.

    Raises:
        MissingWeights: no file, one that the index names is not there or damaged, or a tensor stands in two.
    """
    index = folder / INDEX
    if index.is_file():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    else:
        names = sorted(path.name for path in folder.glob("*.safetensors"))
    if not names:
        raise MissingWeights(str(folder), "no *.safetensors file", "Convert pickled weights to safetensors.")
    tensors: dict[str, Tensor] = {}
    for name in names:
        try:
            shard = load_file(folder / name)
        except (OSError, SafetensorError) as error:
            raise MissingWeights(
                str(folder), f"{name} cannot be read ({error})", "Copy or download it again."
            ) from None
        if twice := sorted(shard.keys() & tensors.keys()):
            raise MissingWeights(str(folder), f"{twice[0]} stands in two files", "Remove the file that is too many.")
        tensors |= shard
    return tensors


def _current_name(name: str) -> str:
    """transformers writes an ESM with or without its prefix, and some versions with TensorFlow's names for norms."""
    return re.sub(r"\.beta$", ".bias", re.sub(r"\.gamma$", ".weight", name.removeprefix("esm.")))


def read_fair_esm(path: Path) -> tuple[EncoderShape, dict[str, Tensor]]:
    """Shape and tensors of a fair-esm ``.pt``, read without running any code from it.

    Raises:
        MissingWeights: damaged, no ESM-2, or it holds more than tensors and plain settings.
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            raw = torch.load(path, map_location="cpu", weights_only=True)
        model = raw["cfg"]["model"]
        shape = EncoderShape(
            model.encoder_embed_dim, model.encoder_layers, model.encoder_attention_heads, 4 * model.encoder_embed_dim,
            model.token_dropout,
        )  # fmt: skip
    except pickle.UnpicklingError as error:
        problem = f"it holds more than tensors and plain settings ({_brief(error)})"
        raise MissingWeights(str(path), problem, "Get the file from where fair-esm publishes it.") from None
    except (RuntimeError, EOFError, KeyError, TypeError, AttributeError) as error:
        problem = f"no ESM-2 as fair-esm writes it ({_brief(error)})"
        raise MissingWeights(str(path), problem, "Give an esm2_*.pt file, or download it again.") from None
    prefix = re.compile(r"^(encoder\.sentence_encoder\.|encoder\.)")
    raw_tensors = {prefix.sub("", name): tensor for name, tensor in raw["model"].items()}
    names = {"embed_tokens.weight": "embeddings.weight"}
    names |= {f"emb_layer_norm_after.{part}": f"final_norm.{part}" for part in ("weight", "bias")}
    return shape, _rename(raw_tensors, names, re.compile(r"layers\.(\d+)\.(.+)\.(weight|bias)"), _FAIR_ESM)


def _brief(error: Exception) -> str:
    """An error of torch's reader, whose texts run over many lines or are empty."""
    return f"{type(error).__name__} {' '.join(str(error).split())[:120]}".strip()


def _rename(
    raw: dict[str, Tensor], names: dict[str, str], layer: re.Pattern[str], parts: dict[str, str]
) -> dict[str, Tensor]:
    """Our names for a format's tensors; queries, keys and values joined; unknown names kept, to be refused by name."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in raw.items():
        match = layer.fullmatch(name)
        if name in names:
            tensors[names[name]] = tensor.float()
        elif match and match[2] in parts:
            tensors[f"layers.{match[1]}.{parts[match[2]]}.{match[3]}"] = tensor.float()
        elif not _IGNORED.search(name):
            tensors[name] = tensor
    for name in [name for name in tensors if re.fullmatch(r"layers\.\d+\.q\.(weight|bias)", name)]:
        trio = [name.replace(".q.", f".{letter}.") for letter in "qkv"]
        if all(part in tensors for part in trio):
            tensors[name.replace(".q.", ".qkv.")] = torch.cat([tensors.pop(part) for part in trio])
    return tensors


def write_fair_esm(folder: Path, path: Path) -> None:
    """Write a Hugging Face ESM-2 folder as a fair-esm ``.pt``, as users of that package keep it.

    Raises:
        MissingWeights: the folder holds no ESM-2.
    """
    refuse_url(path)
    shape, _ = read_hugging_face(folder)
    namespace = argparse.Namespace(
        encoder_layers=shape.num_layers, encoder_embed_dim=shape.width, encoder_attention_heads=shape.num_heads,
        token_dropout=shape.token_dropout,
    )  # fmt: skip
    to_fair: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
        (r"^embeddings\.word_embeddings", "encoder.sentence_encoder.embed_tokens"),
        (r"^encoder\.emb_layer_norm_after", "encoder.sentence_encoder.emb_layer_norm_after"),
        (r"^contact_head", "encoder.sentence_encoder.contact_head"),
        (r"^lm_head\.decoder\.weight", "encoder.lm_head.weight"), (r"^lm_head", "encoder.lm_head"),
        (
            r"^encoder\.layer\.(\d+)\.(.+)\.(weight|bias)$",
            lambda match: f"encoder.sentence_encoder.layers.{match[1]}.{_FAIR_OF_HUGGING_FACE[match[2]]}.{match[3]}",
        ),
    ]  # fmt: skip
    tensors: dict[str, Tensor] = {}
    for name, tensor in read_shards(folder).items():
        name = _current_name(name)
        if re.search(r"rotary_embeddings|position_embeddings|position_ids", name):
            continue
        for pattern, replacement in to_fair:
            name = re.sub(pattern, replacement, name)
        tensors[name] = tensor
    tensors.setdefault("encoder.lm_head.weight", tensors["encoder.sentence_encoder.embed_tokens.weight"])
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming_a_full_disk(path), path.open("wb") as file:  # torch says of a file of its own only that it failed
        torch.save({"cfg": {"model": namespace}, "model": tensors}, file)


_FAIR_OF_HUGGING_FACE = {
    theirs: next(fair for fair, ours in _FAIR_ESM.items() if ours == name) for theirs, name in _HUGGING_FACE.items()
}
