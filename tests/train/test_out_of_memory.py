"""Out of memory says on what, what was expected, and what to turn; from a worker of Ray's to its driver."""

from typing import Any

import pytest
import torch

from protein2text.config import RunConfig
from protein2text.errors import DeviceOutOfMemory
from protein2text.train import run
from protein2text.train.events import read_events
from protein2text.train.run import train_stage
from protein2text.train.stage_config import ScalingConfig

KNOBS = ["micro_batch_tokens", "micro_batch_residues", "activation_checkpointing", "zero_stage", "offload_optimizer"]


@pytest.mark.usefixtures("local_ray")
def test_a_worker_of_ray_out_of_memory_names_its_micro_batch(
    run_values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart would meet it again, so none begins to train."""

    def with_little_memory(loop_config: dict[str, Any]) -> None:
        import torch

        from protein2text.train.deepspeed_engine import DeepSpeedEngine
        from protein2text.train.task import run_worker

        def forward(self: Any, batch: Any) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has 79.6 GiB.\nMore")

        DeepSpeedEngine.forward = forward  # type: ignore[method-assign]
        run_worker(loop_config)

    monkeypatch.setattr(run, "run_worker", with_little_memory)
    config = RunConfig.parse(run_values | {"scaling": run_values["scaling"] | {"max_restarts": 1}})
    with pytest.raises(DeviceOutOfMemory) as caught:
        train_stage(config, "alignment")
    messages = [event.get("message", "") for event in read_events(config.folder / "alignment" / "events.jsonl")]
    assert messages.count("training from the beginning") == 1
    error = caught.value
    assert error.worker in (0, 1)
    assert "CUDA out of memory. Tried to allocate 20.00 GiB" in str(error)
    assert "More" not in str(error)
    assert error.during.startswith("in step 1, whose largest micro-batch there holds ")
    assert "decoder positions and" in error.during
    assert "longest: P" in error.during
    places = [error.remedy.index(knob) for knob in KNOBS]
    assert places == sorted(places)
    assert error.estimate.startswith("needs about ")


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
