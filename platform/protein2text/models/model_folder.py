"""Model folders: what is trained, its configuration, and which bases it stands on, each file with its SHA-256.

``config.json``, ``bridge.safetensors``, ``lora.safetensors`` (unmerged), ``bases.json`` and ``README.md``; from
training ``run.json`` and ``trained_on.bin``; ``published/`` where the model was converted; ``bases/`` where its bases
were copied in.
"""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from protein2text.errors import CorruptCheckpoint, MissingWeights
from protein2text.models.checkpoints import sha256_of, verify_manifest, write_manifest
from protein2text.models.model_card import licences_of, write_card
from protein2text.models.model_config import PARTS, ModelConfig, Part
from protein2text.models.sources import resolve_source

if TYPE_CHECKING:
    from protein2text.models.protein_to_text import ProteinToText

BASES_VERSION = 1
EMBEDDED = "bases"
"""Folder inside a model folder that holds copies of its bases, by part."""
BASE_SUFFIXES = {".safetensors", ".json", ".txt", ".jinja", ".model"}

OPTIONS: dict[Part, str] = {"encoder": "--encoder", "decoder": "--base"}
"""What a user gives to say where a part lies now."""


def write_model(model: "ProteinToText", folder: Path, run: dict[str, Any] | None) -> None:
    """Write a model folder, the manifest last.

    Raises:
        ValueError: the adapters are merged, as in compatibility mode; a folder keeps them apart from the base.
    """
    if model.compat or model.decoder.is_merged:
        raise ValueError("adapters are merged into the decoder; load the model again without compat and save that one")
    config = model.config
    paths = [resolve_source(base.source, base.revision) for base in (config.decoder, config.encoder)]
    folder.mkdir(parents=True, exist_ok=True)
    about = run or {}
    licences = licences_of(
        config, *paths, published=config.origin == "published", stated=about.get("licences", {}),
        corpus=about.get("corpus_licences"),
    )  # fmt: skip
    write_card(
        folder, "protein2text", config, licences, dropped=[], leaks=about.get("leaks", []),
        sources=about.get("corpus_sources", []),
    )  # fmt: skip
    write_folder(folder, model.config, model.bridge_state(), model.decoder.lora_state(), run=run)


def write_folder(
    folder: Path, config: ModelConfig, bridge: dict[str, Tensor], lora: dict[str, Tensor], *,
    run: dict[str, Any] | None = None, embed_bases: bool = False,
) -> None:  # fmt: skip
    """Write a model folder from its tensors, in their own dtypes; files already there go into the manifest too."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(_contiguous(bridge), folder / "bridge.safetensors")
    if lora:
        save_file(_contiguous(lora), folder / "lora.safetensors")
    (folder / "config.json").write_text(config.model_dump_json(indent=2))
    (folder / "bases.json").write_text(json.dumps(bases_record(config), indent=2))
    if embed_bases:
        embed(folder, config)
    if run is not None:
        (folder / "run.json").write_text(json.dumps(run, indent=2))
    write_manifest(folder)


def _contiguous(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}


def base_files(path: Path) -> list[Path]:
    """Weight, configuration and tokenizer files of a base: the file itself, or those of its folder."""
    if path.is_file():
        return [path]
    return sorted(file for file in path.iterdir() if file.is_file() and file.suffix in BASE_SUFFIXES)


def bases_record(config: ModelConfig) -> dict[str, Any]:
    """Where each base was found, and the SHA-256 of each of its files."""
    record: dict[str, Any] = {"version": BASES_VERSION}
    for part in PARTS:
        base = getattr(config, part)
        path = resolve_source(base.source, base.revision)
        record[part] = {
            "source": base.source, "revision": base.revision, "resolved": str(path),
            "files": {file.name: sha256_of(file) for file in base_files(path)},
        }  # fmt: skip
    return record


def embed(folder: Path, config: ModelConfig) -> None:
    """Copy both bases into the folder, so that it can be used where nothing else is."""
    for part in PARTS:
        base = getattr(config, part)
        destination = folder / EMBEDDED / part
        destination.mkdir(parents=True)
        for file in base_files(resolve_source(base.source, base.revision)):
            shutil.copy(file, destination / file.name, follow_symlinks=True)


def read_config(folder: Path, overrides: dict[Part, str | None]) -> ModelConfig:
    """A folder's configuration with the sources of its bases that apply now: the caller's, embedded, or recorded."""
    config = ModelConfig.stored_in(folder)
    for part in PARTS:
        embedded = folder / EMBEDDED / part
        source = overrides.get(part) or (str(_embedded_source(embedded)) if embedded.is_dir() else None)
        if source:
            changed = getattr(config, part).model_copy(update={"source": source})
            config = config.model_copy(update={part: changed})
    return config


def _embedded_source(folder: Path) -> Path:
    files = sorted(folder.iterdir())
    return files[0] if len(files) == 1 else folder  # a fair-esm encoder is one file


def check_bases(folder: Path, config: ModelConfig, *, sums: bool = True) -> None:
    """Hold the bases against the record.

    Args:
        sums: compare contents; otherwise only that they are there.

    Raises:
        MissingWeights: a base is not where it was.
        CorruptCheckpoint: a base is not the one the model was made on.
    """
    record = json.loads((folder / "bases.json").read_text())
    if record.get("version") != BASES_VERSION:
        problem = f"version {record.get('version')}, this program reads {BASES_VERSION}"
        raise CorruptCheckpoint(str(folder), "bases.json", problem, "Save the model again with this program.")
    for part in PARTS:
        base, saved, option = getattr(config, part), record[part], OPTIONS[part]
        keyword = option.removeprefix("--")
        try:
            path = resolve_source(base.source, base.revision)
        except MissingWeights as error:
            remedy = f"Say where the {part} lies now: {option} FOLDER (in Python {keyword}=FOLDER). {error.remedy}"
            raise MissingWeights(error.source, error.problem, remedy) from None
        if not sums:
            continue
        present = {file.name: file for file in base_files(path)}
        odd = [
            name for name, digest in saved["files"].items()
            if name not in present or sha256_of(present[name]) != digest
        ]  # fmt: skip
        if odd:
            names = ", ".join(f"{part}/{name}" for name in odd[:3])
            remedy = f"Give the {part} it was made on: {option} FOLDER (in Python {keyword}=FOLDER)."
            problem = f"base weights differ from {path}: {names}"
            raise CorruptCheckpoint(str(folder), "bases.json", problem, remedy)


def read_model(
    cls: "type[ProteinToText]", folder: Path, *, compat: bool, base: str | None, encoder: str | None,
    verify_bases: bool,
) -> "ProteinToText":  # fmt: skip
    """See ``ProteinToText.from_pretrained``."""
    verify_manifest(folder)
    config = read_config(folder, {"decoder": base, "encoder": encoder})
    check_bases(folder, config, sums=verify_bases)
    model = cls(config, compat=compat)
    state, wanted = load_file(folder / "bridge.safetensors"), model.bridge_state()
    if {name: tensor.shape for name, tensor in state.items()} != {n: tensor.shape for n, tensor in wanted.items()}:
        remedy = "Save the model again."
        raise CorruptCheckpoint(str(folder), "bridge.safetensors", "tensors do not fit config.json", remedy)
    path = folder / "lora.safetensors"
    model.settle(state, load_file(path) if path.is_file() else {})
    return model.requires_grad_(False).eval()
