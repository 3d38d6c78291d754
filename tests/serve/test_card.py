"""Which model a service pins, and what it refuses to load."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from protein2text.errors import ConfigError, CorruptCheckpoint, MissingFile
from protein2text.models.checkpoints import write_manifest
from protein2text_serve.card import open_model, resolve_model
from protein2text_serve.limits import accept
from protein2text_serve.protocol import ChatRequest
from protein2text_serve.question import ModelCard
from protein2text_serve.settings import ServiceConfig


@pytest.fixture
def copied(model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


def config_of(model: Path | str, **fields: Any) -> ServiceConfig:
    return ServiceConfig(model=str(model), **fields)


def test_a_folder_is_named_by_its_weights(copied: Path, model_folder: Path) -> None:
    card = resolve_model(config_of(copied, model_name="mine", max_residues=64))
    assert (card.name, card.uri, card.max_residues, card.trained_residues) == ("mine", str(copied), 64, 1022)
    assert card.version == card.weights[:12]
    assert card.weights == resolve_model(config_of(model_folder)).weights
    assert open_model(config_of(copied), card) == copied


def change_a_weight(folder: Path) -> None:
    path = folder / "bridge.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    write_manifest(folder)


def change_a_base(folder: Path) -> None:
    record = json.loads((folder / "bases.json").read_text())
    record["encoder"]["files"]["config.json"] = "0" * 64
    (folder / "bases.json").write_text(json.dumps(record))
    write_manifest(folder)


def change_the_layer(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "encoder": {**config["encoder"], "layer": -1}}))
    write_manifest(folder)


@pytest.mark.parametrize("change", [change_a_weight, change_a_base, change_the_layer])
def test_what_changes_answers_changes_the_sum(copied: Path, model_folder: Path, change: Callable[[Path], None]) -> None:
    change(copied)
    assert resolve_model(config_of(copied)).weights != resolve_model(config_of(model_folder)).weights


def test_a_model_made_again_elsewhere_has_the_same_sum(copied: Path, model_folder: Path, tmp_path: Path) -> None:
    """Under another name, from bases at another place, as in another checkout."""
    config, record = (json.loads((copied / name).read_text()) for name in ("config.json", "bases.json"))
    for part in ("encoder", "decoder"):
        moved = shutil.copytree(record[part]["resolved"], tmp_path / part)
        config[part]["source"] = record[part]["source"] = record[part]["resolved"] = str(moved)
    (copied / "config.json").write_text(json.dumps(config))
    (copied / "bases.json").write_text(json.dumps(record))
    (copied / "run.json").write_text('{"run": "another"}')
    write_manifest(copied)
    assert resolve_model(config_of(copied)).weights == resolve_model(config_of(model_folder)).weights


@pytest.mark.parametrize("place", [0, -1])
def test_one_changed_byte_is_refused_before_anything_is_served(copied: Path, place: int) -> None:
    path = copied / "bridge.safetensors"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptCheckpoint, match=r"bridge.safetensors.*SHA-256"):
        resolve_model(config_of(copied))


def test_a_replica_refuses_weights_that_changed_since_the_start(copied: Path) -> None:
    card = resolve_model(config_of(copied))
    change_a_weight(copied)  # a consistent folder, but another one
    with pytest.raises(CorruptCheckpoint, match=card.weights[:12]):
        open_model(config_of(copied), card)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="nowhere"):
        resolve_model(config_of(tmp_path / "nowhere"))


def test_a_registry_address_needs_a_registry() -> None:
    with pytest.raises(ConfigError, match="tracking_uri"):
        resolve_model(config_of("models:/protein2text@champion"))


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="max_tokens"):
        ServiceConfig.parse({"model": "x", "max_token": 3}, path="serve.yaml")


def test_an_alias_is_pinned_to_the_version_it_meant_at_the_start(model_folder: Path, tmp_path: Path) -> None:
    from protein2text.registry import register

    tracking_uri = f"sqlite:///{tmp_path}/mlflow.db"
    newer = Path(shutil.copytree(model_folder, tmp_path / "newer"))
    (newer / "run.json").write_text("{}")
    change_a_weight(newer)
    register(model_folder, name="tiny", alias="champion", tracking_uri=tracking_uri)
    config = config_of("models:/tiny@champion", tracking_uri=tracking_uri)
    card = resolve_model(config)
    register(newer, name="tiny", alias="champion", tracking_uri=tracking_uri)
    moved = resolve_model(config)
    assert (card.name, card.version, card.uri) == ("tiny", "1", "models:/tiny/1")
    assert (moved.version, moved.weights == card.weights) == ("2", False)
    elsewhere = ModelCard(**{**vars(card), "folder": str(tmp_path / "not on this machine")})
    for known in (card, elsewhere):
        folder = open_model(config, known)
        assert not (folder / "run.json").exists(), "a replica that starts later loads version 1 all the same"


@pytest.mark.parametrize(("num_residues", "beyond"), [(1022, False), (1023, True)])
def test_a_protein_longer_than_the_encoder_was_trained_on_is_flagged(num_residues: int, beyond: bool) -> None:
    card = ModelCard("u", "f", "n", "1", "0" * 64, max_residues=4096, trained_residues=1022, created=0)
    parts = [
        {"type": "protein", "protein": {"sequence": "M" * num_residues}},
        {"type": "protein", "protein": {"sequence": "MK"}},
        {"type": "text", "text": "Where?"},
    ]
    request = ChatRequest.model_validate({"messages": [{"role": "user", "content": parts}]})
    told = accept(request, "id", config_of("m"), card).extras(card)
    assert told["beyond_training_length"] is beyond
    assert [protein["beyond_training_length"] for protein in told["proteins"]] == [beyond, False]
    assert [protein["read_as"] for protein in told["proteins"]] == ["window" if beyond else "exact", "exact"]


def test_a_model_that_refuses_long_proteins_lowers_the_services_limit(copied: Path) -> None:
    path = copied / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "long_proteins": "refuse"}))
    write_manifest(copied)
    assert resolve_model(config_of(copied)).max_residues == 1022
    assert resolve_model(config_of(copied, max_residues=100)).max_residues == 100
