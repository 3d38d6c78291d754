"""What a service answers with: its address resolved once, its files checked against their manifest."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from protein2text.answerers import NEIGHBOURS, REGISTRY, index_folder, locate
from protein2text.errors import ConfigError, CorruptCheckpoint
from protein2text.models.checkpoints import verify_manifest
from protein2text.models.encoders import reading_of
from protein2text.models.model_config import PARTS, ModelConfig
from protein2text_serve.question import ModelCard
from protein2text_serve.settings import ServiceConfig

MODEL_NAME, INDEX_NAME = "protein2text", "neighbours"
"""Names in answers of what has none in a registry and is given none."""


def resolve_model(config: ServiceConfig) -> ModelCard:
    """Pin what the configuration names: an alias becomes a version, a folder its weights' or index's checksum.

    Raises:
        ConfigError: a registry uri without a tracking uri, or of another form.
        CorruptCheckpoint: the folder differs from its manifest.
        MissingFile: no such folder, model, alias or version.
    """
    if (index := index_folder(config.model)) is not None:
        return _index_card(index.resolve(), config)
    folder, name, version, uri = locate(config.model, config.tracking_uri)
    if version is None:
        name = config.model_name or MODEL_NAME
    weights, model = weights_sum(folder), ModelConfig.stored_in(folder)
    trained = reading_of(model).training_residues
    longest = min(config.max_residues, trained) if model.long_proteins == "refuse" else config.max_residues
    return ModelCard(
        uri, str(folder), name, version or weights[:12], weights, longest, trained, int(time.time()),
        model.long_proteins, context=_pinned_context(config),
    )  # fmt: skip


def _index_card(folder: Path, config: ServiceConfig) -> ModelCard:
    """An index of neighbours in place of a model: it reads every length, and takes no facts into a prompt."""
    if config.context is not None:
        message = "puts facts into the prompt of a model; an index of neighbours has none. Leave it out"
        raise ConfigError("serve arguments", "context", message)
    from protein2text.neighbours.index_folder import NeighbourIndex

    index = NeighbourIndex.open(folder)
    checksum = index.identity["manifest_sha256"]
    return ModelCard(
        f"{NEIGHBOURS}{folder}", str(folder), config.model_name or INDEX_NAME, checksum[:12], checksum,
        config.max_residues, config.max_residues, int(time.time()), "exact", release=index.release,
    )  # fmt: skip


def _pinned_context(config: ServiceConfig) -> dict[str, Any] | None:
    """Which index stands in the prompts, as answers name it."""
    if config.context is None:
        return None
    from protein2text.neighbours.context import open_context

    return open_context(config.context, config.context_tokens).identity


def open_model(config: ServiceConfig, card: ModelCard) -> Path:
    """Folder of the pinned model on this machine: where the service found it, or else fetched by its version.

    Raises:
        CorruptCheckpoint: its weights are not those that the service started with.
    """
    folder = Path(card.folder)
    if card.uri.startswith(REGISTRY) and not folder.is_dir():
        folder = locate(card.uri, config.tracking_uri).folder
    found = weights_sum(folder)
    if found != card.weights:
        problem = f"weights {found[:12]}, the service started with {card.weights[:12]}"
        raise CorruptCheckpoint(str(folder), "manifest.json", problem, "Start the service again.")
    return folder


def weights_sum(folder: Path) -> str:
    """SHA-256 over all that a model's answers come from: its tensors, its bases' files, and its configuration.

    Where the bases lie and which run it came from do not count, so a training repeated in another place has the same.

    Raises:
        CorruptCheckpoint: the folder differs from its manifest.
    """
    files = verify_manifest(folder)["files"]
    bases = json.loads((folder / "bases.json").read_text(encoding="utf-8"))
    place = {"source", "revision"}
    parts = {
        "tensors": {name: files[name]["sha256"] for name in files if "/" not in name and name.endswith(".safetensors")},
        "bases": {part: bases[part]["files"] for part in PARTS},
        "config": ModelConfig.stored_in(folder).model_dump(mode="json", exclude={"encoder": place, "decoder": place}),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
