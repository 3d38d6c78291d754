"""cluster.yaml against Ray's own schema and validation, without any cloud."""

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray.autoscaler
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from protein2text.config import load_run
from protein2text.resources import most


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    text = (Path(__file__).parents[2] / "cluster.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def test_file_fits_rays_schema_as_written(cluster: dict[str, Any]) -> None:
    schema = json.loads(Path(ray.autoscaler.__file__).with_name("ray-schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.validate(cluster, schema)


def test_file_passes_what_ray_up_checks_first(cluster: dict[str, Any]) -> None:
    validate_config(prepare_config(copy.deepcopy(cluster)))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("idle_timeout_mins",), 10),
        (("available_node_types", "h100", "resources", "GPU"), "eight"),
        (("max_workers",), -1),
    ],
)
def test_validation_would_notice_a_mistake(cluster: dict[str, Any], place: tuple[str, ...], value: object) -> None:
    broken = copy.deepcopy(cluster)
    section = broken
    for key in place[:-1]:
        section = section[key]
    section[place[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        validate_config(prepare_config(broken))


def test_head_runs_no_tasks_and_h100_workers_scale_from_zero_and_back(cluster: dict[str, Any]) -> None:
    types = cluster["available_node_types"]
    assert types[cluster["head_node_type"]]["resources"] == {"CPU": 0}
    h100 = types["h100"]
    assert h100["resources"]["GPU"] == 8
    assert h100["min_workers"] == 0 < h100["max_workers"]
    assert 0 < cluster["idle_timeout_minutes"] <= 30
    assert sum(kind.get("max_workers", 0) for kind in types.values()) <= cluster["max_workers"]


def test_every_worker_type_installs_the_wheel_it_is_given(cluster: dict[str, Any]) -> None:
    (install,) = [command for command in cluster["setup_commands"] if command.startswith("pip install")]
    mounts = cluster["file_mounts"]
    wheel, constraints = install.split()[-1], install.split()[3]
    assert str(Path(wheel).parent) in mounts
    assert mounts[constraints] == "constraints.txt"
    assert not any("setup_commands" in key for kind in cluster["available_node_types"].values() for key in kind)


def test_image_has_the_ray_version_of_the_constraints(cluster: dict[str, Any], repository: Path) -> None:
    lines = (repository / "constraints.txt").read_text(encoding="utf-8").splitlines()
    (version,) = [line.removeprefix("ray==") for line in lines if line.startswith("ray==")]
    assert cluster["docker"]["image"].startswith(f"rayproject/ray:{version}-py311")


def test_dashboard_is_not_reachable_from_outside(cluster: dict[str, Any]) -> None:
    (start,) = [command for command in cluster["head_start_ray_commands"] if "--head" in command]
    assert "--dashboard-host=127.0.0.1" in start


@pytest.mark.parametrize("preset", ["protein2text-8b", "protein2text-8b-esm2-3b"])
def test_cluster_can_place_the_published_recipes(cluster: dict[str, Any], preset: str) -> None:
    scaling = load_run(preset).scaling
    h100 = cluster["available_node_types"]["h100"]
    per_node = min(
        h100["resources"]["GPU"] // scaling.gpus_per_worker, h100["resources"]["CPU"] // scaling.cpus_per_worker
    )
    assert most(scaling) <= per_node * h100["max_workers"]
