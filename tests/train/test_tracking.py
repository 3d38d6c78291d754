"""A stage's run in MLflow ends as the stage does, however its driver ends."""

import json
import signal
from types import FrameType

import pytest

from protein2text import registry
from protein2text.config import RunConfig
from protein2text.train import run
from protein2text.train.tracking import tracked


def test_the_run_in_mlflow_ends_as_its_driver_and_goes_on_with_the_next(run_config: RunConfig) -> None:
    folder = run_config.folder / "alignment"
    folder.mkdir(parents=True)
    settings = {"data.corpus": ["0" * 64]}
    client = registry.connect(run_config.tracking.uri)

    def status(run_id: str) -> str:
        return str(client.get_run(run_id).info.status)

    seen: list[tuple[str, str]] = []

    def drive(error: BaseException | None) -> registry.RunLog:
        with tracked(run_config, "alignment", folder, settings) as log:
            seen.append((log.run_id, status(log.run_id)))
            if error:
                raise error
            log.end()
        return log

    ends = ((KeyError("a bug"), "FAILED"), (KeyboardInterrupt(), "KILLED"), (SystemExit(signal.SIGTERM), "KILLED"))
    for error, ended in ends:
        with pytest.raises(type(error)):
            drive(error)
        assert status(seen[-1][0]) == ended
    log = drive(None)
    assert seen == [(log.run_id, "RUNNING")] * 4
    assert status(log.run_id) == "FINISHED"

    path = folder / "mlflow.json"
    path.write_text(json.dumps({"run_id": log.run_id}))  # as a driver leaves it that is killed while it logs parameters
    with tracked(run_config, "alignment", folder, settings) as new:
        pass
    assert (status(log.run_id), status(new.run_id)) == ("KILLED", "RUNNING")
    assert client.get_run(new.run_id).data.params["seed"] == "3"
    client.delete_run(new.run_id)
    with tracked(run_config, "alignment", folder, settings) as newest:
        assert status(newest.run_id) == "RUNNING"
    assert newest.run_id != new.run_id


def test_rays_signal_handler_is_gone_when_training_is() -> None:
    def rays(number: int, frame: FrameType | None) -> None:
        raise SystemExit(0)

    def fit() -> None:
        with run._interruptible():
            signal.signal(signal.SIGINT, rays)
            signal.raise_signal(signal.SIGINT)

    own = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit()
    assert signal.getsignal(signal.SIGINT) is own


def test_a_termination_of_training_is_none_by_ray() -> None:
    with pytest.raises(SystemExit), run._interruptible():
        raise SystemExit(signal.SIGTERM)
