"""Before the start: what is certain is refused, what is estimated is told."""

from typing import Any

import pytest

from protein2text.config import RunConfig
from protein2text.errors import ResourcesUnavailable
from protein2text.train import memory_check
from protein2text.train.memory_check import check_memory, device_bytes
from protein2text.train.plan import Plan


@pytest.fixture
def plan(plain: Any, run_config: RunConfig) -> Plan:
    made: Plan = plain.plan_of(run_config, "alignment", plain.tokenized(run_config, "alignment"))
    return made


def test_the_need_is_told_beside_what_a_worker_has(run_config: RunConfig, plan: Plan) -> None:
    (sentence,) = check_memory(run_config, "alignment", plan)
    assert sentence.startswith("needs about ")
    assert " per worker: frozen weights " in sentence
    assert "Too much" not in sentence


def test_a_run_that_may_grow_is_not_refused_for_workers_that_it_may_never_have(run_values: dict[str, Any]) -> None:
    total = device_bytes(RunConfig.parse(run_values | {"scaling": {"num_workers": 1}}).scaling)
    assert device_bytes(RunConfig.parse(run_values | {"scaling": {"num_workers": [1, 10_000]}}).scaling) == total
    assert device_bytes(RunConfig.parse(run_values | {"scaling": {"num_workers": 4}}).scaling) == total // 4


def test_an_offloaded_optimizer_is_announced(run_values: dict[str, Any], plan: Plan) -> None:
    config = RunConfig.parse(run_values | {"scaling": {"num_workers": 2, "offload_optimizer": True}})
    _, announced = check_memory(config, "alignment", plan)
    assert announced.startswith("AdamW's state, ")
    assert "no compiler is needed" in announced


def test_weights_that_cannot_fit_are_refused_and_activations_only_warned_of(
    run_config: RunConfig, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_check, "device_bytes", lambda scaling: 400_000)
    (sentence,) = check_memory(run_config, "alignment", plan)
    assert "Too much: lower alignment.micro_batch_tokens (now 200, at least max_length=160); then lower" in sentence
    monkeypatch.setattr(memory_check, "device_bytes", lambda scaling: 100_000)
    with pytest.raises(
        ResourcesUnavailable, match="for weights, gradients and optimizer alone, the cluster has 98 KiB"
    ):
        check_memory(run_config, "alignment", plan)
