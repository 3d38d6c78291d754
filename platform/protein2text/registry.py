"""Runs and model versions in MLflow, on a database: what was trained, on what, and which version an alias means.

Every function takes its tracking URI; none reads or keeps MLflow's process-wide one. With an SQLite database the
artifacts lie beside it, never in the working directory.
"""

import json
import logging
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import mlflow
import yaml
from mlflow import MlflowClient
from mlflow.entities import Param
from mlflow.environment_variables import MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR
from mlflow.exceptions import MlflowException
from sqlalchemy import make_url

from protein2text.errors import ConfigError, MissingFile
from protein2text.models.checkpoints import MANIFEST, sha256_of, verify_manifest
from protein2text.registry_database import make_database

logger = logging.getLogger(__name__)

AGENT = Path(__file__).with_name("registry_agent.py")
"""The model as code: MLflow stores this file and calls it; nothing is pickled."""

MODEL_ARTIFACT = "model"
DEFAULT_ALIASES = {"alignment": "aligned", "instruction": "champion"}
"""By the stage that made the model: what answers, and what to begin instruction tuning with."""
PARAMS_PER_REQUEST = 100
"""MLflow takes no more at once."""
_SQLITE = "sqlite:///"
_ALIAS = re.compile(r"(?!latest$)(?!v\d+$)[\w-]{1,255}", re.IGNORECASE | re.ASCII)
_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")
_LLAMA = "meta-llama/"
_EXAMPLE_SEQUENCE = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQ"


@dataclass(frozen=True)
class ModelVersion:
    """One registered version and the verified folder that holds it on this machine."""

    name: str
    version: str
    folder: Path

    @property
    def uri(self) -> str:
        """The version itself, whatever an alias says later."""
        return f"models:/{self.name}/{self.version}"


def connect(tracking_uri: str) -> MlflowClient:
    """A client of this database or server; an SQLite file and its folder are made if missing."""
    database = make_url(tracking_uri).database if tracking_uri.startswith(_SQLITE) else None
    with warnings.catch_warnings():
        # MLflow 3.17 maps its tables with a loader that SQLAlchemy 2.1 deprecates; nothing of ours uses it.
        warnings.filterwarnings("ignore", message="The ``noload`` loader strategy is deprecated")
        if database and not Path(database).exists():
            make_database(Path(database))
        return MlflowClient(tracking_uri, registry_uri=tracking_uri)


def open_experiment(client: MlflowClient, name: str) -> str:
    """Id of the experiment, made on first use with its artifacts beside an SQLite database."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    location = None
    if client.tracking_uri.startswith(_SQLITE):
        database = Path(client.tracking_uri.removeprefix(_SQLITE)).absolute()
        location = str(database.parent / f"{database.stem}-artifacts" / name)
    return str(client.create_experiment(name, artifact_location=location))


@dataclass(frozen=True)
class RunLog:
    """One MLflow run, by id, so that any process can go on logging to it."""

    tracking_uri: str
    run_id: str

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers of one step."""
        client = connect(self.tracking_uri)
        for key, value in values.items():
            client.log_metric(self.run_id, key, value, step=step)

    def go_on(self) -> None:
        """Say that it runs again.

        Raises:
            MlflowException: the database or server does not know it.
        """
        connect(self.tracking_uri).update_run(self.run_id, status="RUNNING")

    def end(self, status: Literal["FINISHED", "FAILED", "KILLED"] = "FINISHED") -> None:
        """Close the run."""
        connect(self.tracking_uri).set_terminated(self.run_id, status)


def start_run(
    tracking_uri: str,
    experiment: str,
    name: str,
    *,
    config: Mapping[str, Any],
    data_checksum: Mapping[str, str],
    note: Callable[[str], None] = lambda run_id: None,
) -> RunLog:
    """Begin a run: parameters, the whole resolved configuration as config.yaml, and the data's checksums.

    Args:
        tracking_uri: database or server.
        experiment: made if missing.
        name: of the run.
        config: resolved configuration; its leaves become parameters by dotted key.
        data_checksum: SHA-256 by corpus folder.
        note: told the run's id before the rest is logged, which takes seconds, in which a process may be killed.
    """
    client = connect(tracking_uri)
    run_id = str(client.create_run(open_experiment(client, experiment), run_name=name).info.run_id)
    note(run_id)
    params = [Param(key, str(value)[:6000]) for key, value in _leaves(config)]
    for start in range(0, len(params), PARAMS_PER_REQUEST):
        client.log_batch(run_id, params=params[start : start + PARAMS_PER_REQUEST])
    client.log_text(run_id, yaml.safe_dump(dict(config), sort_keys=False), "config.yaml")
    client.log_dict(run_id, dict(data_checksum), "data.json")
    for folder, checksum in data_checksum.items():
        client.set_tag(run_id, f"data.{Path(folder).name}.sha256", checksum)
    return RunLog(tracking_uri, run_id)


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def register(
    model_dir: str | Path,
    *,
    name: str,
    alias: str,
    tracking_uri: str,
    run_id: str | None = None,
    report_json: str | Path | None = None,
    experiment: str = "protein2text",
) -> str:
    """Make a model folder a version of a registered model and point an alias at it.

    The version holds the native folder, the code that answers with it, and the evaluation report. MLflow loads that
    code and asks one question before anything is registered, so a version that cannot answer never exists.

    Args:
        model_dir: native model folder with its manifest.
        name: of the registered model, made on first use.
        alias: moved to the new version.
        tracking_uri: database or server.
        run_id: the run that trained it; a run is made when None.
        report_json: evaluation report to keep with the version.
        experiment: for the run made when ``run_id`` is None.

    Returns:
        The version.

    Raises:
        CorruptCheckpoint: the folder differs from its manifest.
        ConfigError: an alias that MLflow refuses, or Llama weights under a name that does not begin with "Llama", as
            their licence demands.
        MissingFile: no such folder or report.
    """
    if not _ALIAS.fullmatch(alias):
        message = (
            f"{alias!r} is no alias; use letters, digits, - and _, but neither `latest` nor a version such as `v2`"
        )
        raise ConfigError("registry", "alias", message)
    folder = Path(model_dir).absolute()
    verify_manifest(folder)
    tags = _tags(folder, name)
    report = None if report_json is None else _report(Path(report_json))
    client = connect(tracking_uri)
    if run_id is None:
        run_id = str(client.create_run(open_experiment(client, experiment), run_name=f"register {name}").info.run_id)
        client.set_terminated(run_id)
    if report is not None:
        tags["verdict"] = report["verdict"]["outcome"]
        log_report(client, run_id, report)
    with tempfile.TemporaryDirectory(prefix="protein2text-register-") as scratch:
        packed = Path(scratch) / "packed"
        _pack(folder, packed)
        logged = client.create_logged_model(
            client.get_run(run_id).info.experiment_id, name=name, source_run_id=run_id, tags=tags
        )
        client.log_model_artifacts(logged.model_id, str(packed))
        if report_json is not None:
            client.log_model_artifact(logged.model_id, str(report_json))
    client.finalize_logged_model(logged.model_id, "READY")
    try:
        client.get_registered_model(name)
    except MlflowException:
        client.create_registered_model(name)
    made = client.create_model_version(
        name, source=logged.artifact_location, run_id=run_id, model_id=logged.model_id, tags=tags
    )
    client.set_registered_model_alias(name, alias, made.version)
    logger.info("registry: %s version %s, alias %s, from %s", name, made.version, alias, folder)
    return str(made.version)


def log_report(client: MlflowClient, run_id: str, report: Mapping[str, Any]) -> None:
    """Log an evaluation report's scores, as ``evaluation.ROW.METRIC``, and its verdict to a run."""
    for row in report["rows"]:
        for metric, estimate in row["estimates"].items():
            if estimate["mean"] is not None:
                client.log_metric(run_id, f"evaluation.{row['name']}.{metric}", estimate["mean"])
    client.set_tag(run_id, "evaluation.verdict", report["verdict"]["outcome"])


def _report(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise MissingFile(
            str(path), "an evaluation report", "Run `protein2text evaluate` first, or register without one."
        )
    values: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return values


def _tags(folder: Path, name: str) -> dict[str, str]:
    config = yaml.safe_load((folder / "config.json").read_text(encoding="utf-8"))
    encoder, decoder = config["encoder"]["source"], config["decoder"]["source"]
    tags = {"manifest_sha256": sha256_of(folder / MANIFEST), "encoder": encoder, "decoder": decoder}
    if decoder.startswith(_LLAMA):
        if not name.startswith("Llama"):
            raise ConfigError(
                "registry",
                "tracking.model_name",
                f"{name!r} holds Llama weights; their licence wants a name that begins with 'Llama'",
            )
        tags["notice"] = "Built with Llama"
    path = folder / "run.json"
    about = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if leaks := about.get("leaks"):
        tags["leak"] = "; ".join(leaks)[:5000]
    tags |= {key: about[key] for key in ("stage", "start") if about.get(key)}
    return tags


def _pack(folder: Path, target: Path) -> None:
    """Write MLflow's form of the model: the agent's code beside the native folder."""
    example = {
        "input": [{"role": "user", "content": "What does this protein do?"}],
        "custom_inputs": {"proteins": [{"sequence": _EXAMPLE_SEQUENCE}]},
    }
    with _quiet():
        mlflow.pyfunc.save_model(
            target,
            python_model=str(AGENT),
            artifacts={MODEL_ARTIFACT: str(folder)},
            pip_requirements=["protein2text"],
            input_example=example,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep MLflow from side effects of its own while it loads an agent and tries one answer.

    It would trace the answer into its process-wide store, a database in the working directory, draw progress bars for
    files copied on this machine, and warn about type hints of its own schema.
    """
    shown = MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.get_raw()
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)
    mlflow.tracing.disable()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*Any type hint is inferred as AnyType")
            yield
    finally:
        mlflow.tracing.reset()  # enable() would open that store at once; after reset the next trace does, if any
        if shown is None:
            MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.unset()
        else:
            MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(shown)


def resolve(uri: str, tracking_uri: str) -> ModelVersion:
    """The version that a registry address means now, its folder here, every byte checked.

    Args:
        uri: ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.
        tracking_uri: database or server.

    Raises:
        ConfigError: an address of another form.
        MissingFile: no such model, alias or version.
        CorruptCheckpoint: the stored folder differs from its manifest.
    """
    match = _URI.fullmatch(uri)
    if match is None:
        raise ConfigError("registry", "model", f"{uri!r} is neither models:/NAME@ALIAS nor models:/NAME/VERSION")
    name = match["name"]
    client = connect(tracking_uri)
    try:
        version = match["version"] or client.get_model_version_by_alias(name, match["alias"]).version
        source = client.get_model_version_download_uri(name, version)
    except MlflowException as error:
        raise MissingFile(
            uri, f"a model in {tracking_uri}", f"Register one with `protein2text register` ({error.message})."
        ) from None
    local = mlflow.artifacts.download_artifacts(source, tracking_uri=tracking_uri)
    (folder,) = (path.parent for path in Path(local, "artifacts").glob(f"*/{MANIFEST}"))
    verify_manifest(folder)
    return ModelVersion(name, str(version), folder)
