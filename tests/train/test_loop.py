"""A stage's loop on two workers, against one plain process, and going on after a stop and after damage."""

import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import get_cosine_schedule_with_warmup

from protein2text.config import RunConfig
from protein2text.models.batches import pack
from protein2text.models.chat import Example
from protein2text.models.checkpoints import write_manifest
from protein2text.models.protein_to_text import ProteinToText
from protein2text.train.events import read_events, read_steps
from protein2text.train.stage_config import Stage
from protein2text.train.task import StageTask
from tests.train.conftest import small_run

NUM_STEPS = 12  # floor(20 records x 3 epochs / 5)


def final_state(task: StageTask) -> dict[str, Tensor]:
    folder = task.checkpoints / f"step-{task.num_steps:08}"
    return {
        f"{part}/{name}": value
        for part in ("weights", "exp_avg", "exp_avg_sq")
        for name, value in load_file(folder / f"{part}.safetensors").items()
    }


def assert_equal_states(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def losses(task: StageTask) -> list[float]:
    return [event["loss"] for event in read_steps(task.events)]


def renamed(values: dict[str, Any], name: str, **changes: Any) -> RunConfig:
    return RunConfig.parse(values | {"name": name} | changes)


def plain_loop(plain: Any, config: RunConfig, stage: Stage, model: ProteinToText) -> tuple[list[float], list[float]]:
    """One process, torch only: whole batches, mean over the batch's supervised tokens, transformers' schedule."""
    rows = {row["record_id"]: row for row in plain.tokenized(config, stage).to_pylist()}
    plan = plain.plan_of(config, stage, plain.tokenized(config, stage))
    settings = config.stage(stage)
    parameters = model.trainable()
    matrices = [value for value in parameters.values() if value.ndim > 1]
    vectors = [value for value in parameters.values() if value.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate)
    schedule = get_cosine_schedule_with_warmup(optimizer, -(-plan.num_steps // 10), plan.num_steps)
    found, norms = [], []
    for step in range(plan.num_steps):
        chosen = [rows[plan.records[index].record_id] for index in plan.step_records(step)]
        examples = [Example(row["ids"], row["labels"]) for row in chosen]
        loss = model(pack(examples, [row["sequences"] for row in chosen], config.model.bridge))
        loss = loss / sum(label != -100 for row in chosen for label in row["labels"])
        optimizer.zero_grad()
        loss.backward()
        norms.append(nn.utils.clip_grad_norm_(parameters.values(), settings.max_grad_norm).item())
        optimizer.step()
        schedule.step()
        found.append(loss.item())
    return found, norms


@pytest.mark.parametrize(
    ("zero_stage", "kind", "state_cache_gib"),
    [
        (2, "resampler", 0), (2, "resampler", 1e-5), (2, "projector", 0), (2, "gated_cross_attention", 0),
        pytest.param(3, "resampler", 0, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_two_workers_follow_one_plain_process(
    plain: Any, train_on: Any, two_workers: Any, run_values: dict[str, Any],
    zero_stage: int, kind: str, state_cache_gib: float,
) -> None:  # fmt: skip
    """Answers of 3 to 30 tokens, micro-batches under bounds, fillers: the losses agree to 1e-4 relative."""
    run_values["model"]["bridge"]["kind"] = kind
    run_values["alignment"] = run_values["alignment"] | {"state_cache_gib": state_cache_gib}
    run_values["instruction"] = run_values["instruction"] | {"state_cache_gib": state_cache_gib}
    config = renamed(run_values, "reference", scaling={"num_workers": 2, "zero_stage": zero_stage})
    torch.manual_seed(config.seed)
    model = ProteinToText(config.model)
    model.set_stage("alignment")
    expected, expected_norms = plain_loop(plain, config, "alignment", model.train())
    task = train_on(two_workers, config)
    assert task.num_steps == NUM_STEPS
    assert losses(task) == pytest.approx(expected, rel=1e-4)
    assert [event["grad_norm"] for event in read_steps(task.events)] == pytest.approx(expected_norms, rel=1e-3)
    trained = ProteinToText.from_pretrained(task.folder / "model")
    for (name, value), reference in zip(trained.bridge_state().items(), model.bridge_state().values(), strict=True):
        torch.testing.assert_close(value, reference, rtol=1e-2, atol=1e-3, msg=name)


def test_instruction_trains_lora_and_goes_on_with_its_dropout(
    train_on: Any, two_workers: Any, undisturbed: Any, run_values: dict[str, Any]
) -> None:
    def second_stage(name: str, stop_after: int | None) -> StageTask:
        config = renamed(run_values, name)
        shutil.copytree(undisturbed.task.folder, config.folder / "alignment")
        if stop_after:
            train_on(two_workers, config, "instruction", stop_after)
        return train_on(two_workers, config, "instruction")

    whole, stopped = second_stage("whole", None), second_stage("stopped", 5)
    assert_equal_states(final_state(stopped), final_state(whole))
    assert any("lora_B" in name and value.any() for name, value in final_state(whole).items())
    before = ProteinToText.from_pretrained(whole.config.folder / "alignment" / "model").bridge_state()
    after = ProteinToText.from_pretrained(whole.folder / "model").bridge_state()
    assert any(not torch.equal(value, before[name]) for name, value in after.items())


def test_the_card_says_under_which_terms_the_corpus_was(
    train_on: Any, two_workers: Any, run_values: dict[str, Any]
) -> None:
    data = run_values["data"] | {"licences": {"qa_generator": "Llama3.1"}}
    config = renamed(run_values, "terms", data=data, alignment=run_values["alignment"] | {"max_steps": 1})
    card = (train_on(two_workers, config).folder / "model" / "README.md").read_text()
    assert "| corpus | 51 of 52 records | cc-by-4.0 |" in card
    assert "| corpus | 1 of 52 records | unknown |" in card
    assert "| qa generator | as stated by its user | llama3.1 |" in card
    assert "# Llama-" in card
    assert re.search(r"Commercial use: unknown, because .*the corpus \(1 of 52 records\) is under unknown", card)


def truncate(path: Path, dice: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: dice.randrange(path.stat().st_size)])


def flip_a_bit(path: Path, dice: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    path.write_bytes(content)


def remove(path: Path, dice: random.Random) -> None:
    path.unlink()


def empty_the_manifest(path: Path, dice: random.Random) -> None:
    (path.parent / "manifest.json").write_text("{}")


def add_a_file(path: Path, dice: random.Random) -> None:
    (path.parent / "core").write_text("a stranger")


def write_as_another_version(path: Path, dice: random.Random) -> None:
    trainer = path.parent / "trainer.json"
    trainer.write_text(trainer.read_text().replace('"version": 1', '"version": 9'))
    write_manifest(path.parent)


@pytest.fixture(scope="module")
def stopped(small_world: Path, tmp_path_factory: pytest.TempPathFactory, train_on: Any, two_workers: Any) -> StageTask:
    """Stopped after step 9, with checkpoints after 4 and 8; not to be changed."""
    config = RunConfig.parse(small_run(small_world, tmp_path_factory.mktemp("stopped")))
    task: StageTask = train_on(two_workers, config, stop_after=9)
    return task


@pytest.mark.parametrize(
    "damage",
    [
        truncate, flip_a_bit, remove, write_as_another_version,
        *(pytest.param(damage, marks=pytest.mark.slow) for damage in (empty_the_manifest, add_a_file)),
    ],
)  # fmt: skip
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_it_used(
    train_on: Any, two_workers: Any, stopped: StageTask, run_values: dict[str, Any],
    damage: Callable[[Path, random.Random], None],
) -> None:  # fmt: skip
    dice = random.Random(damage.__name__)
    config = renamed(run_values, "damaged")
    checkpoints = shutil.copytree(stopped.folder, config.folder / "alignment") / stopped.checkpoints.name
    damage(dice.choice(sorted((checkpoints / "step-00000008").iterdir())), dice)
    task = train_on(two_workers, config, stop_after=9)
    messages = " / ".join(event["message"] for event in read_events(task.events) if "message" in event)
    assert "checkpoint set aside" in messages
    assert "step-00000008" in messages
    assert messages.endswith("training from step-00000004, the newest good checkpoint")
    assert losses(task) == losses(stopped)
    assert [event["step"] for event in read_events(task.events) if "loss" in event] == [*range(1, 10), *range(5, 10)]
    assert (task.checkpoints / "corrupt-step-00000008").is_dir()
