"""The rehearsal: true shapes on paper, a small one for real, and no step done twice."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from protein2text.errors import ConfigError, ResumeMismatch
from protein2text.models.published import linear_shapes
from protein2text.rehearsal import Rehearsal, random_sequences
from protein2text.rehearsal_weights import SHAPES, shapes_of

STEPS = ["write bases", "write checkpoint", "convert", "load and predict", "alignment steps", "instruction steps"]


def test_true_shapes_are_those_of_the_published_bases() -> None:
    shapes = SHAPES["protein2text-8b"]
    assert (shapes.encoder_width, shapes.width, shapes.heads // shapes.groups) == (1280, 4096, 4)
    assert SHAPES["protein2text-8b-esm2-3b"].encoder_width == 2560
    assert (SHAPES["starter"].encoder_width, SHAPES["starter"].width) == (320, 960)
    attention = 2 * shapes.width**2 + 2 * shapes.width * shapes.groups * shapes.head_dim
    layer = attention + 3 * shapes.width * shapes.feed_forward
    size = 2 * shapes.vocabulary * shapes.width + shapes.layers * layer
    assert size == pytest.approx(8.03e9, rel=1e-3)


def test_a_scale_or_preset_that_makes_no_sense_is_refused() -> None:
    for preset, scale, message in (
        ("tiny", 1.0, "has no shapes"),
        ("starter", 0.0, "not above 0"),
        ("starter", 2, "2 is"),
    ):
        with pytest.raises(ConfigError, match=message):
            shapes_of(preset, scale)


def test_finished_steps_are_not_repeated(tmp_path: Path) -> None:
    first = Rehearsal(tmp_path, "protein2text-8b", scale=0.03).run()
    before = [next(first) for _ in range(3)]
    first.close()
    assert [step.step for step in before] == STEPS[:3]
    config = json.loads((tmp_path / "llama" / "config.json").read_text())
    assert config["rope_scaling"]["rope_type"] == "llama3"
    assert config["num_attention_heads"] == 4 * config["num_key_value_heads"]
    assert len(json.loads((tmp_path / "llama" / "generation_config.json").read_text())["eos_token_id"]) == 3
    with safe_open(tmp_path / "native" / "lora.safetensors", "pt") as file:
        assert len(file.keys()) == 2 * 7 * config["num_hidden_layers"]
    assert len(linear_shapes(tmp_path / "llama")) == 7 * config["num_hidden_layers"] + 1
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    second = Rehearsal(tmp_path, "protein2text-8b", scale=0.03).run()
    assert [next(second) for _ in range(3)] == before
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    with pytest.raises(ResumeMismatch, match=r"starter × 0\.03"):
        Rehearsal(tmp_path, "starter", scale=0.03)


@pytest.mark.slow
def test_a_mid_size_shape_goes_all_the_way(tmp_path: Path) -> None:
    steps = list(Rehearsal(tmp_path, "protein2text-8b", scale=0.1).run())
    assert [step.step for step in steps] == STEPS
    assert "64 answers" in steps[3].note
    assert all(step.seconds > 0 and step.memory_bytes > 0 and step.disk_bytes > 0 for step in steps)


def test_lengths_are_those_of_real_proteins() -> None:
    lengths = sorted(map(len, random_sequences(2001)))
    assert 270 < lengths[1000] < 320
    assert lengths[-1] <= 2000
