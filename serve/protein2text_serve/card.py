"""Which model a service answers with: its address resolved once, its files checked against their manifest."""

import hashlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protein2text.errors import ConfigError, CorruptCheckpoint
from protein2text.models.checkpoints import verify_manifest
from protein2text.models.encoders import reading_of
from protein2text.models.model_config import ModelConfig
from protein2text_serve.question import ModelCard
from protein2text_serve.settings import ServiceConfig

if TYPE_CHECKING:
    from protein2text.registry import ModelVersion

REGISTRY = "models:/"


def resolve_model(config: ServiceConfig) -> ModelCard:
    """Pin what the configuration names: an alias becomes a version, a folder its weights' checksum.

    Raises:
        ConfigError: a registry uri without a tracking uri, or of another form.
        CorruptCheckpoint: the folder differs from its manifest.
        MissingFile: no such folder, model, alias or version.
    """
    if config.model.startswith(REGISTRY):
        found = _from_registry(config.model, config)
        folder, uri, name, version = found.folder, found.uri, found.name, found.version
    else:
        folder, name, version = Path(config.model).expanduser().resolve(), config.model_name, ""
        uri = str(folder)
    weights = weights_sum(verify_manifest(folder))
    path = folder / "config.json"
    model = ModelConfig.parse(json.loads(path.read_text(encoding="utf-8")), path=str(path))
    trained = reading_of(model).training_residues
    longest = min(config.max_residues, trained) if model.long_proteins == "refuse" else config.max_residues
    return ModelCard(
        uri, str(folder), name, version or weights[:12], weights, longest, trained, int(time.time()),
        model.long_proteins,
    )  # fmt: skip


def open_model(config: ServiceConfig, card: ModelCard) -> Path:
    """Folder of the pinned model on this machine: where the service found it, or else fetched by its version.

    Raises:
        CorruptCheckpoint: its weights are not those that the service started with.
    """
    folder = Path(card.folder)
    if card.uri.startswith(REGISTRY) and not folder.is_dir():
        folder = _from_registry(card.uri, config).folder
    found = weights_sum(verify_manifest(folder))
    if found != card.weights:
        problem = f"weights {found[:12]}, the service started with {card.weights[:12]}"
        raise CorruptCheckpoint(str(folder), "manifest.json", problem, "Start the service again.")
    return folder


def weights_sum(manifest: dict[str, Any]) -> str:
    """SHA-256 over names and checksums of a model's files, among them the list of its bases' checksums."""
    sums = sorted((name, entry["sha256"]) for name, entry in manifest["files"].items())
    return hashlib.sha256(json.dumps(sums).encode()).hexdigest()


def _from_registry(uri: str, config: ServiceConfig) -> "ModelVersion":
    """What a ``models:/`` address means now; MLflow is loaded only here."""
    if config.tracking_uri is None:
        message = f"{uri} needs the registry's database, such as sqlite:////data/mlflow.db"
        raise ConfigError("serve arguments", "tracking_uri", message)
    from protein2text.registry import resolve

    return resolve(uri, config.tracking_uri)
