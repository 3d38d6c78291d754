"""What a step cost, against a recount from the plan, and over workers that did unlike shares."""

from typing import Any

import pytest
import torch

from protein2text.config import RunConfig
from protein2text.models.batches import pack
from protein2text.models.chat import Example
from protein2text.models.encoders import reading_of
from protein2text.models.flops import UsefulFlops
from protein2text.models.protein_to_text import ProteinToText
from protein2text.train.events import metrics_of, read_steps
from protein2text.train.meter import WorkerStep, peak_flops, step_numbers
from protein2text.train.plan import Plan
from protein2text.train.stage_config import ScalingConfig

CPU = torch.device("cpu")


def recounted(plain: Any, config: RunConfig) -> list[dict[str, float]]:
    """Each step's rows and operations from the plan's records, whoever computed them."""
    tokenized = plain.tokenized(config, "alignment")
    rows = {row["record_id"]: row for row in tokenized.to_pylist()}
    plan = plain.plan_of(config, "alignment", tokenized)
    model = ProteinToText(config.model)
    model.set_stage("alignment")
    return [step_counts(plan, step, rows, model) for step in range(plan.num_steps)]


def step_counts(plan: Plan, step: int, rows: dict[str, Any], model: ProteinToText) -> dict[str, float]:
    config, flops = model.config, UsefulFlops(model)
    counts = {"rows": 0, "filler": 0, "padded": 0, "flops": 0}
    for micro_batch in (item for worker in plan.step(step, 2) for item in worker):
        members = [rows[plan.records[index].record_id] for index in micro_batch.records]
        tokens = [row["num_tokens"] for row in members]
        residues = [len(sequence) for sequence in {sequence for row in members for sequence in row["sequences"]}]
        if not micro_batch.counted:
            counts["filler"] += sum(tokens) + sum(residues)
            continue
        counts["rows"] += sum(tokens) + sum(residues)
        counts["padded"] += len(tokens) * max(tokens) + len(residues) * max(residues)
        examples = [Example(row["ids"], row["labels"]) for row in members]
        batch = pack(examples, [row["sequences"] for row in members], config.bridge, reading_of(config))
        counts["flops"] += flops.step(batch)
    return counts


@pytest.mark.parametrize("state_cache_gib", [0, 1])
def test_what_events_tell_of_a_step_is_what_the_plan_holds(
    plain: Any, train_on: Any, two_workers: Any, run_values: dict[str, Any], state_cache_gib: float
) -> None:
    """With a cache, the first pass over the records encodes each protein and the others none."""
    scaling = run_values["scaling"] | {"peak_tflops": 0.5}
    run_values["alignment"] = run_values["alignment"] | {"state_cache_gib": state_cache_gib}
    config = RunConfig.parse(run_values | {"name": f"cache-{state_cache_gib}", "scaling": scaling})
    events = read_steps(train_on(two_workers, config).events)
    expected = recounted(plain, config)
    for number, (event, counts) in enumerate(zip(events, expected, strict=True)):
        assert event["tokens"] + event["residues"] == counts["rows"]
        assert event["padding_ratio"] == pytest.approx(counts["filler"] / (counts["rows"] + counts["filler"]))
        assert event["padding_avoided"] == pytest.approx(1 - counts["rows"] / counts["padded"])
        assert event["data_wait_s"] >= 0
        assert event["peak_memory_bytes"] > 50e6
        assert event["mfu"] == pytest.approx(event["flops"] / (event["seconds"] * 2 * 0.5e12))
        if state_cache_gib and number >= 4:  # 20 records, 5 a step: each protein has come
            assert event["flops"] < counts["flops"]
        elif not state_cache_gib:
            assert event["flops"] == counts["flops"]
    assert any(counts["filler"] for counts in expected), "a plan without a filler would leave that share untested"
    if state_cache_gib:
        first_pass, counted = (sum(item["flops"] for item in items[:4]) for items in (events, expected))
        assert 0.9 * counted < first_pass <= counted  # a filler may have read a protein before its own turn


def test_the_slowest_worker_and_the_largest_speak_for_all() -> None:
    first = WorkerStep(
        rows=60, filler_rows=0, padded_rows=100, flops=3e9, waited_s=0.1, peak_memory_bytes=5, peak_flops=1e9
    )
    second = WorkerStep(
        rows=20, filler_rows=20, padded_rows=60, flops=1e9, waited_s=0.3, peak_memory_bytes=9, peak_flops=1e9
    )
    gathered = torch.tensor([list(vars(worker).values()) for worker in (first, second)], dtype=torch.float64)
    assert step_numbers(gathered, seconds=4.0) == {
        "flops": 4e9, "mfu": 0.5, "data_wait_s": 0.3, "padding_ratio": 0.2, "padding_avoided": 0.5,
        "peak_memory_bytes": 9,
    }  # fmt: skip
    gathered[1, -1] = 0
    assert step_numbers(gathered, seconds=4.0)["mfu"] is None, "one device without a known peak leaves all unmeasured"


def test_a_cpu_has_no_peak_until_the_user_gives_one() -> None:
    assert peak_flops(ScalingConfig(), CPU) == 0
    assert peak_flops(ScalingConfig(peak_tflops=2), CPU) == 2e12
    assert peak_flops(ScalingConfig(peak_tflops=989, gpus_per_worker=0.5), CPU) == 494.5e12, "two workers share a GPU"


def test_rates_are_by_the_wall_clock_and_what_was_not_measured_is_left_out() -> None:
    event = {
        "stage": "alignment", "step": 3, "loss": 2.0, "learning_rate": 0.1, "grad_norm": 1.0, "tokens": 600,
        "residues": 1000, "seconds": 2.0, "data_wait_s": 0.5, "mfu": None,
    }  # fmt: skip
    numbers = metrics_of(event)
    assert (numbers["tokens_per_s"], numbers["residues_per_s"], numbers["data_wait_share"]) == (300, 500, 0.25)
    assert "mfu" not in numbers
    assert metrics_of({"step": 3, "validation": {"loss": 2.0, "loss_shuffled": 2.5, "num_records": 8}}) == {
        "validation_loss": 2.0, "validation_loss_shuffled": 2.5,
    }  # fmt: skip
    assert metrics_of({"stage": "alignment", "message": "a decision"}) == {}
