"""The plan of a stage: exact batches, every record once per epoch, bounds kept, for any number of workers."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protein2text.errors import ConfigError
from protein2text.train.plan import Plan, RecordSize, num_optimizer_steps
from tests.train.conftest import counted_ids

MICRO_BATCH_TOKENS, MICRO_BATCH_RESIDUES = 300, 900


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    sizes = draw(st.lists(st.tuples(st.integers(1, 200), st.integers(1, 800)), min_size=3, max_size=40))
    epochs = draw(st.integers(1, 4))
    return Plan(
        records=tuple(RecordSize(f"r{number:03}", *size, 1) for number, size in enumerate(sizes)),
        seed=draw(st.integers(0, 5)),
        epochs=epochs,
        global_batch=draw(st.integers(1, len(sizes) * epochs)),
        micro_batch_tokens=MICRO_BATCH_TOKENS,
        micro_batch_residues=MICRO_BATCH_RESIDUES,
    )


NUM_WORKERS = st.integers(1, 5)


@given(plans(), NUM_WORKERS)
@settings(max_examples=60, deadline=None)
def test_every_record_is_trained_on_once_per_epoch(plan: Plan, num_workers: int) -> None:
    seen = Counter(record for step in range(plan.num_steps) for record in counted_ids(plan, step, num_workers))
    seen.update(plan.dropped)
    assert seen == {record.record_id: plan.epochs for record in plan.records}
    assert len(plan.dropped) < plan.global_batch
    in_order = [plan.records[index].record_id for step in range(plan.num_steps) for index in plan.step_records(step)]
    in_order += plan.dropped
    for epoch in range(plan.epochs):
        assert len(set(in_order[epoch * len(plan.records) : (epoch + 1) * len(plan.records)])) == len(plan.records)


@given(plans())
@settings(max_examples=40, deadline=None)
def test_the_global_batch_is_exact_and_equal_at_every_number_of_workers(plan: Plan) -> None:
    for step in range(plan.num_steps):
        alone = counted_ids(plan, step, 1)
        assert len(alone) == plan.global_batch
        assert all(counted_ids(plan, step, num_workers) == alone for num_workers in range(2, 6))


@given(plans(), NUM_WORKERS)
@settings(max_examples=60, deadline=None)
def test_micro_batches_keep_their_bounds_longest_first_and_as_many_on_every_worker(
    plan: Plan, num_workers: int
) -> None:
    for step in range(plan.num_steps):
        workers = plan.step(step, num_workers)
        assert len({len(micro_batches) for micro_batches in workers}) == 1
        for micro_batch in (micro_batch for micro_batches in workers for micro_batch in micro_batches):
            members = [plan.records[index] for index in micro_batch.records]
            assert sum(record.num_tokens for record in members) <= MICRO_BATCH_TOKENS
            assert sum(record.num_residues for record in members) <= MICRO_BATCH_RESIDUES
            assert [record.cost for record in members] == sorted((record.cost for record in members), reverse=True)


@given(plans(), NUM_WORKERS)
@settings(max_examples=60, deadline=None)
def test_workers_differ_in_work_by_at_most_one_record(plan: Plan, num_workers: int) -> None:
    for step in range(plan.num_steps):
        costs = [
            sum(plan.records[index].cost for batch in batches if batch.counted for index in batch.records)
            for batches in plan.step(step, num_workers)
        ]
        assert max(costs) - min(costs) <= max(plan.records[index].cost for index in plan.step_records(step))


@pytest.mark.parametrize(
    ("num_records", "epochs", "global_batch", "num_steps"), [(394_000, 1, 256, 1539), (210_000, 5, 128, 8203)]
)
def test_the_published_counts_give_the_published_steps(
    num_records: int, epochs: int, global_batch: int, num_steps: int
) -> None:
    assert num_optimizer_steps(num_records, epochs, global_batch) == num_steps


def small_plan(**changes: object) -> Plan:
    records = tuple(RecordSize(f"r{number}", 10 * number, 100, number) for number in range(1, 8))
    settings = {
        "records": records,
        "seed": 0,
        "epochs": 2,
        "global_batch": 4,
        "micro_batch_tokens": 100,
        "micro_batch_residues": 1000,
    }
    return Plan(**(settings | changes))  # type: ignore[arg-type]


def test_epochs_and_seeds_are_shuffled_differently() -> None:
    orders = [[small_plan(seed=seed).step_records(step) for step in range(3)] for seed in range(3)]
    assert len({str(order) for order in orders}) == 3
    plan = small_plan(global_batch=7)
    assert plan.step_records(0) != plan.step_records(1)


def test_a_worker_without_work_gets_the_shortest_record_at_weight_zero() -> None:
    plan = small_plan(global_batch=2)
    workers = plan.step(0, num_workers=3)
    fillers = [batch for batches in workers for batch in batches if not batch.counted]
    assert len(fillers) == 1
    assert fillers[0].records == (min(plan.step_records(0), key=lambda index: plan.records[index].cost),)


def test_a_plan_starts_anywhere() -> None:
    plan = small_plan()
    assert [row for row in plan.worker(1, 2) if row[0] >= 2] == list(plan.worker(1, 2, first_step=2))


def test_max_steps_ends_the_plan_early() -> None:
    assert small_plan(max_steps=2).num_steps == 2
    with pytest.raises(IndexError, match="step 2 of a plan of 2 steps"):
        small_plan(max_steps=2).step(2, num_workers=1)


def test_a_record_above_the_bound_is_named() -> None:
    with pytest.raises(ConfigError, match="micro_batch_tokens: r7 has 70; raise micro_batch_tokens above 60"):
        small_plan(micro_batch_tokens=60)


def test_too_few_records_for_one_batch_are_refused() -> None:
    with pytest.raises(ConfigError, match="7 records x 2 epochs do not fill one batch of 15"):
        small_plan(global_batch=15)
