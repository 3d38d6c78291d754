"""The packed encoder against transformers' and fair-esm's own models."""

from pathlib import Path

import esm
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import EsmModel, EsmTokenizer

from protein2text.errors import MissingWeights
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
    with pytest.raises(ValueError, match="layers 1 to 3"):
        load_encoder(EncoderConfig(source=str(random_esm), layer=4))


def test_casting_keeps_rotary_frequencies_exact(random_esm: Path) -> None:
    encoder = load_encoder(EncoderConfig(source=str(random_esm), dtype="bfloat16"))
    assert encoder.layers[0].qkv.weight.dtype == torch.bfloat16
    assert encoder.frequencies_C.dtype == torch.float32
    assert torch.equal(encoder.frequencies_C, load_encoder(EncoderConfig(source=str(random_esm))).frequencies_C)


def test_legacy_rope_reproduces_the_reference_and_exact_rope_does_not(golden: Path) -> None:
    recorded = load_file(golden / "reference-tiny" / "recorded.safetensors")
    import json

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


def test_a_letter_outside_the_alphabet_never_reaches_the_encoder() -> None:
    with pytest.raises(ValueError, match="'J'"):
        pack_proteins(["MKJ"])
