"""The packed encoder against transformers' and fair-esm's own models."""

import json
import os
import shutil
from pathlib import Path

import esm
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import EsmModel, EsmTokenizer

from protein2text.errors import ConfigError, MissingWeights
from protein2text.models.batches import pack_proteins
from protein2text.models.encoder_weights import load_encoder, read_fair_esm, write_fair_esm
from protein2text.models.model_config import EncoderConfig
from tests.models.conftest import random_sequence, relative_error

LENGTHS = (300, 64, 63, 17, 2, 1)


def sequences() -> list[str]:
    return [random_sequence(length, seed) for seed, length in enumerate(LENGTHS)]


@pytest.mark.parametrize("layer", [1, -2, -1])
def test_packed_states_equal_transformers(random_esm: Path, layer: int) -> None:
    encoder = load_encoder(EncoderConfig(source=str(random_esm), layer=layer))
    proteins = pack_proteins(sequences())
    states = encoder(proteins).split(list(proteins.state_lengths))
    reference = EsmModel.from_pretrained(random_esm, add_pooling_layer=False).eval()
    tokenizer = EsmTokenizer.from_pretrained(random_esm)
    for sequence, ours in zip(sequences(), states, strict=True):
        with torch.no_grad():
            theirs = reference(**tokenizer(sequence, return_tensors="pt"), output_hidden_states=True).hidden_states[
                layer
            ]
        assert relative_error(ours, theirs[0, 1:]) < 2e-6


def test_states_and_weights_equal_fair_esm(random_esm: Path, tmp_path: Path) -> None:
    path = tmp_path / "esm2_random.pt"
    write_fair_esm(random_esm, path)
    from_pt = load_encoder(EncoderConfig(source=str(path)))
    from_folder = load_encoder(EncoderConfig(source=str(random_esm)))
    for name, tensor in from_folder.state_dict().items():
        assert torch.equal(from_pt.state_dict()[name], tensor), name

    shape, _ = read_fair_esm(path)
    alphabet = esm.data.Alphabet.from_architecture("ESM-1b")
    theirs = esm.ESM2(
        shape.num_layers, shape.width, shape.num_heads, alphabet, token_dropout=shape.token_dropout
    ).eval()
    with torch.serialization.safe_globals([__import__("argparse").Namespace]):
        saved = torch.load(path, weights_only=True)["model"]
    bare = {
        name.replace("encoder.sentence_encoder.", "").replace("encoder.lm_head", "lm_head"): saved[name]
        for name in saved
    }
    result = theirs.load_state_dict(bare, strict=False)
    assert not result.unexpected_keys
    assert all("rot_emb.inv_freq" in name for name in result.missing_keys)

    proteins = pack_proteins(sequences())
    for sequence, ours in zip(sequences(), from_pt(proteins).split(list(proteins.state_lengths)), strict=True):
        _, _, tokens = alphabet.get_batch_converter()([("protein", sequence)])
        with torch.no_grad():
            states = theirs(tokens, repr_layers=[shape.num_layers - 1])["representations"][shape.num_layers - 1]
        assert relative_error(ours, states[0, 1:]) < 1e-5


def test_a_protein_has_the_same_states_alone_and_in_a_batch(random_esm: Path) -> None:
    encoder = load_encoder(EncoderConfig(source=str(random_esm)))
    proteins = pack_proteins(sequences())
    for sequence, together in zip(sequences(), encoder(proteins).split(list(proteins.state_lengths)), strict=True):
        assert relative_error(together, encoder(pack_proteins([sequence]))) < 2e-6


def test_layers_above_the_selected_one_do_not_exist(random_esm: Path) -> None:
    assert len(load_encoder(EncoderConfig(source=str(random_esm), layer=1)).layers) == 1
    with pytest.raises(ConfigError, match=r"model: encoder\.layer: 4 selects layer 4; this encoder has layers 1 to 3"):
        load_encoder(EncoderConfig(source=str(random_esm), layer=4))


def test_casting_keeps_rotary_frequencies_exact(random_esm: Path) -> None:
    encoder = load_encoder(EncoderConfig(source=str(random_esm), dtype="bfloat16"))
    assert encoder.layers[0].qkv.weight.dtype == torch.bfloat16
    assert encoder.frequencies_C.dtype == torch.float32
    assert torch.equal(encoder.frequencies_C, load_encoder(EncoderConfig(source=str(random_esm))).frequencies_C)


def test_legacy_rope_reproduces_the_reference_and_exact_rope_does_not(golden: Path) -> None:
    recorded = load_file(golden / "reference-tiny" / "recorded.safetensors")
    inputs = json.loads((golden / "reference-tiny" / "input.json").read_text())
    proteins = pack_proteins([record["amino_seq"] for record in inputs])
    errors = {}
    for rope in ("legacy_bf16", "exact"):
        source = str(golden / "reference-tiny" / "facebook" / "esm2_tiny")
        encoder = load_encoder(EncoderConfig(source=source, dtype="bfloat16", esm_rope=rope))
        states = encoder(proteins).split(list(proteins.state_lengths))
        longest = max(range(len(inputs)), key=lambda number: len(states[number]))
        for number, ours in enumerate(states):
            error = relative_error(ours, recorded[f"T{number:03d}.residue_states"])
            assert rope == "exact" or error < 2e-2
            if number == longest:
                errors[rope] = error
    assert errors["exact"] > 2 * errors["legacy_bf16"]


@pytest.mark.parametrize("damage", ["missing", "unexpected", "misshapen"])
def test_weights_that_do_not_fit_are_refused_by_name(random_esm: Path, tmp_path: Path, damage: str) -> None:
    tensors = load_file(random_esm / "model.safetensors")
    name = "esm.encoder.layer.1.output.dense.weight"
    if damage == "missing":
        tensors.pop(name)
    elif damage == "unexpected":
        tensors["esm.encoder.layer.1.adapter.weight"] = torch.zeros(2)
    else:
        tensors[name] = tensors[name][:, :-1].contiguous()
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((random_esm / "config.json").read_bytes())
    expected = "adapter" if damage == "unexpected" else "layers.1.feed_forward_out.weight"
    with pytest.raises(MissingWeights, match=expected):
        load_encoder(EncoderConfig(source=str(tmp_path)))


def shards(folder: Path, target: Path) -> None:
    """A folder's weights in three files and the index that large published weights have."""
    tensors = load_file(folder / "model.safetensors")
    target.mkdir()
    weight_map = {}
    for number in range(3):
        name = f"model-{number + 1:05}-of-00003.safetensors"
        part = {key: tensors[key] for key in sorted(tensors)[number::3]}
        save_file(part, target / name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, name)
    (target / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (target / "config.json").write_bytes((folder / "config.json").read_bytes())


def test_sharded_weights_are_the_same_and_a_lost_or_damaged_shard_is_named(random_esm: Path, tmp_path: Path) -> None:
    shards(random_esm, tmp_path / "esm2")
    whole, sharded = (load_encoder(EncoderConfig(source=str(path))) for path in (random_esm, tmp_path / "esm2"))
    assert all(torch.equal(tensor, sharded.state_dict()[name]) for name, tensor in whole.state_dict().items())
    (tmp_path / "esm2" / "unrelated.safetensors").write_bytes(b"not in the index, so never opened")
    load_encoder(EncoderConfig(source=str(tmp_path / "esm2")))
    second = tmp_path / "esm2" / "model-00002-of-00003.safetensors"
    second.write_bytes(second.read_bytes()[:-9])
    with pytest.raises(MissingWeights, match=r"model-00002-of-00003\.safetensors cannot be read"):
        load_encoder(EncoderConfig(source=str(tmp_path / "esm2")))
    second.unlink()
    with pytest.raises(MissingWeights, match=r"model-00002-of-00003\.safetensors cannot be read"):
        load_encoder(EncoderConfig(source=str(tmp_path / "esm2")))


def test_a_tensor_in_two_files_is_refused(random_esm: Path, tmp_path: Path) -> None:
    for name in ("model.safetensors", "copy.safetensors", "config.json"):
        (tmp_path / name).write_bytes((random_esm / name.replace("copy", "model")).read_bytes())
    with pytest.raises(MissingWeights, match="stands in two files"):
        load_encoder(EncoderConfig(source=str(tmp_path)))


class Payload:
    """Unpickled, it makes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


def test_a_pt_file_that_holds_code_is_refused_and_the_code_never_runs(tmp_path: Path) -> None:
    torch.save({"cfg": {"model": Payload(tmp_path / "it-ran")}, "model": {}}, tmp_path / "evil.pt")
    with pytest.raises(MissingWeights, match="more than tensors and plain settings"):
        load_encoder(EncoderConfig(source=str(tmp_path / "evil.pt")))
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", {"args": 1, "model": {}}, [1, 2]])
def test_a_pt_file_that_is_no_esm2_is_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "other.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(MissingWeights, match=r"other\.pt.*(no ESM-2|more than tensors)"):
        load_encoder(EncoderConfig(source=str(path)))


def test_weights_in_half_precision_load_from_both_formats(random_esm: Path, tmp_path: Path) -> None:
    half = {name: tensor.half() for name, tensor in load_file(random_esm / "model.safetensors").items()}
    save_file(half, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_bytes((random_esm / "config.json").read_bytes())
    write_fair_esm(tmp_path, tmp_path / "half.pt")
    states = [
        load_encoder(EncoderConfig(source=str(source)))(pack_proteins(sequences()))
        for source in (tmp_path, tmp_path / "half.pt")
    ]
    assert states[0].dtype == torch.float32
    assert torch.equal(*states)


def test_a_hub_id_is_read_at_its_revision_and_refused_without_one(
    random_esm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub's own client, offline, on a cache laid out as it lays it out."""
    revision = "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(random_esm, tmp_path / "models--owner--esm2" / "snapshots" / revision)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    loaded = load_encoder(EncoderConfig(source="owner/esm2", revision=revision))
    assert torch.equal(loaded.embeddings.weight, load_encoder(EncoderConfig(source=str(random_esm))).embeddings.weight)
    with pytest.raises(MissingWeights, match="Pin it"):
        load_encoder(EncoderConfig(source="owner/esm2"))
    with pytest.raises(MissingWeights, match="download the folder elsewhere"):
        load_encoder(EncoderConfig(source="owner/esm2", revision="f" * 40))


def test_a_letter_outside_the_alphabet_never_reaches_the_encoder() -> None:
    with pytest.raises(ValueError, match="'J'"):
        pack_proteins(["MKJ"])
