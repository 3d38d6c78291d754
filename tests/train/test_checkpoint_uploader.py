"""Checkpoints go to their store behind the training loop, and nothing that fails there stops it."""

import os
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
import torch

from protein2text.models.checkpoints import MANIFEST
from protein2text.train import checkpoints
from protein2text.train.checkpoint_store import CheckpointStore, newest_good
from protein2text.train.checkpoint_uploader import CheckpointUploader
from protein2text.train.checkpoint_writer import CheckpointWriter
from tests.train.object_store import CONFIG, Proxy, Told, contents, puts, save, stored_at, upload_under


def test_a_store_that_refuses_stops_nothing_and_is_counted(network: Proxy, url: str, tmp_path: Path) -> None:
    network.fault = lambda method, path: "503" if method == "PUT" else None
    told = Told()
    uploader = CheckpointUploader(stored_at(url, attempts=2), CONFIG, told, None)
    writer = CheckpointWriter(tmp_path / "here", CONFIG, told, uploader)
    state = {part: {"a": torch.ones(2)} for part in checkpoints.PARTS}
    writer.write(10, state, {})
    began = time.monotonic()
    while not told:
        assert time.monotonic() - began < 10
        time.sleep(0.01)
    network.fault = lambda method, path: None
    writer.write(20, state, {})
    writer.finish()
    (failed, values), (summary, total) = told
    assert failed.startswith("step-00000010 could not be uploaded, training goes on: ")
    assert "Reduce your request rate" in failed
    assert values == {"level": "warning", "uploads": {"done": 0, "failed": 1, "skipped": 0}}
    assert summary.endswith("1 done, 1 failed, 0 skipped")
    assert total == {"uploads": {"done": 1, "failed": 1, "skipped": 0}}
    assert stored_at(url).steps() == [20]


def test_a_store_that_stalls_is_given_up_in_time_and_only_the_newest_waits_for_it(
    network: Proxy, url: str, tmp_path: Path
) -> None:
    network.fault = lambda method, path: "stall" if method == "PUT" else None
    told = Told()
    uploader = CheckpointUploader(stored_at(url, attempts=1, timeout_s=0.5), CONFIG, told, None)
    saved = [save(tmp_path / "here", step) for step in (10, 20, 30)]
    uploader.offer(saved[0])
    assert network.stalled.wait(10)
    began = time.monotonic()
    for folder in saved[1:]:
        uploader.offer(folder)
    assert uploader.reading() == [saved[0], saved[2]]
    assert time.monotonic() - began < 0.3, "an offer never waits"
    uploader.finish()
    assert time.monotonic() - began < 5
    messages = [message for message, _ in told]
    assert messages[0] == "step-00000020 is not uploaded: step-00000030 was there before its turn came"
    for message, name in zip(messages[1:3], ("step-00000010", "step-00000030"), strict=True):
        assert message.startswith(f"{name} could not be uploaded")
        assert "TimeoutError: not done within 0.5 s" in message
    assert told[-1][1] == {"uploads": {"done": 0, "failed": 2, "skipped": 1}}


def test_a_disk_that_hangs_is_not_waited_for_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that nobody writes to stands for a network disk whose server is gone: reading it never returns."""
    store, told = stored_at(str(tmp_path / "store")), Told()
    pipe = Path(store.url) / "step-00000010" / "exp_avg.safetensors"
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    monkeypatch.setattr(CheckpointStore, "longest_s", 0.1)
    uploader = CheckpointUploader(store, CONFIG, told, None)
    uploader.offer(save(tmp_path / "here", 10))
    began = time.monotonic()
    uploader.finish()
    assert time.monotonic() - began < 5
    pipe.write_bytes(b"")  # lets the thread go
    assert told[0][0] == "step-00000010 is not waited for any longer: the store has stopped answering"
    assert told[1][1] == {"uploads": {"done": 0, "failed": 1, "skipped": 0}}


@pytest.mark.parametrize(
    "num_sent", [0, *(pytest.param(number, marks=pytest.mark.slow) for number in (1, 2, 3)), len(checkpoints.FILES)]
)
def test_killed_in_the_middle_of_an_upload_it_is_no_checkpoint_until_the_next_run_completes_it(
    network: Proxy, url: str, tmp_path: Path, forkserver: ForkServerContext, num_sent: int
) -> None:
    store = stored_at(url)
    saved = [save(tmp_path / "here", step) for step in (10, 20)]
    store.upload(saved[0])
    network.counts.clear()
    network.fault = lambda method, path: "stall" if method == "PUT" and sum(puts(network).values()) > num_sent else None
    process = forkserver.Process(target=upload_under, args=(dict(os.environ), stored_at(url), saved[1]))
    process.start()
    assert network.stalled.wait(60)
    process.kill()
    process.join()
    sent = puts(network)
    assert sum(sent.values()) == num_sent + 1
    network.fault = lambda method, path: None

    assert store.steps() == [10]
    assert newest_good(tmp_path / "there", store).folder == tmp_path / "there" / "step-00000010"
    network.counts.clear()
    told = Told()
    CheckpointUploader(store, CONFIG, told, saved[1]).finish()
    assert store.steps() == [10, 20]
    assert sum(puts(network).values()) == len(checkpoints.FILES) + 1 - num_sent, "what had arrived is not sent again"
    assert told[-1][1] == {"uploads": {"done": 1, "failed": 0, "skipped": 0}}
    found = newest_good(tmp_path / "elsewhere", store)
    assert found.folder is not None
    assert contents(found.folder) == contents(saved[1])


def test_the_rest_of_an_upload_that_nobody_completes_is_swept_and_said(store: CheckpointStore, tmp_path: Path) -> None:
    saved = [save(tmp_path / "here", step) for step in (10, 20)]
    store.upload(saved[0])
    store._call("rm_file", f"{store._root}/step-00000010/{MANIFEST}")
    told = Told()
    uploader = CheckpointUploader(store, CONFIG, told, None)
    uploader.offer(saved[1])
    uploader.finish()
    assert told[0] == ("deleted in the store, since their upload did not end: step-00000010", {})
    assert store._folders().keys() == {20}
