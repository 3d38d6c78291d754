"""What the H100 presets tell Ray, NCCL and DeepSpeed, held by files; `train` reads the same functions."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from protein2text.cli import app
from protein2text.config import RunConfig, load_run
from protein2text.errors import ConfigError, MissingWeights
from protein2text.train import resolve
from protein2text.train.launch import launch
from protein2text.train.memory_estimate import MemoryEstimate
from protein2text.train.resolve import accumulation, resolved

GOLDEN = Path(__file__).with_name("golden")
GPUS = {2: "two H100 PCIe", 8: "one node of 8", 16: "two nodes of 8"}


def without_estimate(values: dict[str, Any]) -> dict[str, Any]:
    """The estimate depends on what transformers and peft save in a forward; the rest on nothing but this project."""
    stages = {
        name: {key: value for key, value in stage.items() if key != "memory_bytes"}
        for name, stage in values["stages"].items()
    }
    return {**values, "stages": stages}


@pytest.mark.parametrize("num_gpus", GPUS)
def test_the_published_recipe_resolves_to_the_recorded_settings(num_gpus: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline: neither the hub nor a cluster is asked. The files change only with a reason in a commit.

    The estimate, which the files do not hold, is test_memory_estimate's.
    """
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.snapshot_download", None)
    monkeypatch.setattr(resolve, "estimate", lambda config, stage: MemoryEstimate({}, ()))
    found = resolved(load_run("protein2text-8b", {"scaling": {"num_workers": num_gpus}}))
    path = GOLDEN / f"protein2text-8b-{num_gpus}.json"
    assert json.loads(json.dumps(without_estimate(found))) == json.loads(path.read_text()), GPUS[num_gpus]


def test_the_command_prints_it(run_values: dict[str, Any], tmp_path: Path) -> None:
    config = RunConfig.parse(run_values)
    config.save(tmp_path / "run.yaml")
    answer = CliRunner().invoke(
        app, ["train", str(tmp_path / "run.yaml"), "--resolve", "--json"], catch_exceptions=False
    )
    assert json.loads(answer.stdout) == json.loads(json.dumps(resolved(config)))
    as_yaml = CliRunner().invoke(app, ["train", str(tmp_path / "run.yaml"), "--resolve"], catch_exceptions=False)
    assert yaml.safe_load(as_yaml.stdout) == json.loads(answer.stdout)


@pytest.mark.parametrize(
    ("part", "changes", "named"),
    [
        ("encoder", {"layer": 99}, r"model: encoder\.layer: 99 selects layer 99; this encoder has layers 1 to 4"),
        ("encoder", {"source": "preset:tiny/llama"}, r"'preset:tiny/llama': its config\.json is that of 'llama', not"),
        ("decoder", {"source": "preset:tiny/esm2"}, r"'preset:tiny/esm2': its config\.json is that of 'esm', which"),
        ("encoder", {"source": "{here}"}, r"its config\.json is no ESM-2's \(JSONDecodeError"),
        ("decoder", {"source": "{here}"}, r"its config\.json cannot be read \("),
    ],
)
def test_a_base_that_cannot_be_its_part_is_named(
    tmp_path: Path, part: str, changes: dict[str, Any], named: str
) -> None:
    (tmp_path / "config.json").write_text("{")
    given = {key: str(tmp_path) if value == "{here}" else value for key, value in changes.items()}
    with pytest.raises((ConfigError, MissingWeights), match=named):
        resolved(load_run("tiny", {"model": {part: given}}))


def test_the_global_batch_is_dealt_to_any_number_of_workers() -> None:
    config = load_run("protein2text-8b", {"scaling": {"num_workers": [2, 16]}})
    dealt = accumulation(config, "alignment")
    assert dealt["records_per_worker"] == [16, 128]
    assert dealt["most_micro_batches"] == 128
    assert accumulation(load_run("protein2text-8b"), "alignment")["records_per_worker"] == 256 // 8


def test_a_layer_that_the_decoder_lacks_is_named_without_its_weights(run_values: dict[str, Any]) -> None:
    decoder = run_values["model"]["decoder"] | {"lora": {"target_modules": ["q_proj", "query"]}}
    config = RunConfig.parse(run_values | {"model": run_values["model"] | {"decoder": decoder}})
    with pytest.raises(
        ConfigError, match=r"decoder\.lora\.target_modules: 'query' is no linear layer.*; it has .*q_proj"
    ):
        resolved(config)


@pytest.mark.parametrize("stage", ["alignment", "instruction"])
def test_records_that_no_protein_fits_are_refused(run_values: dict[str, Any], stage: str) -> None:
    with pytest.raises(ConfigError, match=rf"{stage}\.max_length=4 has no room for the 4 rows of a protein"):
        RunConfig.parse(run_values | {stage: run_values[stage] | {"max_length": 4}})
    RunConfig.parse(run_values | {stage: run_values[stage] | {"max_length": 5}})


def test_ray_takes_what_is_resolved(run_values: dict[str, Any]) -> None:
    """The mappings are arguments of Ray's own classes, which refuse what they do not know."""
    import ray.train
    from ray.train.torch import TorchConfig

    on_gpus = {"num_workers": 2, "gpus_per_worker": 1, "placement_strategy": "SPREAD"}
    told = launch(RunConfig.parse(run_values | {"scaling": on_gpus}).scaling)
    scaling = ray.train.ScalingConfig(**told.scaling_config)
    assert (scaling.placement_strategy, scaling.use_gpu) == ("SPREAD", True)
    assert TorchConfig(**told.torch_config).backend == "nccl"
    assert ray.train.FailureConfig(**told.failure_config).max_failures == 3
    assert launch(RunConfig.parse(run_values).scaling).worker_environment == {}
