"""One optimizer step of the true model, however it is divided: its loss and gradients against autograd on one record at
a time, with answers of very unequal lengths."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from protein2text.config import RunConfig
from protein2text.models.batches import pack, pack_proteins
from protein2text.models.chat import Example
from protein2text.models.feature_cache import open_cache
from protein2text.models.protein_to_text import ProteinToText
from protein2text.train.plan import StepSize
from protein2text.train.planned import PlannedMicroBatch, PlannedStep
from protein2text.train.task import StageTask

LONG, MIDDLE, SHORT = ["P06", "P13"], ["P05"], ["P07"]  # answers of seven, six and one sentence
Shares = Sequence[Sequence[tuple[Sequence[str], bool]]]
EVEN: Shares = [[(LONG, True), (SHORT, True)], [(MIDDLE, True), (SHORT, False)]]
"""For each worker its micro-batches, and whether they count; the last is a filler."""
ONE_IDLE: Shares = [[([*LONG, *SHORT, *MIDDLE], True)], [(SHORT, False)]]
ALONE: Shares = [[(LONG, True), (SHORT, True), (MIDDLE, True)]]
QUESTIONS: Shares = [[(["P09:q0", "P14:q0"], True), (["P11:q1"], True)], [(["P08:q0"], True), (["P11:q1"], False)]]
"""Answers of five, four and half a sentence, the last about two proteins."""


@pytest.fixture
def config(run_values: dict[str, Any]) -> RunConfig:
    """A step whose gradients are not clipped, so that Adam's first moment is a tenth of them."""
    unclipped = run_values["alignment"] | {"max_grad_norm": 1e9}
    return RunConfig.parse(run_values | {"alignment": unclipped})


def changed(config: RunConfig, zero_stage: int = 2, **alignment: Any) -> RunConfig:
    values = config.model_dump(mode="json")
    values["scaling"]["zero_stage"] = zero_stage
    values["alignment"] |= {"state_cache_gib": 0} | alignment
    values["instruction"]["state_cache_gib"] = 0
    return RunConfig.parse(values)


def reference(config: RunConfig, rows: dict[str, Any], weights: dict[str, float]) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradients in one process, each record in a batch of its own and its summed loss under a weight."""
    torch.manual_seed(config.seed)
    model = ProteinToText(config.model)
    model.set_stage("alignment")
    return loss_and_gradients(model, rows, weights)


def loss_and_gradients(
    model: ProteinToText, rows: dict[str, Any], weights: dict[str, float]
) -> tuple[float, dict[str, Tensor]]:
    total = 0.0
    for name, weight in weights.items():
        row = rows[name]
        loss = model(pack([Example(row["ids"], row["labels"])], [row["sequences"]], model.config.bridge)) * weight
        loss.backward()
        total += loss.item()
    gradients = {name: parameter.grad for name, parameter in model.trainable().items() if parameter.grad is not None}
    return total, gradients


def step_of(
    workers: Any, config: RunConfig, rows: dict[str, Any], shares: Shares, start: Path | None = None
) -> list[tuple[float, Any]]:
    """Each worker's loss and gradients, of instruction tuning if there is a model to start with."""

    def micro_batch(names: Sequence[str], counted: bool) -> PlannedMicroBatch:
        examples = [Example(rows[name]["ids"], rows[name]["labels"]) for name in names]
        return PlannedMicroBatch(list(names), examples, [rows[name]["sequences"] for name in names], counted)

    counted = [names for share in shares for names, counted in share if counted]
    members = [rows[name] for names in counted for name in names]
    size = StepSize(*(sum(row[name] for row in members) for name in StepSize._fields))
    planned = [
        PlannedStep(0, [micro_batch(*item) for item in share], size, num_micro_batches=len(counted)) for share in shares
    ]
    task = StageTask(config, "instruction" if start else "alignment", 1, {}, start=start)
    results = workers.run("one_step", task, planned)
    return [(loss_sum / size.num_supervised, gradients) for loss_sum, gradients in results]


def assert_equal(results: list[tuple[float, Any]], loss: float, gradients: dict[str, Tensor]) -> None:
    """Within 1e-5 of the loss and 1e-4 of each gradient, relative, in float32."""
    for own_loss, found in results:
        assert own_loss == pytest.approx(loss, rel=1e-5)
        assert found.keys() == gradients.keys()
        for name, gradient in gradients.items():
            assert (found[name] - gradient).norm() <= 1e-4 * gradient.norm(), name


@pytest.mark.parametrize(
    ("workers", "shares", "zero_stage", "state_cache_gib"),
    [
        ("one_worker", ALONE, 0, 0), ("one_worker", ALONE, 2, 1e-3),
        ("two_workers", EVEN, 0, 0), ("two_workers", EVEN, 1, 0), ("two_workers", EVEN, 2, 0),
        ("two_workers", EVEN, 3, 0), ("two_workers", EVEN, 2, 1e-3),
        ("two_workers", ONE_IDLE, 2, 0), ("two_workers", ONE_IDLE, 3, 0),
    ],
)  # fmt: skip
def test_a_step_is_the_mean_over_all_supervised_tokens_however_it_is_divided(
    request: pytest.FixtureRequest, plain: Any, config: RunConfig,
    workers: str, shares: Shares, zero_stage: int, state_cache_gib: float,
) -> None:  # fmt: skip
    rows = {row["record_id"]: row for row in plain.tokenized(config, "alignment").to_pylist()}
    names = [*LONG, *MIDDLE, *SHORT]
    lengths = [rows[name]["num_supervised"] for name in names]
    assert max(lengths) > 3 * min(lengths)
    config = changed(config, zero_stage, state_cache_gib=state_cache_gib)
    expected = reference(config, rows, dict.fromkeys(names, 1 / sum(lengths)))
    assert_equal(step_of(request.getfixturevalue(workers), config, rows, shares), *expected)


@pytest.mark.parametrize("zero_stage", [0, 3])
def test_per_device_mean_weighs_each_micro_batch_alike(
    two_workers: Any, plain: Any, config: RunConfig, zero_stage: int
) -> None:
    """Three micro-batches count: a token of each weighs one over three times the tokens of its own."""
    rows = {row["record_id"]: row for row in plain.tokenized(config, "alignment").to_pylist()}
    config = changed(config, zero_stage, loss_norm="per_device_mean")
    weights = {
        name: 1 / (3 * sum(rows[member]["num_supervised"] for member in members))
        for members in (LONG, SHORT, MIDDLE)
        for name in members
    }
    expected = reference(config, rows, weights)
    assert_equal(step_of(two_workers, config, rows, EVEN), *expected)
    means = dict.fromkeys(weights, 1 / sum(rows[name]["num_supervised"] for name in weights))
    assert abs(reference(config, rows, means)[0] / expected[0] - 1) > 1e-3, "the two norms differ on these records"


@pytest.mark.parametrize(("zero_stage", "is_cached"), [(2, False), (2, True), (3, False)])
def test_a_step_of_instruction_tuning_is_one_workers_plain_one_with_and_without_cached_features(
    two_workers: Any, plain: Any, config: RunConfig, tmp_path: Path, zero_stage: int, is_cached: bool
) -> None:
    """LoRA's B is not zero, so that A has gradients too, and its dropout is off. Cached states lie in a folder that the
    workers only read, and which holds them all."""
    values = changed(config, zero_stage).model_dump(mode="json")
    values["model"]["decoder"]["lora"]["dropout"] = 0.0
    values["instruction"]["max_grad_norm"] = 1e9
    features = tmp_path / "features"
    config = RunConfig.parse(values | {"data": values["data"] | {"features": str(features) if is_cached else None}})
    rows = {row["record_id"]: row for row in plain.tokenized(config, "instruction").to_pylist()}
    names = [name for share in QUESTIONS for part, counted in share if counted for name in part]
    lengths = [rows[name]["num_supervised"] for name in names]
    assert max(lengths) > 3 * min(lengths)

    torch.manual_seed(config.seed)
    model = ProteinToText(config.model)
    model.set_stage("instruction")
    for name, parameter in model.trainable().items():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(tmp_path / "start")
    loss, gradients = loss_and_gradients(model, rows, dict.fromkeys(names, 1 / sum(lengths)))
    assert any("lora_A" in name for name in gradients)
    assert all(gradient.any() for gradient in gradients.values())
    if is_cached:
        cache = open_cache(model.encoder, model.reading, "fp32", features, 2**30)
        for sequence in {sequence for name in names for sequence in rows[name]["sequences"]}:
            cache(pack_proteins([sequence], model.reading))
        cache.flush()
    assert_equal(step_of(two_workers, config, rows, QUESTIONS, tmp_path / "start"), loss, gradients)
