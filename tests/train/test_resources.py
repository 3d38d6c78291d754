"""A job larger than its cluster is refused with the arithmetic; what a run name stands for cannot change in silence."""

import os
from pathlib import Path
from typing import Any

import pytest

from protein2text.config import RunConfig
from protein2text.errors import CorruptCheckpoint, MissingFile, ResourcesUnavailable, ResumeMismatch
from protein2text.resources import cluster_supply, local_cpus, ray_session, require
from protein2text.train.settings import refuse_changes, save_settings, stage_settings
from protein2text.train.stage_config import ScalingConfig
from protein2text.train.start import resolve_start


def test_two_workers_need_a_third_cpu() -> None:
    require(ScalingConfig(num_workers=2), {"CPU": 3})
    with pytest.raises(
        ResourcesUnavailable,
        match=r"3 CPU \(2 workers x 1 CPU \+ 1 for Ray Data\), the cluster has 2 CPU\. Lower scaling\.num_workers",
    ):
        require(ScalingConfig(num_workers=2), {"CPU": 2})


def test_a_local_ray_is_not_given_more_cpus_than_its_processors_can_share() -> None:
    processors = len(os.sched_getaffinity(0))
    scaling = ScalingConfig(num_workers=100 * processors)
    with pytest.raises(ResourcesUnavailable, match=f"the cluster has {4 * processors} CPU"):
        require(scaling, {"CPU": local_cpus(scaling)})


@pytest.mark.slow
def test_a_local_ray_has_no_more_cpus_than_its_processors_can_share(without_ray: None) -> None:
    processors = len(os.sched_getaffinity(0))
    scaling = ScalingConfig(num_workers=100 * processors)
    with ray_session(scaling), pytest.raises(ResourcesUnavailable, match=f"the cluster has {4 * processors} CPU"):
        require(scaling, cluster_supply())


def test_gpus_are_counted_too() -> None:
    scaling = ScalingConfig(num_workers=8, cpus_per_worker=4, gpus_per_worker=1)
    require(scaling, {"CPU": 33, "GPU": 8})
    with pytest.raises(ResourcesUnavailable, match=r"needs 33 CPU, 8 GPU .* the cluster has 64 CPU, 0 GPU"):
        require(scaling, {"CPU": 64})


@pytest.mark.parametrize(
    ("section", "key", "value", "named"),
    [
        ("alignment", "learning_rate", 0.5, "alignment.learning_rate=0.01, now alignment.learning_rate=0.5"),
        ("alignment", "epochs", 4, "alignment.epochs=3, now alignment.epochs=4"),
        ("data", "split", None, "data.split="),
    ],
)
def test_a_run_refuses_changed_settings(
    run_values: dict[str, Any], section: str, key: str, value: Any, named: str
) -> None:
    config = RunConfig.parse(run_values)
    folder = config.folder / "alignment"
    save_settings(folder, stage_settings(config, "alignment"))
    changed = RunConfig.parse(run_values | {section: run_values[section] | {key: value}})
    with pytest.raises(ResumeMismatch, match="Run 'small/alignment' exists with") as caught:
        refuse_changes(folder, stage_settings(changed, "alignment"))
    assert named in str(caught.value)


def test_a_run_goes_on_with_other_workers_micro_batches_and_checkpoint_intervals(run_values: dict[str, Any]) -> None:
    config = RunConfig.parse(run_values)
    save_settings(config.folder / "alignment", stage_settings(config, "alignment"))
    smaller = {"micro_batch_tokens": 160, "micro_batch_residues": 120, "activation_checkpointing": True}
    alignment = run_values["alignment"] | {"checkpoint_interval_steps": 7, "keep_checkpoints": 5} | smaller
    changed = RunConfig.parse(run_values | {"alignment": alignment, "scaling": {"num_workers": 5, "zero_stage": 1}})
    refuse_changes(config.folder / "alignment", stage_settings(changed, "alignment"))


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "null"])
def test_damaged_settings_say_what_to_do(run_config: RunConfig, text: str) -> None:
    folder = run_config.folder / "alignment"
    save_settings(folder, settings := stage_settings(run_config, "alignment"))
    (folder / "settings.json").write_text(text)
    with pytest.raises(CorruptCheckpoint, match=r"small/alignment: settings\.json: .*trainer\.json"):
        refuse_changes(folder, settings)


def test_instruction_tuning_without_alignment_says_what_to_run(run_config: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="Run the alignment stage first"):
        resolve_start(run_config, "instruction")
