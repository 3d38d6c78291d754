"""deploy/serve.yaml against Ray Serve's own schema, and against the application that it names."""

import copy
import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from ray.serve.schema import ServeDeploySchema

from protein2text.config import load_run
from protein2text_serve.app import build
from protein2text_serve.settings import ServiceConfig


@pytest.fixture(scope="module")
def deployed() -> dict[str, Any]:
    return dict(yaml.safe_load((Path(__file__).parents[2] / "deploy/serve.yaml").read_text(encoding="utf-8")))


def test_file_fits_serves_schema(deployed: dict[str, Any]) -> None:
    schema = ServeDeploySchema.model_validate(deployed)
    assert [application.name for application in schema.applications] == ["protein2text"]


def test_schema_would_notice_a_mistake(deployed: dict[str, Any]) -> None:
    broken = copy.deepcopy(deployed)
    broken["applications"][0]["deployments"][0]["num_replicas"] = "many"
    with pytest.raises(ValidationError):
        ServeDeploySchema.model_validate(broken)


def test_arguments_fit_the_application_they_are_for(deployed: dict[str, Any]) -> None:
    (application,) = deployed["applications"]
    module, _, name = application["import_path"].partition(":")
    assert getattr(importlib.import_module(module), name) is build
    config = ServiceConfig.parse(application["args"], path="deploy/serve.yaml")
    assert config.model.startswith("models:/")
    assert config.gpus_per_replica == 1


def test_deployments_it_changes_exist_and_replicas_fit_a_laptop_by_default(
    deployed: dict[str, Any], model_folder: Path
) -> None:
    application = build({"model": str(model_folder)})
    gateway = application._bound_deployment
    (model,) = [argument._bound_deployment for argument in gateway.init_args if hasattr(argument, "_bound_deployment")]
    built = {gateway.name, model.name}
    assert {deployment["name"] for deployment in deployed["applications"][0]["deployments"]} <= built
    assert model.ray_actor_options["num_cpus"] <= 0.2
    assert gateway.ray_actor_options["num_cpus"] <= 0.2
    assert gateway.num_replicas == 1


def test_service_listens_on_loopback_only(deployed: dict[str, Any]) -> None:
    assert deployed["http_options"]["host"] == "127.0.0.1"


def test_it_serves_the_published_recipe_as_it_was_trained(deployed: dict[str, Any]) -> None:
    assert load_run("protein2text-8b").tracking.model_name in deployed["applications"][0]["args"]["model"]
    assert deployed["applications"][0]["args"]["max_proteins"] == 1
