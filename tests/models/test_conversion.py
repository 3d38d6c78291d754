"""Published checkpoints in and out: nothing lost, nothing let in that does not belong, bases held to their sums."""

import collections
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner

from protein2text.cli import app
from protein2text.errors import ConfigError, CorruptCheckpoint, MissingFile, MissingWeights
from protein2text.models.conversion import convert, export
from protein2text.models.protein_to_text import ProteinToText
from protein2text.models.published import check_settings, infer_lora, linear_shapes, read_files
from protein2text.models.published_layout import PublishedFiles, infer_bridge
from protein2text.models.published_pickle import load_checked, read_pickles
from tests.models.recordings import LLAMA3, Recording, Shape, write_weights

SMALL = Shape(
    encoder_layers=2, layers=1, depth=2, adapter="adapter_model.bin", adapter_dtype=torch.float16,
    bridge_dtype=torch.float32,
)  # fmt: skip
LOOSE = "non_lora_trainables.bin"
SITE = "base_model.model.model."


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return write_weights(tmp_path_factory.mktemp("made"), SMALL, seed=5)


@pytest.fixture
def published(made: Recording, tmp_path: Path) -> Path:
    """A copy of the checkpoint, to be changed."""
    shutil.copytree(made.published, tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


@pytest.fixture(scope="module")
def native(made: Recording, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint, converted."""
    output = tmp_path_factory.mktemp("native") / "model"
    convert(made.published, output, base=str(made.base), encoder=str(made.encoder))
    return output


def tensors_of(path: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = (
        load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
    )
    return tensors


def assert_same_checkpoint(first: Path, second: Path) -> None:
    assert sorted(path.name for path in first.iterdir()) == sorted(path.name for path in second.iterdir())
    for path in first.iterdir():
        other = second / path.name
        if path.suffix == ".json":
            assert other.read_bytes() == path.read_bytes()
            continue
        ours, theirs = tensors_of(other), tensors_of(path)
        assert list(ours) == list(theirs)
        for name, tensor in theirs.items():
            assert ours[name].dtype == tensor.dtype, name
            assert torch.equal(ours[name], tensor), name


def test_the_golden_checkpoint_comes_back_bit_for_bit(golden: Path, tmp_path: Path) -> None:
    folder = golden / "reference-tiny"
    source, output = str(folder / "protein2text-tiny"), str(tmp_path / "native")
    base, encoder = str(folder / "base-llama"), str(folder / "facebook" / "esm2_tiny")
    run = CliRunner().invoke(app, ["convert", source, "--base", base, "--encoder", encoder, "--output", output])
    assert run.exit_code == 0, run.output
    again = str(tmp_path / "again")
    run = CliRunner().invoke(app, ["export", output, "--layout", "published", "--output", again])
    assert run.exit_code == 0, run.output
    assert_same_checkpoint(Path(source), Path(again))
    adapter = "adapter_model.safetensors"
    assert (Path(source) / adapter).read_bytes() == (Path(again) / adapter).read_bytes()
    assert not list((tmp_path / "native").rglob("*.bin"))


def test_a_checkpoint_with_a_pickled_adapter_comes_back_bit_for_bit(
    made: Recording, native: Path, tmp_path: Path
) -> None:
    export(native, tmp_path / "again")
    assert_same_checkpoint(made.published, tmp_path / "again")
    saved = load_file(native / "bridge.safetensors")
    assert saved["mm_resampler.media_pos_emb"].shape[0] == 1  # the only row that is read
    assert {tensor.dtype for tensor in load_file(native / "lora.safetensors").values()} == {torch.float16}
    with pytest.raises(ConfigError, match="not empty"):
        export(native, tmp_path / "again")


def test_sizes_come_from_tensors_and_the_switch_from_the_layout(native: Path) -> None:
    config = json.loads((native / "config.json").read_text())
    assert config["bridge"]["depth"] == 2  # model_args.json says 99
    assert config["bridge"]["head_dim"] == 8  # model_args.json says 4
    assert config["encoder"]["esm_rope"] == "legacy_bf16"
    assert config["origin"] == "published"


def test_a_converted_model_converts_again_after_export(made: Recording, native: Path, tmp_path: Path) -> None:
    """A model trained here, without any published files beside it, has a place in the layout too."""
    model = ProteinToText.from_pretrained(native)
    model.save_pretrained(tmp_path / "trained")
    export(tmp_path / "trained", tmp_path / "layout")
    convert(tmp_path / "layout", tmp_path / "back", base=str(made.base), encoder=str(made.encoder))
    for file in ("bridge.safetensors", "lora.safetensors"):
        first, second = load_file(tmp_path / "trained" / file), load_file(tmp_path / "back" / file)
        assert {name: tensor.dtype for name, tensor in first.items()} == {n: t.dtype for n, t in second.items()}
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_tensors_of_an_unused_family_are_dropped_and_listed(made: Recording, published: Path, tmp_path: Path) -> None:
    """And names may come without the doubled prefix; they go back as they came."""
    site = "base_model.model."
    extra = {f"{site}mm_gated_cross_attention.attn.to_q.weight": torch.ones(4, 4)}
    extra[f"{site}mm_gated_cross_attention.attn_gate"] = torch.zeros(1)
    read = {name.replace(SITE, site): tensor for name, tensor in tensors_of(published / LOOSE).items()}
    torch.save({**extra, **read}, published / LOOSE)
    arguments = ["convert", str(published), "--base", str(made.base), "--encoder", str(made.encoder)]
    run = CliRunner().invoke(app, [*arguments, "--output", str(tmp_path / "native")])
    assert run.exit_code == 0, run.output
    for name in extra:
        assert f"dropped: {name}" in run.stdout
        assert name in (tmp_path / "native" / "README.md").read_text()
    ProteinToText.from_pretrained(tmp_path / "native", compat=True)
    export(tmp_path / "native", tmp_path / "again")
    torch.save(read, published / LOOSE)
    assert_same_checkpoint(published, tmp_path / "again")


def replaced(name: str, change: Callable[[Tensor], Any]) -> Callable[[dict[str, Any]], None]:
    def apply(state: dict[str, Any]) -> None:
        state[name] = change(state[name])

    return apply


def added(name: Any, value: Any) -> Callable[[dict[Any, Any]], None]:
    def apply(state: dict[Any, Any]) -> None:
        state[name] = value

    return apply


QUERY = "mm_resampler.layers.1.0.to_q.weight"
MISFITS = {
    "missing": (lambda state: state.pop(QUERY), f"missing {QUERY}"),
    "unexpected": (added("mm_resampler.to_x.weight", torch.ones(2)), r"unexpected mm_resampler\.to_x\.weight"),
    "a hole between layers": (
        added("mm_resampler.layers.7.1.0.weight", torch.ones(32)), r"missing mm_resampler\.layers\.2",
    ),
    "misshapen": (replaced(QUERY, lambda tensor: tensor[:, :-1]), r"to_q\.weight is \(32, 31\), expected \(32, 32\)"),
    "misshapen norm": (replaced("mm_resampler.norm.bias", lambda tensor: tensor[:-1]), r"norm\.bias is \(31,\)"),
    "no whole multiple": (
        replaced("mm_resampler.layers.0.1.1.weight", lambda tensor: tensor[:-1]), "no whole multiple of the width 32",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(MISFITS))
def test_a_bridge_tensor_that_does_not_fit_is_refused_by_name(published: Path, kind: str) -> None:
    change, message = MISFITS[kind]
    state = {name.removeprefix(SITE): tensor for name, tensor in tensors_of(published / LOOSE).items()}
    assert infer_bridge(state, {"perceiver_heads": 4}, "folder").num_heads == 4
    change(state)
    with pytest.raises(CorruptCheckpoint, match=message):
        infer_bridge(state, {"perceiver_heads": 4}, "folder")


NOT_DENSE = {
    "sparse": (replaced(SITE + QUERY, lambda tensor: tensor.to_sparse()), r"to_q\.weight is sparse"),
    "compressed": (replaced(SITE + QUERY, lambda tensor: tensor.to_sparse_csr()), r"to_q\.weight is sparse"),
    "integer": (replaced(SITE + QUERY, lambda tensor: tensor.int()), r"to_q\.weight has dtype torch\.int32"),
    "double": (replaced(SITE + QUERY, lambda tensor: tensor.double()), r"to_q\.weight has dtype torch\.float64"),
    "meta": (replaced(SITE + QUERY, lambda tensor: tensor.to("meta")), r"to_q\.weight has no values"),
    "expanded": (replaced(SITE + QUERY, lambda tensor: tensor[:1, :1].clone().expand(32, 32)), "repeats its values"),
    "of too many dimensions": (replaced(SITE + QUERY, lambda tensor: tensor[None]), r"to_q\.weight is \(1, 32, 32\)"),
    "empty": (replaced(SITE + QUERY, lambda tensor: tensor[:0]), r"to_q\.weight is \(0, 32\)"),
    "a number": (added(f"{SITE}mm_resampler.latents", 3), "latents is a int"),
    "named by a number": (added(7, torch.ones(1)), "no usable name"),
    "unknown": (added(f"{SITE}mm_resampler.x.weight", torch.ones(2)), r"mm_resampler\.x\.weight is unexpected"),
    "the encoder's": (added(f"{SITE}protein_encoder.layer.weight", torch.ones(2)), "protein_encoder.* is unexpected"),
    "a list": (lambda state: state.update({f"{SITE}mm_projector.0.bias": [torch.ones(1)]}), "is a list, not a tensor"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize("kind", sorted(NOT_DENSE))
def test_an_entry_of_a_pickle_that_is_not_allowed_is_refused_by_name(
    published: Path, tmp_path: Path, kind: str
) -> None:
    change, message = NOT_DENSE[kind]
    state: dict[Any, Any] = dict(tensors_of(published / LOOSE))
    change(state)
    torch.save(state, published / LOOSE)
    report = load_checked(published / LOOSE, tmp_path / "out.safetensors")
    assert re.search(message, report["problem"])
    assert not (tmp_path / "out.safetensors").exists()


def test_a_pickle_that_repeats_one_storage_under_many_names_is_refused(published: Path, tmp_path: Path) -> None:
    shared = torch.ones(1000, 1000)
    names = [f"{SITE}mm_resampler.layers.{layer}.0.to_q.weight" for layer in range(50)]
    torch.save(dict.fromkeys(names, shared), published / LOOSE)
    report = load_checked(published / LOOSE, tmp_path / "out.safetensors")
    assert "need more room than its" in report["problem"]


class Harmful:
    """Unpickling it creates a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_is_a_program_is_refused_and_not_run(published: Path, tmp_path: Path) -> None:
    for file in (LOOSE, "adapter_model.bin"):
        whole = (published / file).read_bytes()
        torch.save({**tensors_of(published / file), "x": Harmful(tmp_path / "harm")}, published / file)
        with pytest.raises(CorruptCheckpoint, match=rf"{file}: the pickle holds more than tensors .*mkdir"):
            read_files(published)
        (published / file).write_bytes(whole)
    assert not (tmp_path / "harm").exists()


def test_a_file_that_is_no_pickle_of_tensors_is_refused(published: Path, tmp_path: Path) -> None:
    whole = (published / LOOSE).read_bytes()
    for content in (b"", b"\x80", whole[:-100], b"not a pickle"):
        (published / LOOSE).write_bytes(content)
        report = load_checked(published / LOOSE, tmp_path / "out.safetensors")
        assert re.search(r"cannot be read|more than tensors", report["problem"])
    torch.save([torch.ones(1)], published / LOOSE)
    assert "holds a list" in load_checked(published / LOOSE, tmp_path / "out.safetensors")["problem"]


def test_an_ordered_dict_of_parameters_is_read(published: Path) -> None:
    tensors = tensors_of(published / LOOSE)
    parameters = collections.OrderedDict((name, torch.nn.Parameter(tensor)) for name, tensor in tensors.items())
    torch.save(parameters, published / LOOSE)
    read = read_pickles(published / LOOSE)[0]
    assert list(read) == list(tensors)
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())


def test_settings_that_would_change_answers_are_refused(made: Recording) -> None:
    base = json.loads((made.base / "config.json").read_text())
    config = json.loads((made.published / "config.json").read_text())
    arguments = json.loads((made.published / "model_args.json").read_text())
    check_settings("folder", config, arguments, base)
    for key, value, message in (
        ("mm_use_resampler_gca", "gca", "converts 'resampler' only"),
        ("mm_protein_select_feature", "cls_patch", "converts 'patch' only"),
        ("mm_projector_type", "linear", "converts 'mlp2x_gelu' only"),
        ("mm_use_protein_start_end", True, "converts False only"),
        ("mm_protein_select_layer", "last", "is no number"),
        ("rope_theta", 10000.0, "the base's config.json says 500000.0"),
        ("rope_scaling", LLAMA3, "the base's config.json says None"),
    ):
        with pytest.raises(CorruptCheckpoint, match=message):
            check_settings("folder", {**config, key: value}, arguments, base)


@pytest.mark.parametrize("heads", [5, "4", 0, None])
def test_heads_that_do_not_divide_the_inner_width_are_refused(published: Path, heads: Any) -> None:
    state = {name.removeprefix(SITE): tensor for name, tensor in tensors_of(published / LOOSE).items()}
    with pytest.raises(CorruptCheckpoint, match="perceiver_heads="):
        infer_bridge(state, {"perceiver_heads": heads}, "folder")
    assert infer_bridge(state, {}, "folder").num_heads == 8


def test_an_adapter_that_is_not_plain_and_whole_is_refused(made: Recording) -> None:
    texts = {"adapter_config.json": (made.published / "adapter_config.json").read_text()}
    files = PublishedFiles(texts, {}, tensors_of(made.published / "adapter_model.bin"), "adapter_model.bin")
    linears = linear_shapes(made.base)
    assert infer_lora(files, linears, "folder").rank == 8
    for key, value, message in (
        ("use_dora", True, "only plain LoRA"),
        ("rank_pattern", {"q_proj": 2}, "only plain LoRA"),
        ("modules_to_save", ["embed_tokens"], "only plain LoRA"),
        ("bias", "all", "only plain LoRA"),
        ("r", 4, r"lora_A\.weight is \(8, 64\), expected \(4, 64\)"),
        ("target_modules", ["q_proj"], "target_modules are"),
        ("lora_alpha", 2.5, "whole numbers"),
    ):
        settings = {"adapter_config.json": json.dumps({**json.loads(texts["adapter_config.json"]), key: value})}
        with pytest.raises(CorruptCheckpoint, match=message):
            infer_lora(replace(files, settings=settings), linears, "folder")
    name = f"{SITE}layers.0.self_attn.q_proj.lora_A.weight"
    for changed, message in (
        ({**files.adapter, name.replace("layers.0", "layers.1"): torch.ones(8, 64)}, r"unexpected .*layers\.1"),
        ({key: tensor for key, tensor in files.adapter.items() if key != name}, r"missing .*q_proj\.lora_A"),
        ({}, "no tensor of a low-rank adapter|target_modules"),
    ):
        with pytest.raises(CorruptCheckpoint, match=message):
            infer_lora(replace(files, adapter=changed), linears, "folder")


def test_an_adapter_in_safetensors_is_held_to_the_same_list(published: Path) -> None:
    tensors = tensors_of(published / "adapter_model.bin")
    (published / "adapter_model.bin").unlink()
    save_file({**tensors, f"{SITE}embed_tokens.weight": torch.ones(2, 2)}, published / "adapter_model.safetensors")
    with pytest.raises(CorruptCheckpoint, match=r"embed_tokens\.weight is unexpected"):
        read_files(published)


def test_a_checkpoint_for_another_base_is_refused(made: Recording, tmp_path: Path) -> None:
    other = write_weights(tmp_path / "other", Shape(encoder_layers=2, layers=1, heads=3, groups=1), seed=1)
    with pytest.raises(CorruptCheckpoint, match="hidden_size=64, but the base's"):
        convert(made.published, tmp_path / "native", base=str(other.base), encoder=str(made.encoder))
    assert not (tmp_path / "native").exists()


def test_a_file_that_is_missing_is_named(made: Recording, published: Path, tmp_path: Path) -> None:
    (published / "model_args.json").unlink()
    with pytest.raises(MissingFile, match=r"model_args\.json"):
        convert(published, tmp_path / "native", base=str(made.base), encoder=str(made.encoder))


def test_a_moved_base_is_found_again_and_a_changed_one_refused(made: Recording, tmp_path: Path) -> None:
    base, encoder = tmp_path / "base", tmp_path / "encoder"
    shutil.copytree(made.base, base)
    shutil.copytree(made.encoder, encoder)
    native = tmp_path / "native"
    convert(made.published, native, base=str(base), encoder=str(encoder))
    record = json.loads((native / "bases.json").read_text())
    assert record["decoder"]["resolved"] == str(base)
    assert set(record["decoder"]["files"]) == {path.name for path in base.iterdir()}
    before = ProteinToText.from_pretrained(native, compat=True)
    base.rename(tmp_path / "elsewhere")
    with pytest.raises(MissingWeights, match="--base"):
        ProteinToText.from_pretrained(native, compat=True)
    after = ProteinToText.from_pretrained(native, compat=True, base=str(tmp_path / "elsewhere"))
    assert all(torch.equal(after.state_dict()[name], tensor) for name, tensor in before.state_dict().items())
    path = encoder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptCheckpoint, match=r"encoder/model\.safetensors.*--encoder"):
        ProteinToText.from_pretrained(native, compat=True, base=str(tmp_path / "elsewhere"))
    ProteinToText.from_pretrained(
        native, compat=True, base=str(tmp_path / "elsewhere"), encoder=str(made.encoder), verify_bases=True
    )


def test_a_folder_with_its_bases_inside_stands_alone(made: Recording, native: Path, tmp_path: Path) -> None:
    base, encoder = tmp_path / "base", tmp_path / "encoder"
    shutil.copytree(made.base, base)
    shutil.copytree(made.encoder, encoder)
    convert(made.published, tmp_path / "native", base=str(base), encoder=str(encoder), embed_bases=True)
    shutil.rmtree(base)
    shutil.rmtree(encoder)
    (tmp_path / "native").rename(tmp_path / "moved")
    alone = ProteinToText.from_pretrained(tmp_path / "moved", compat=True).state_dict()
    other = ProteinToText.from_pretrained(native, compat=True).state_dict()
    assert all(torch.equal(alone[name], tensor) for name, tensor in other.items())


def test_the_card_names_llama_and_says_why_commercial_use_is_unknown(native: Path) -> None:
    card = (native / "README.md").read_text()
    assert card.startswith("# Llama-")
    assert "Built with Llama" in card
    assert "Commercial use: unknown, because" in card
