"""One YAML file is one run: what it holds, how files extend each other, and where their paths lead."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, model_validator

from protein2text.base_config import Config, Folder
from protein2text.data.data_config import DataConfig
from protein2text.errors import ConfigError, MissingFile, shortened
from protein2text.evaluate.evaluation_config import EvaluationConfig
from protein2text.models.model_config import PARTS, ModelConfig
from protein2text.train.stage_config import (
    CheckpointStoreConfig,
    InstructionConfig,
    ScalingConfig,
    Stage,
    StageConfig,
)

RUN_VERSION = 1
PRESETS = Path(__file__).with_name("presets")
STAGES: tuple[Stage, ...] = ("alignment", "instruction")


class TrackingConfig(Config):
    """Where runs are recorded and under which name the model is registered (MLflow)."""

    uri: str = "sqlite:///{run}/mlflow.db"
    """A database; ``{run}`` stands for the run's folder, a relative SQLite path for one under the working directory."""
    experiment: str = "protein2text"
    model_name: str = "protein2text"

    @model_validator(mode="after")
    def _is_a_database_or_server(self) -> "TrackingConfig":
        if not self.uri.startswith(("sqlite:", "postgresql", "mysql", "mssql", "http:", "https:", "databricks")):
            raise ValueError(
                f"uri={shortened(repr(self.uri))} is neither a database nor a server; MLflow's file stores keep no "
                f"model registry. Write sqlite:///FILE, a database URL or https://SERVER"
            )
        return self


class RunConfig(Config):
    """A whole run, both stages; every path in it is absolute, since Ray's workers change directory."""

    version: int = Field(default=RUN_VERSION, ge=RUN_VERSION, le=RUN_VERSION)
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the run and of its folder; the same name again resumes it."""
    output: Folder = "runs"
    """Folder that holds run folders."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    model: ModelConfig
    data: DataConfig
    alignment: StageConfig
    instruction: InstructionConfig
    scaling: ScalingConfig = ScalingConfig()
    checkpoint_store: CheckpointStoreConfig = CheckpointStoreConfig()
    tracking: TrackingConfig = TrackingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="before")
    @classmethod
    def _paths_become_absolute(cls, values: Any) -> Any:
        return _absolute_paths(values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _cached_encoder_is_whole(self) -> "RunConfig":
        bounds = self.alignment.state_cache_gib, self.instruction.state_cache_gib
        if self.scaling.zero_stage == 3 and (self.data.features or any(bounds)):
            key = "data.features" if self.data.features else "state_cache_gib"
            raise ValueError(
                f"{key} needs scaling.zero_stage 2 or lower: stage 3 splits the encoder over the workers, who must "
                f"then all encode at the same time. Set state_cache_gib to 0 and leave data.features out"
            )
        return self

    @model_validator(mode="after")
    def _a_protein_fits_a_record(self) -> "RunConfig":
        rows = self.model.bridge.num_rows(1)
        for stage in STAGES:
            if (length := self.stage(stage).max_length) <= rows:
                raise ValueError(
                    f"{stage}.max_length={length} has no room for the {rows} rows of a protein and a word; raise it, "
                    f"or lower model.bridge.num_latents"
                )
        return self

    @model_validator(mode="after")
    def _checkpoint_store_is_elsewhere(self) -> "RunConfig":
        if self.checkpoint_store.url == self.output:
            raise ValueError(f"checkpoint_store.url={self.output} is where the run itself lies; name another place")
        return self

    @property
    def folder(self) -> Path:
        """The run's folder, OUTPUT/NAME."""
        return Path(self.output) / self.name

    def stage(self, name: str) -> StageConfig:
        """Settings of a stage.

        Raises:
            ConfigError: the name is not a stage.
        """
        if name not in STAGES:
            raise ConfigError(self.name, "stage", f"{name!r} is not a stage; stages are {' and '.join(STAGES)}")
        return self.alignment if name == "alignment" else self.instruction

    def save(self, path: Path) -> None:
        """Write the resolved configuration as YAML that ``load_run`` reads back to an equal object."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False), encoding="utf-8")


def presets() -> list[str]:
    """Names of the run files that come with the package."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def load_run(source: str | Path, overrides: dict[str, Any] | None = None) -> RunConfig:
    """Read a run.

    Args:
        source: a preset's name, or the path of a YAML file. A file may begin with ``extends: NAME_OR_PATH``; its own
            keys win, section by section (lists are replaced whole). A relative ``extends`` path starts at the file.
        overrides: nested mapping laid over the file in the same way.

    Raises:
        MissingFile: no such file or preset.
        ConfigError: broken YAML, an unknown key (the nearest known one is named) or a value that does not fit.
    """
    values = _merged(_read(_find(str(source), Path.cwd()), ()), overrides or {})
    return RunConfig.parse(values, path=str(source))


def _find(source: str, beside: Path) -> Path:
    if source in presets():
        return PRESETS / f"{source}.yaml"
    path = (beside / Path(source).expanduser()).resolve()
    if path.is_dir():
        raise ConfigError(str(path), "run", "is a folder; name the YAML file of a run")
    if not path.is_file():
        raise MissingFile(
            str(path), "a run configuration", f"Name a YAML file or one of the presets {', '.join(presets())}."
        )
    return path


class _OnceEach(yaml.SafeLoader):
    """YAML's safe loader, which would take the last of two equal keys in silence."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for number, (key, (mark, _)) in enumerate(zip(keys, node.value, strict=True)):
            if key in keys[:number]:
                problem = f"key {shortened(repr(key))} stands twice"
                raise yaml.constructor.ConstructorError(None, None, problem, mark.start_mark)
        return dict(super().construct_mapping(node, deep))


def _read(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """The file's mapping laid over that of the file it extends; ``seen`` are the files that led here."""
    if path in seen:
        raise ConfigError(str(path), "extends", f"the chain comes back to itself: {' -> '.join(map(str, seen))}")
    values = read_mapping(path, "a run is a mapping such as `extends: tiny`")
    base = values.pop("extends", None)
    if not isinstance(base, (str, type(None))):
        raise ConfigError(str(path), "extends", f"{shortened(repr(base))} is no name of a preset and no path of a file")
    return values if base is None else _merged(_read(_find(base, path.parent), (*seen, path)), values)


def read_mapping(path: Path, expected: str) -> dict[str, Any]:
    """The mapping that a YAML file holds; ``expected`` ends the error where it holds something else.

    Raises:
        ConfigError: broken YAML, a key that stands twice, or no mapping.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_OnceEach)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ConfigError(str(path), f"line {line}", f"not readable as YAML: {error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(str(path), "file", f"not readable as YAML: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(str(path), "file", f"holds {type(values).__name__}; {expected}")
    return values


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _absolute(path: Any) -> Any:
    return str(Path(path).expanduser().absolute()) if isinstance(path, str) else path


def _names_folder(value: Any) -> bool:
    """Neither empty, which would become the working directory, nor a URL: validation deals with those."""
    return isinstance(value, str) and bool(value.strip()) and "://" not in value


def _absolute_paths(values: dict[str, Any]) -> dict[str, Any]:
    """The same mapping with absolute paths; values of a wrong type are left for validation to name."""
    values = {key: value.model_dump() if isinstance(value, Config) else value for key, value in values.items()}
    output = values.get("output", "runs")
    values["output"] = _absolute(output) if _names_folder(output) else output
    data = values.get("data")
    if isinstance(data, dict):
        lists = {key: data[key] for key in ("corpus", "test_sets") if isinstance(data.get(key), list)}
        changed = {key: [_absolute(path) for path in paths] for key, paths in lists.items()}
        single = {"split": _absolute(data["split"])} if data.get("split") is not None else {}
        if _names_folder(data.get("features")):
            single["features"] = _absolute(data["features"])
        values["data"] = {**data, **changed, **single}
    model = values.get("model")
    if isinstance(model, dict):
        values["model"] = {
            **model,
            **{part: _absolute_source(model[part]) for part in PARTS if part in model},
        }
    store = values.get("checkpoint_store")
    if isinstance(store, dict) and _names_folder(store.get("url")):
        values["checkpoint_store"] = {**store, "url": _absolute(store["url"])}
    instruction = values.get("instruction")
    if isinstance(instruction, dict) and not str(instruction.get("start") or "models:").startswith("models:"):
        values["instruction"] = {**instruction, "start": _absolute(instruction["start"])}
    tracking = values.get("tracking", {})
    if isinstance(tracking, dict):
        uri = tracking.get("uri", TrackingConfig.model_fields["uri"].default)
        values["tracking"] = {**tracking, "uri": _absolute_uri(uri, f"{values['output']}/{values.get('name')}")}
    return values


def _absolute_source(base_model: Any) -> Any:
    """Make a local folder absolute; a hub id (``owner/name``) or ``preset:`` stays, unless it is a folder here."""
    source = base_model.get("source") if isinstance(base_model, dict) else None
    if isinstance(source, str) and (source.startswith((".", "/", "~")) or Path(source).is_dir()):
        return {**base_model, "source": _absolute(source)}
    return base_model


def _absolute_uri(uri: Any, run_folder: str) -> Any:
    if not isinstance(uri, str):
        return uri
    prefix = "sqlite:///"
    uri = uri.replace("{run}", run_folder)
    return prefix + _absolute(uri.removeprefix(prefix)) if uri.startswith(prefix) else uri
