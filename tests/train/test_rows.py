"""Rows on their way: who is trained on, how each stage words a record, and that the plan is delivered exactly."""

from typing import Any

import pyarrow as pa
import pytest

from protein2text.config import RunConfig
from protein2text.data.records import RECORD_SCHEMA, iter_local
from protein2text.errors import BeyondTraining, UnusableRecord
from protein2text.models.batches import pack
from protein2text.models.chat import IGNORED, PROTEIN_ID, Example
from protein2text.models.encoders import reading_of
from protein2text.train import rows as rows_module
from protein2text.train.plan import Plan, RecordSize
from protein2text.train.rows import TokenizeJob, gather, places_of, planned_rows, read_steps, tokenize
from tests.train.conftest import counted_ids


@pytest.fixture
def records(run_config: RunConfig) -> list[dict[str, Any]]:
    return iter_local(run_config.data.corpus)


def job(config: RunConfig, stage: Any, **changes: Any) -> TokenizeJob:
    values = {"tokenizer": config.model.decoder.source, "bridge": config.model.bridge, "split": config.data.split}
    values["reading"] = reading_of(config.model)
    return TokenizeJob(stage=stage, **(values | changes))


def table(records: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(records, schema=RECORD_SCHEMA)


def test_only_training_proteins_are_trained_on(run_config: RunConfig, records: list[dict[str, Any]]) -> None:
    """The first four proteins are the test set; a question about one of them and a training protein is left out."""
    ids = tokenize(table(records), job(run_config, "alignment"))["record_id"].to_pylist()
    assert ids == [f"P{number:02}" for number in range(4, 24)]
    questions = tokenize(table(records), job(run_config, "instruction"))["record_id"].to_pylist()
    assert [record for record in questions if record.endswith("q1")] == ["P05:q1", "P11:q1", "P17:q1", "P23:q1"]
    assert len(questions) == 24


def test_a_question_of_two_splits_is_left_out(run_config: RunConfig, records: list[dict[str, Any]]) -> None:
    (pair,) = (record for record in records if record["record_id"] == "P05:q1")
    pair["proteins"][0] = next(record for record in records if record["record_id"] == "P01")["proteins"][0]
    assert tokenize(table([pair]), job(run_config, "instruction")).num_rows == 0


@pytest.mark.parametrize("kind", ["resampler", "projector", "gated_cross_attention"])
def test_sizes_are_those_of_the_packed_batch(run_config: RunConfig, records: list[dict[str, Any]], kind: str) -> None:
    bridge = run_config.model.bridge.model_copy(update={"kind": kind})
    rows = tokenize(table(records), job(run_config, "instruction", bridge=bridge)).to_pylist()
    assert {len(row["sequences"]) for row in rows} == {1, 2}
    for row in rows:
        assert row["ids"].count(PROTEIN_ID) == len(row["sequences"])
        batch = pack([Example(row["ids"], row["labels"])], [row["sequences"]], bridge)
        per_protein = [len(sequence) + 1 if kind == "projector" else 4 for sequence in row["sequences"]]
        assert row["num_tokens"] == batch.num_tokens == len(row["ids"]) + sum(per_protein) - len(per_protein)
        assert row["num_residues"] == batch.num_residues == sum(len(sequence) for sequence in row["sequences"])
        assert 0 < sum(label != IGNORED for label in row["labels"]) < len(row["ids"])


def test_a_protein_that_the_model_refuses_for_its_length_is_named(
    run_config: RunConfig, records: list[dict[str, Any]]
) -> None:
    long = next(record for record in records if record["record_id"] == "P10")
    long["proteins"][0]["sequence"] = "M" * 1023
    refusing = reading_of(run_config.model.model_copy(update={"long_proteins": "refuse"}))
    assert tokenize(table(records), job(run_config, "alignment")).num_rows == 20
    with pytest.raises(BeyondTraining, match="P10, sequence: 1023 residues"):
        tokenize(table(records), job(run_config, "alignment", reading=refusing))


def test_placeholders_that_differ_from_the_proteins_are_named(
    run_config: RunConfig, records: list[dict[str, Any]]
) -> None:
    question = next(record for record in records if record["record_id"] == "P05:q0")
    question["messages"][0]["content"] = "What does it bind?"
    with pytest.raises(UnusableRecord, match="P05:q0, messages: 0 placeholders; 1 proteins"):
        tokenize(table([question]), job(run_config, "instruction"))


@pytest.mark.parametrize(("block_rows", "num_workers"), [(3, 1), (3, 2), (100, 3)])
def test_the_delivered_rows_are_the_plan_at_any_number_of_workers_and_from_any_step(
    run_config: RunConfig, records: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch,
    block_rows: int, num_workers: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(rows_module, "ROWS_AT_ONCE", 5)
    rows = tokenize(table(records), job(run_config, "alignment"))
    names = ("record_id", "num_tokens", "num_residues", "num_supervised")
    sizes = sorted(tuple(row[name] for name in names) for row in rows.to_pylist())
    left_out = sizes.pop()
    plan = Plan(tuple(RecordSize(*size) for size in sizes), 0, 3, 7, 200, 200)
    row_of = {row["record_id"]: row for row in rows.to_pylist() if row["record_id"] != left_out[0]}
    blocks = [rows[start : start + block_rows] for start in range(0, rows.num_rows, block_rows)]
    places = places_of(plan, blocks)

    def steps_of(worker: int, first_step: int) -> list[Any]:
        wanted = planned_rows(plan, worker, num_workers, first_step)
        return list(read_steps(gather(part, places, blocks.__getitem__) for part in wanted))

    for worker in range(num_workers):
        steps = steps_of(worker, 0)
        assert [step for step, *_ in steps] == list(range(plan.num_steps))
        for step, micro_batches, size, num_micro_batches in steps:
            everybody = plan.step(step, num_workers)
            assert num_micro_batches == sum(batch.counted for share in everybody for batch in share)
            planned = everybody[worker]
            assert [batch.counted for batch in micro_batches] == [batch.counted for batch in planned]
            expected = [[plan.records[index].record_id for index in batch.records] for batch in planned]
            assert [batch.record_ids for batch in micro_batches] == expected
            assert [batch.proteins for batch in micro_batches] == [
                [row_of[record_id]["sequences"] for record_id in ids] for ids in expected
            ]
            whole = [row_of[record_id] for record_id in counted_ids(plan, step, num_workers)]
            batch = pack([Example(row["ids"], row["labels"]) for row in whole], [row["sequences"] for row in whole],
                         run_config.model.bridge)  # fmt: skip
            assert (size.num_supervised, size.num_tokens) == (batch.num_supervised, batch.num_tokens)
            assert size.num_residues == sum(len(sequence) for row in whole for sequence in row["sequences"])
        assert steps_of(worker, 4) == steps[4:]
