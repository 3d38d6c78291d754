"""A stage's run in MLflow: one for all drivers that train it, and what state it is in once they are gone."""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow.exceptions import MlflowException

from protein2text import registry
from protein2text.config import RunConfig
from protein2text.data.records import write_json
from protein2text.errors import MissingFile
from protein2text.models.checkpoints import MANIFEST
from protein2text.termination import is_interruption
from protein2text.train.lineage import public_config
from protein2text.train.settings import Settings
from protein2text.train.stage_config import Stage

logger = logging.getLogger(__name__)

RECORD, RESULT = "mlflow.json", "result.json"
"""In a stage's folder: the id of its run in MLflow, and what a finished stage returned, with that id too."""


@contextmanager
def tracked(config: RunConfig, stage: Stage, folder: Path, settings: Settings) -> Iterator[registry.RunLog]:
    """The run that the stage was begun with, or a new one; where the block ends early, it ends as KILLED or FAILED.

    A driver that was killed itself leaves its run RUNNING, until the next one goes on with it.
    """
    run_log = _open(config, stage, folder, settings)
    try:
        yield run_log
    except BaseException as error:
        try:
            run_log.end("KILLED" if is_interruption(error) else "FAILED")
        except Exception:
            logger.exception("MLflow at %s does not know that run %s has ended", run_log.tracking_uri, run_log.run_id)
        raise


def run_id_of_model(folder: Path) -> str | None:
    """Id of the run in MLflow that made a stage's model, None where the stage's result does not tell.

    Raises:
        MissingFile: the stage has made no model yet.
    """
    if not (manifest := folder / "model" / MANIFEST).is_file():
        remedy = f"Train the stage to its end: `protein2text train RUN --stage {folder.name}` begins it, or goes on."
        raise MissingFile(str(manifest), "the model of a finished stage", remedy)
    path = folder / RESULT
    return str(json.loads(path.read_text())["mlflow_run_id"]) if path.is_file() else None


def _open(config: RunConfig, stage: Stage, folder: Path, settings: Settings) -> registry.RunLog:
    path, tracking = folder / RECORD, config.tracking
    if path.is_file():
        record = json.loads(path.read_text())
        run_log = registry.RunLog(tracking.uri, record["run_id"])
        try:
            if "begun" in record:
                run_log.go_on()
                return run_log
            run_log.end("KILLED")  # as its driver was while it logged what the run is
        except MlflowException:
            logger.warning("MLflow at %s knows nothing of run %s; a new one is begun", tracking.uri, run_log.run_id)
    checksums = dict(zip(config.data.corpus, settings["data.corpus"], strict=True))
    run_log = registry.start_run(
        tracking.uri, tracking.experiment, f"{config.name}/{stage}", config=public_config(config),
        data_checksum=checksums, note=lambda run_id: write_json({"run_id": run_id}, path),
    )  # fmt: skip
    write_json({"run_id": run_log.run_id, "begun": time.time()}, path)
    return run_log
