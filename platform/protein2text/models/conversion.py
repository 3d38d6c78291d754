"""From the published layout to a model folder and back, without losing a bit."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from protein2text.errors import ConfigError, CorruptCheckpoint
from protein2text.models.checkpoints import sha256_of, verify_manifest
from protein2text.models.encoder_weights import read_fair_esm
from protein2text.models.model_card import licences_of, write_card
from protein2text.models.model_config import DecoderConfig, EncoderConfig, ModelConfig
from protein2text.models.model_folder import read_config, write_folder
from protein2text.models.published import decoder_width, read_published
from protein2text.models.published_layout import (
    ADAPTER_SITE,
    ADAPTERS,
    LOOSE,
    LOOSE_SITE,
    POSITIONS,
    SETTINGS,
    PublishedFiles,
    native_names,
    published_settings,
    write_published,
)
from protein2text.models.sources import resolve_source
from protein2text.outputs import naming_a_full_disk, refuse_url

LAYOUT_VERSION = 1
KEPT = "published"
"""Folder inside a converted model that keeps what only the published layout has a place for."""


@dataclass(frozen=True)
class Conversion:
    """What a conversion did."""

    output: str
    name: str
    commercial_use: str
    num_tensors: int
    dropped: list[str]
    """Tensors of known families that nothing reads."""
    embedded: bool


def convert(
    published: Path, output: Path, *, base: str, encoder: str, base_revision: str | None = None,
    encoder_revision: str | None = None, embed_bases: bool = False, licences: dict[str, str] | None = None,
) -> Conversion:  # fmt: skip
    """Turn a published checkpoint into a model folder.

    Args:
        base: decoder it was trained on, a folder or hub id; ``encoder`` likewise.
        embed_bases: copy both into the folder.
        licences: what is known better than the files say, by part (encoder, decoder, corpus, qa_generator).

    Raises:
        ConfigError: the output exists.
        MissingFile, MissingWeights, CorruptCheckpoint: the checkpoint or a base is missing, or they do not fit.
    """
    _refuse(output)
    decoder_path = resolve_source(base, base_revision)
    encoder_path = resolve_source(encoder, encoder_revision)
    found = read_published(published, decoder_path, encoder_width(encoder_path))
    config = ModelConfig(
        encoder=EncoderConfig(
            source=_kept_source(encoder), revision=encoder_revision, layer=found.layer, dtype="bfloat16",
            esm_rope="legacy_bf16",
        ),
        bridge=found.bridge,
        decoder=DecoderConfig(source=_kept_source(base), revision=base_revision, dtype="bfloat16", lora=found.lora),
        origin="published",
    )  # fmt: skip
    stated = licences_of(config, decoder_path, encoder_path, published=True, stated=licences or {})
    bridge = {**found.bridge_state, POSITIONS: found.bridge_state[POSITIONS][:1]}
    with _appearing_whole(output) as partial:
        (partial / KEPT).mkdir()
        _keep(partial / KEPT, published, found.files, found.bridge_state[POSITIONS][1:])
        name = write_card(partial, published.resolve().name, config, stated, dropped=found.dropped)
        write_folder(partial, config, bridge, found.lora_state, embed_bases=embed_bases)
    num_tensors = len(found.bridge_state) + len(found.lora_state)
    return Conversion(str(output), name, stated.commercial_use[0], num_tensors, found.dropped, embed_bases)


def _refuse(output: Path) -> None:
    refuse_url(output)
    if output.exists() and (output.is_file() or any(output.iterdir())):
        raise ConfigError(str(output), "--output", "exists and is not empty; choose another folder or remove it")


@contextmanager
def _appearing_whole(output: Path) -> Iterator[Path]:
    """An empty folder that takes the output's name once it is written."""
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    with naming_a_full_disk(output):
        partial.mkdir(parents=True)
        yield partial
        if output.exists():
            output.rmdir()
        partial.rename(output)


def encoder_width(path: Path) -> int:
    """Width E of an encoder: a Hugging Face folder's configuration tells it, a fair-esm file is opened."""
    if path.is_dir():
        return int(json.loads((path / "config.json").read_text())["hidden_size"])
    return read_fair_esm(path)[0].width


def _kept_source(source: str) -> str:
    path = Path(source).expanduser()
    return str(path.resolve()) if path.exists() else source


def _keep(folder: Path, published: Path, files: PublishedFiles, unread: Tensor) -> None:
    """Put aside what the published layout has and a model folder does not: texts, order of names, unread rows."""
    for name, text in files.settings.items():
        (folder / name).write_bytes(text.encode())
    layout = {
        "version": LAYOUT_VERSION, "adapter_file": files.adapter_file, "adapter_metadata": files.adapter_metadata,
        "loose": list(files.loose), "adapter": list(files.adapter),
        "sha256": {name: sha256_of(published / name) for name in (*SETTINGS, LOOSE, files.adapter_file)},
    }  # fmt: skip
    (folder / "layout.json").write_text(json.dumps(layout, indent=2))
    save_file({POSITIONS: unread.contiguous()}, folder / "unread.safetensors")


def export(native: Path, output: Path) -> list[str]:
    """Write a model folder in the published layout: as it came, or as a model trained here would have been published.

    Returns:
        Names of the files written.

    Raises:
        ConfigError: the output exists, or the bridge has no place in that layout.
        CorruptCheckpoint, MissingWeights: the folder or its base is not what it was.
    """
    _refuse(output)
    verify_manifest(native)
    bridge = load_file(native / "bridge.safetensors")
    path = native / "lora.safetensors"
    lora = load_file(path) if path.is_file() else {}
    kept = native / KEPT
    files = _as_it_came(kept, bridge, lora) if kept.is_dir() else _as_new(read_config(native, {}), bridge, lora)
    with _appearing_whole(output) as partial:
        write_published(partial, files)
    return sorted(file.name for file in output.iterdir())


def _as_it_came(kept: Path, bridge: dict[str, Tensor], lora: dict[str, Tensor]) -> PublishedFiles:
    layout = json.loads((kept / "layout.json").read_text())
    if layout["version"] != LAYOUT_VERSION:
        problem = f"version {layout['version']}, this program reads {LAYOUT_VERSION}"
        raise CorruptCheckpoint(str(kept), "layout.json", problem, "Convert the checkpoint again.")
    unread = load_file(kept / "unread.safetensors")[POSITIONS]
    bridge = {**bridge, POSITIONS: torch.cat([bridge[POSITIONS].to(unread.dtype), unread])}
    loose = {name: bridge[own] for name, own in native_names(layout["loose"]).items()}
    adapter = {name: lora[name.removeprefix(ADAPTER_SITE)] for name in layout["adapter"]}
    settings = {name: (kept / name).read_bytes().decode() for name in SETTINGS}
    return PublishedFiles(settings, loose, adapter, layout["adapter_file"], layout["adapter_metadata"])


def _as_new(config: ModelConfig, bridge: dict[str, Tensor], lora: dict[str, Tensor]) -> PublishedFiles:
    if POSITIONS not in bridge:
        raise ConfigError(config.decoder.source, "bridge", "the published layout has a place for a resampler only")
    decoder_path = resolve_source(config.decoder.source, config.decoder.revision)
    decoder = json.loads((decoder_path / "config.json").read_text())
    return new_files(config, decoder, bridge, lora, num_positions=decoder_width(decoder_path))


def new_files(
    config: ModelConfig, decoder: dict[str, Any], bridge: dict[str, Tensor], lora: dict[str, Tensor], *,
    num_positions: int, adapter_file: str = ADAPTERS[0],
) -> PublishedFiles:  # fmt: skip
    """Files of the published layout for tensors under the product's own names.

    Args:
        decoder: the base's ``config.json``.
        num_positions: rows P of the positions; those after the first are zeros, since nothing reads them.
    """
    read = bridge[POSITIONS][:1]
    rows = torch.cat([read, read.new_zeros(num_positions - 1, *read.shape[1:])])
    loose = {LOOSE_SITE + name: tensor for name, tensor in {**bridge, POSITIONS: rows}.items()}
    adapter = {ADAPTER_SITE + name: tensor for name, tensor in lora.items()}
    return PublishedFiles(published_settings(config, decoder, read.shape[-1]), loose, adapter, adapter_file)
