"""Out of memory says on what, what was expected, and what to turn; from a worker of Ray's to its driver."""

import json
from typing import Any

import pytest
import torch

from protein2text import registry
from protein2text.config import RunConfig
from protein2text.errors import DeviceOutOfMemory
from protein2text.train import run
from protein2text.train.events import read_events, read_steps
from protein2text.train.run import train_stage
from protein2text.train.stage_config import ScalingConfig
from protein2text.train.task import StageTask, give_up, run_worker

TORCH_SAYS = "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has 79.6 GiB.\nMore"
KNOBS = ["micro_batch_tokens", "micro_batch_residues", "activation_checkpointing", "zero_stage", "offload_optimizer"]


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("max_restarts", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_worker_of_ray_out_of_memory_names_its_micro_batch(
    run_values: dict[str, Any], monkeypatch: pytest.MonkeyPatch, max_restarts: int
) -> None:
    """A restart would meet it again, so none begins to train. The run leaves its page."""

    def with_little_memory(loop_config: dict[str, Any]) -> None:
        import torch

        from protein2text.train.task import run_worker

        backward = torch.Tensor.backward
        calls = iter(range(1, 100))

        def backward_until_full(tensor: torch.Tensor, *arguments: Any, **options: Any) -> None:
            if next(calls) == 10:
                raise torch.OutOfMemoryError(TORCH_SAYS)
            backward(tensor, *arguments, **options)

        torch.Tensor.backward = backward_until_full  # type: ignore[method-assign,assignment]
        run_worker(loop_config)

    monkeypatch.setattr(run, "run_worker", with_little_memory)
    config = RunConfig.parse(run_values | {"scaling": run_values["scaling"] | {"max_restarts": max_restarts}})
    with pytest.raises(DeviceOutOfMemory) as caught:
        train_stage(config, "alignment")
    folder = config.folder / "alignment"
    messages = [event.get("message", "") for event in read_events(folder / "events.jsonl")]
    assert messages.count("training from the beginning") == 1
    error = caught.value
    assert error.worker in (0, 1)
    assert "CUDA out of memory. Tried to allocate 20.00 GiB" in str(error)
    assert "More" not in str(error)
    done = len(read_steps(folder / "events.jsonl"))
    assert done > 0
    assert error.during.startswith(f"in step {done + 2}, whose largest micro-batch there holds "), "one is not told yet"
    assert "decoder positions and" in error.during
    assert "longest: P" in error.during
    places = [error.remedy.index(knob) for knob in KNOBS]
    assert places == sorted(places)
    assert error.estimate.startswith("needs about ")
    page = (folder / "report.html").read_text()
    assert f"not finished: {done} of 12 steps done" in page
    assert "stopped: DeviceOutOfMemory" in page
    run_id = json.loads((folder / "mlflow.json").read_text())["run_id"]
    assert registry.connect(config.tracking.uri).get_run(run_id).info.status == "FAILED"


def test_hosts_out_of_memory_are_told_alike_and_other_errors_are_left(
    two_workers: Any, run_values: dict[str, Any]
) -> None:
    """torch raises a bare RuntimeError where the host's memory ends: here, for an exabyte."""
    told, other = two_workers.run("out_of_memory", RunConfig.parse(run_values))[1]
    assert told.startswith("alignment: worker 1 ran out of memory while the model was set up: ")
    assert "can't allocate memory" in told
    assert "lower alignment.micro_batch_tokens (now 200, at least max_length=160); then " in told
    assert other == "RuntimeError: mat1 and mat2 shapes cannot be multiplied"


def test_the_error_is_rebuilt_whole_on_the_other_side() -> None:
    import pickle

    error = DeviceOutOfMemory(3, "instruction", "on a micro-batch", "CUDA out of memory", "needs 90 GiB", "lower it")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.worker) == (str(error), 3)
    assert isinstance(torch.OutOfMemoryError(), RuntimeError), "which `explained` relies on"
    with pytest.raises(ValueError, match="offload_optimizer needs zero_stage 1, 2 or 3"):
        ScalingConfig(zero_stage=0, offload_optimizer=True)


def test_a_worker_that_is_started_again_after_it_loads_nothing(run_config: RunConfig) -> None:
    task = StageTask(run_config, "alignment", 1, {})
    task.folder.mkdir(parents=True)
    error = DeviceOutOfMemory(1, "alignment", "in step 1", "CUDA out of memory", "needs 90 GiB", "lower it")
    give_up(task, error)
    with pytest.raises(DeviceOutOfMemory) as caught:
        run_worker({"task": task})
    assert caught.value.args == error.args
