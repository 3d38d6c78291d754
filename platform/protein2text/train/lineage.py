"""What a stage was made from: data, weights and code, so that its result can be traced and made again."""

import json
import os
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ray

from protein2text.config import RunConfig
from protein2text.models.model_config import DecoderConfig, EncoderConfig
from protein2text.train.stage_config import Stage

PACKAGES = ("protein2text", "torch", "transformers", "peft", "deepspeed", "ray", "mlflow", "numpy")
UNKNOWN = "not known"
_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray in the process of a submitted job."""


def lineage(config: RunConfig, stage: Stage, settings: dict[str, Any]) -> dict[str, str]:
    """Names and values, in the order in which a reader wants them; needs a connected Ray.

    Args:
        settings: of the stage, see `stage_settings`, with the digest of its records.
    """
    found = {f"data.{Path(folder).name}.sha256": checksum
             for folder, checksum in zip(config.data.corpus, settings["data.corpus"], strict=True)}  # fmt: skip
    found["data.records.sha256"] = settings["data.records"]
    found["data.split.sha256"] = settings["data.split"] or "no split"
    found["encoder"] = _base(config.model.encoder)
    found["decoder"] = _base(config.model.decoder)
    if stage == "instruction":
        found["alignment_model.manifest.sha256"] = settings["alignment_model"]
        if settings.get("start_version"):
            found["start"] = settings["start_version"]
    found["code.commit"] = code_commit()
    found |= {f"version.{name}": version(name) for name in PACKAGES}
    found["ray.job"] = ray.get_runtime_context().get_job_id()
    if submitted := submission_id():
        found["ray.submission"] = submitted
    return found


def public_config(config: RunConfig) -> dict[str, Any]:
    """The resolved configuration as others may read it: without the password in a database's address."""
    values: dict[str, Any] = config.model_dump(mode="json")
    values["tracking"]["uri"] = re.sub(r"//[^/@]*@", "//", values["tracking"]["uri"])
    return values


def code_commit() -> str:
    """The commit that this package lies at, ``-dirty`` when files differ from it; not of a repository around it."""
    here = Path(__file__)
    tracked = ["git", "-C", str(here.parent), "ls-files", "--error-unmatch", here.name]
    described = ["git", "-C", str(here.parent), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        subprocess.run(tracked, capture_output=True, check=True, timeout=10)
        return subprocess.run(described, capture_output=True, check=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return UNKNOWN


def submission_id() -> str | None:
    """By which name `ray job` knows this process's job; None where nobody submitted one."""
    metadata = json.loads(os.environ.get(_JOB, "{}")).get("metadata", {})
    found: str | None = metadata.get("job_submission_id")
    return found


def _base(config: EncoderConfig | DecoderConfig) -> str:
    return f"{config.source} at revision {config.revision}" if config.revision else config.source
