"""A rehearsal does what training would do first, counts what it would need, and leaves nothing behind."""

import io
import re
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from rich.console import Console

from protein2text.cli_train import overview
from protein2text.config import STAGES, RunConfig
from protein2text.models.batches import pack
from protein2text.models.chat import Example
from protein2text.models.protein_to_text import ProteinToText
from protein2text.train import run
from protein2text.train.dry_run import dry_run, rehearsal_plan, scratch_run
from protein2text.train.plan import Plan
from tests.train.conftest import counted_ids


def longest_by_hand(plan: Plan) -> int:
    """The first step whose records have the most positions and residues together."""
    sums = [
        sum(plan.records[index].num_tokens + plan.records[index].num_residues for index in plan.step_records(step))
        for step in range(plan.num_steps)
    ]
    return sums.index(max(sums))


def loss_by_hand(plain: Any, config: RunConfig, record_ids: list[str]) -> float:
    """Of the first step, in one process, at the weights that the run's seed gives."""
    torch.manual_seed(config.seed)
    model = ProteinToText(config.model)
    model.set_stage("alignment")
    rows = {row["record_id"]: row for row in plain.tokenized(config, "alignment").to_pylist()}
    chosen = [rows[record_id] for record_id in record_ids]
    batch = pack(
        [Example(row["ids"], row["labels"]) for row in chosen], [row["sequences"] for row in chosen],
        config.model.bridge,
    )  # fmt: skip
    return float(model(batch).detach() / batch.num_supervised)


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("worker_of_ray", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_both_stages_are_rehearsed_and_the_run_stays_as_it_is(
    plain: Any, run_values: dict[str, Any], tmp_path: Path, one_worker: Any, monkeypatch: pytest.MonkeyPatch,
    worker_of_ray: bool,
) -> None:  # fmt: skip
    """A leak, for which training would be refused, is told, and what else there is to know all the same.

    Ray Data tokenizes; what Ray Train would call is done by a process of the test, as `fit` itself is in test_run.
    """
    if not worker_of_ray:
        monkeypatch.setattr(
            run, "fit", lambda task, feed: one_worker.run("train", task, feed.plan, ray.get([*feed.blocks]))
        )
    leaking = tmp_path / "benchmark.fasta"
    leaking.write_text(">P07\nMKVLAAGIVGLCAKAYE\n")
    data = run_values["data"] | {"test_sets": [str(leaking)]}
    config = RunConfig.parse(run_values | {"data": data, "scaling": {"num_workers": 1}})
    kept = config.folder / "alignment" / "events.jsonl"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}\n")
    plan = plain.plan_of(config, "alignment", plain.tokenized(config, "alignment"))
    longest = longest_by_hand(plan)

    found = dry_run(config, STAGES)

    assert [path for path in Path(config.output).rglob("*") if path.is_file()] == [kept]
    assert len(found.problems) == 1
    assert "benchmark.fasta: shares 0 sequences, 1 accessions" in found.problems[0]
    alignment, instruction = found.stages
    assert (alignment.num_steps, instruction.num_steps) == (12, 9)
    assert alignment.longest.step == longest
    records = [record for record in plan.records if record.record_id in counted_ids(plan, longest, 1)]
    assert alignment.longest.num_residues == sum(record.num_residues for record in records)
    ids = [record.record_id for record in records]
    assert alignment.loss == pytest.approx(loss_by_hand(plain, config, ids), rel=1e-5)
    assert alignment.begins_with == "a random bridge"
    assert "what its rehearsal wrote" in instruction.begins_with
    assert instruction.loss != alignment.loss
    for stage in found.stages:
        trained = sum(count.trained for count in stage.parameters.values())
        assert stage.disk.checkpoint == pytest.approx(3 * 4 * trained, rel=0.5), "weights and two moments in float32"
        assert stage.step_s > 0
        assert stage.step_s <= stage.expected_s <= 1.001 * stage.num_steps * stage.step_s, "no step is longer"
    assert instruction.parameters["LoRA"].trained > 0
    text = io.StringIO()
    Console(width=200, file=text).print(overview(found))
    assert re.search(r"steps +12 of 5 records, 0 left over +9 of 5 records, 3 left over", text.getvalue())


def test_a_folder_of_run_folders_that_was_not_there_is_gone_again(run_config: RunConfig) -> None:
    with scratch_run(run_config) as scratch:
        assert scratch.folder.is_relative_to(run_config.output)
        (scratch.folder / "model").mkdir(parents=True)
    assert not Path(run_config.output).exists()


def test_a_record_that_stands_twice_in_a_step_is_rehearsed_once(plain: Any, run_values: dict[str, Any]) -> None:
    values = run_values | {"alignment": run_values["alignment"] | {"global_batch": 30}}
    config = RunConfig.parse(values)
    plan = plain.plan_of(config, "alignment", plain.tokenized(config, "alignment"))
    rehearsed = rehearsal_plan(plan, 0)
    assert rehearsed.num_steps == 2
    assert set(counted_ids(rehearsed, 0, 2)) == set(counted_ids(rehearsed, 1, 2)) == set(counted_ids(plan, 0, 2))
