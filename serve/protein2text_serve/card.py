"""Which model a service answers with: its address resolved once, its files checked against their manifest."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from protein2text.errors import ConfigError, CorruptCheckpoint
from protein2text.models.checkpoints import verify_manifest
from protein2text.models.model_config import ModelConfig
from protein2text_serve.question import ModelCard
from protein2text_serve.settings import ServiceConfig

TRAINED_RESIDUES = 1022
"""ESM-2 was trained on crops of about this many residues (Lin et al., Science 379:1123)."""

REGISTRY = "models:/"


def resolve_model(config: ServiceConfig) -> ModelCard:
    """Pin what the configuration names: an alias becomes a version, a folder its weights' checksum.

    Raises:
        ConfigError: a registry uri without a tracking uri.
        CorruptCheckpoint: the folder differs from its manifest.
        MissingFile: no such folder.
    """
    folder, name, version, uri = _locate(config)
    manifest = verify_manifest(folder)
    path = folder / "config.json"
    model = ModelConfig.parse(json.loads(path.read_text(encoding="utf-8")), path=str(path))
    weights = weights_sum(manifest)
    trained = min(model.max_residues, TRAINED_RESIDUES)
    return ModelCard(uri, name, version or weights[:12], weights, model.max_residues, trained, int(time.time()))


def open_model(config: ServiceConfig, card: ModelCard) -> Path:
    """The folder of the pinned model on this machine.

    Raises:
        CorruptCheckpoint: its weights are not those that the service started with.
    """
    folder, *_ = _locate(config.model_copy(update={"model": card.uri}))
    found = weights_sum(verify_manifest(folder))
    if found != card.weights:
        problem = f"weights {found[:12]}, the service started with {card.weights[:12]}"
        raise CorruptCheckpoint(str(folder), "manifest.json", problem, "Start the service again.")
    return folder


def weights_sum(manifest: dict[str, Any]) -> str:
    """SHA-256 over names and checksums of a model's files, among them the list of its bases' checksums."""
    sums = sorted((name, entry["sha256"]) for name, entry in manifest["files"].items())
    return hashlib.sha256(json.dumps(sums).encode()).hexdigest()


def _locate(config: ServiceConfig) -> tuple[Path, str, str, str]:
    """Folder, name, version (empty for a plain folder) and pinned uri."""
    if not config.model.startswith(REGISTRY):
        folder = Path(config.model).expanduser().resolve()
        return folder, config.model_name, "", str(folder)
    if config.tracking_uri is None:
        raise ConfigError(
            "serve arguments", "tracking_uri", f"{config.model} needs the registry's database, such as sqlite:///FILE"
        )
    from protein2text.registry import resolve

    resolved = resolve(config.model, config.tracking_uri)
    raise NotImplementedError(resolved)
