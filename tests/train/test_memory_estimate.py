"""The estimate against what tensors take: on a CPU, at tiny size. No GPU has been measured."""

import time
from typing import Any

import pytest
import torch
from torch import Tensor

from protein2text.config import RunConfig, load_run
from protein2text.models.batches import Batch, pack
from protein2text.models.chat import Example
from protein2text.models.protein_to_text import ProteinToText
from protein2text.models.sources import resolve_source
from protein2text.train.memory_estimate import Load, estimate, saved_by, state_bytes
from protein2text.train.skeleton import skeleton
from protein2text.train.stage_config import ScalingConfig, Stage

SETTINGS = {"epochs": 1, "global_batch": 10, "learning_rate": 1e-3}
H100_BYTES = 80 * 2**30


@pytest.fixture
def tiny(run_values: dict[str, Any]) -> RunConfig:
    """The tiny preset's model on the small world's records."""
    model = load_run("tiny").model.model_dump(mode="json")
    model["decoder"] |= {"source": str(resolve_source("preset:tiny/llama", None))}
    model["decoder"]["lora"]["dropout"] = 0.1
    return RunConfig.parse(run_values | {"model": model})


def real_model(config: RunConfig, stage: Stage) -> ProteinToText:
    model = ProteinToText(config.model)
    model.set_stage(stage)
    return model.train()


def real_batch(plain: Any, config: RunConfig, stage: Stage) -> Batch:
    rows = plain.tokenized(config, stage).to_pylist()[:12]
    examples = [Example(row["ids"], row["labels"]) for row in rows]
    return pack(examples, [row["sequences"] for row in rows], config.model.bridge)


@pytest.mark.parametrize("stage", ["alignment", "instruction"])
def test_a_skeleton_has_the_models_own_parameters(tiny: RunConfig, stage: Stage) -> None:
    model = real_model(tiny, stage)
    counts = skeleton(tiny.model, stage).counts()
    assert sum(count.trained for count in counts.values()) == sum(value.numel() for value in model.trainable().values())
    assert sum(count.num_bytes for count in counts.values()) == sum(value.nbytes for value in model.parameters())
    assert counts["encoder"].frozen == sum(value.numel() for value in model.encoder.parameters())
    assert ("LoRA" in counts) == (stage == "instruction")


def test_the_published_sizes_are_the_published_counts() -> None:
    """8,030,261,248 parameters of Llama-3.1-8B (its model card), 361,821,120 of SmolLM2-360M; LoRA counted by hand."""
    large = skeleton(load_run("protein2text-8b").model, "instruction").counts()
    assert large["decoder"].frozen == 8_030_261_248
    widths = [(4096, 4096), (4096, 1024), (4096, 1024), (4096, 4096), *[(4096, 14336)] * 3]
    assert large["LoRA"].trained == 32 * 64 * sum(map(sum, widths))
    assert large["projector"].trained == 1280 * 4096 + 4096 + 4096 * 4096 + 4096
    assert skeleton(load_run("starter").model, "alignment").counts()["decoder"].frozen == 361_821_120


@pytest.mark.parametrize("stage", ["alignment", "instruction"])
@pytest.mark.parametrize("checkpoint", [False, True])
def test_what_autograd_saves_is_what_a_real_forward_saves(
    plain: Any, tiny: RunConfig, stage: Stage, checkpoint: bool
) -> None:
    """To 1 %: the real model's weights are masked by their place in memory, which padding may move."""
    model, batch = real_model(tiny, stage), real_batch(plain, tiny, stage)
    if checkpoint:
        model.decoder.checkpoint_activations()
    places = {weight.untyped_storage().data_ptr() for weight in (*model.parameters(), *model.buffers())}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(batch)
    assert loss.isfinite()
    real = sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in places)
    assert saved_by(skeleton(tiny.model, stage), batch, None, checkpoint=checkpoint) == pytest.approx(real, rel=0.01)


@pytest.mark.parametrize("stage", ["alignment", "instruction"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_peak_of_a_real_step_is_within_a_third(
    plain: Any, worker_functions: Any, tiny: RunConfig, stage: Stage, checkpointing: bool
) -> None:
    """Forward and backward on real records; the estimate knows their number and sizes, and takes all as equal."""
    batch = real_batch(plain, tiny, stage)
    bounds = tiny.stage(stage).model_copy(update={"activation_checkpointing": checkpointing})
    config = tiny.model_copy(update={stage: bounds})
    model = real_model(config, stage)
    if checkpointing:
        model.decoder.checkpoint_activations()
    load = Load(len(batch.text.lengths), batch.num_tokens, batch.num_residues, batch.num_supervised)
    parts = estimate(config, stage, load).parts
    expected = sum(parts.get(name, 0) for name in ("encoder states", "activations", "logits", "encoder's forward"))
    gradients = sum(weight.nbytes for weight in model.trainable().values())
    assert 0.75 < expected / (worker_functions.peak_bytes(lambda: model(batch).backward()) - gradients) < 1.33


@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
def test_weights_gradients_and_optimizer_are_what_an_engine_needs(two_workers: Any, zero_stage: int) -> None:
    """Two workers; within a quarter: when gathered weights and reduced gradients are let go differs from run to run."""
    trained, frozen = 8 * (300 * 300 + 300), 4 * (300 * 300 + 300)
    expected = sum(state_bytes(trained, frozen, ScalingConfig(num_workers=2, zero_stage=zero_stage)).values())
    for held in two_workers.run("most_bytes_in_a_step", SETTINGS, zero_stage):
        assert 0.75 < expected / held < 1.25


def test_the_published_recipe_fits_its_gpus_and_is_estimated_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline: its bases are known by their published sizes."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.snapshot_download", None)
    config = load_run("protein2text-8b")
    began = time.process_time()
    alignment = estimate(config, "alignment")
    assert time.process_time() - began < 30
    assert 16 * 2**30 < alignment.fixed < 20 * 2**30, "16 GB of bfloat16 weights"
    assert alignment.needed < H100_BYTES
    assert estimate(config, "instruction").needed < H100_BYTES
    assert alignment.sentence(H100_BYTES).startswith("needs about 62 GiB of 80 GiB per GPU: frozen weights 16 GiB")


def test_what_does_not_fit_says_what_to_turn_in_order(run_values: dict[str, Any]) -> None:
    sentence = estimate(RunConfig.parse(run_values), "instruction").sentence(10_000)
    knobs = ["micro_batch_tokens (now 200", "micro_batch_residues", "activation_checkpointing", "zero_stage (now 2)",
             "offload_optimizer"]  # fmt: skip
    places = [sentence.partition("Too much: ")[2].index(knob) for knob in knobs]
    assert places == sorted(places)
    on_one = RunConfig.parse(run_values | {"scaling": {"num_workers": 1, "offload_optimizer": True}})
    assert "scaling" not in estimate(on_one, "instruction").advice
