"""Checkpoints in an S3 service on this machine (moto), behind a proxy that fails as a network does, and in a folder."""

import http.client
import json
import multiprocessing
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from operator import methodcaller
from pathlib import Path
from typing import Any

import boto3
import pytest
import s3fs
import torch
from moto.server import ThreadedMotoServer

from protein2text.config import RunConfig
from protein2text.errors import ConfigError, OtherRun, OtherVersion, ResumeMismatch, ServiceError
from protein2text.models.checkpoints import MANIFEST, write_manifest
from protein2text.train import checkpoints
from protein2text.train.checkpoint_store import CheckpointStore, newest_good, prepare, restore_events
from protein2text.train.checkpoint_uploader import CheckpointUploader
from protein2text.train.checkpoint_writer import CheckpointWriter
from protein2text.train.stage_config import CheckpointStoreConfig, StageConfig
from protein2text.train.task import StageTask

BUCKET = "models"
CONFIG = StageConfig(epochs=1, global_batch=1, learning_rate=1, keep_checkpoints=2, keep_best=1)


class Proxy(ThreadingHTTPServer):
    """Passes requests on to moto, unless ``fault`` names one for them: ``503``, ``stall``, or ``flip`` a bit."""

    def __init__(self, service: tuple[str, int]) -> None:
        self.service = service
        self.fault: Callable[[str, str], str | None] = lambda method, path: None
        self.stalled, self.released = threading.Event(), threading.Event()
        self.counts: Counter[str] = Counter()
        super().__init__(("127.0.0.1", 0), Forward)


class Forward(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.counts[f"{self.command} {self.path.rsplit('/', 1)[-1]}"] += 1
        fault = self.server.fault(self.command, self.path)
        if fault == "503":
            self.answer(503, {}, b"<Error><Code>SlowDown</Code><Message>Reduce your request rate</Message></Error>")
            return
        if fault == "stall":
            self.server.stalled.set()
            self.server.released.wait(20)
            self.close_connection = True
            return
        if fault == "flip":
            body = bytes([body[0] ^ 1]) + body[1:]
        connection = http.client.HTTPConnection(*self.server.service)
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        self.answer(answer.status, dict(answer.headers), answer.read())
        connection.close()

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = forward

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        length = headers.get("Content-Length", str(len(body))) if self.command == "HEAD" else str(len(body))
        for name, value in headers.items():
            if name.lower() not in {"content-length", "transfer-encoding", "connection", "date", "server"}:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    proxy = Proxy(moto.get_host_and_port())
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    settings = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.server_address[1]}", "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "1",
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        patch.setattr(s3fs.S3FileSystem, "retries", 1)  # what is tried again here is tried by us
        s3fs.S3FileSystem.clear_instance_cache()
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield proxy
    proxy.shutdown()
    proxy.server_close()
    thread.join()
    moto.stop()
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def network(proxy: Proxy) -> Iterator[Proxy]:
    """The proxy without a fault, until a test gives it one."""
    proxy.stalled.clear()
    proxy.released.clear()
    proxy.counts.clear()
    yield proxy
    proxy.fault = lambda method, path: None
    proxy.released.set()


def stored_at(url: str, **settings: Any) -> CheckpointStore:
    return CheckpointStore(CheckpointStoreConfig(url=url, **settings), "run", "alignment", first_wait_s=0.01)


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> CheckpointStore:
    if request.param == "folder":
        return stored_at(str(tmp_path / "store"))
    request.getfixturevalue("network")
    return stored_at(f"s3://{BUCKET}/{tmp_path.name}")


@pytest.fixture
def url(network: Proxy, tmp_path: Path) -> str:
    return f"s3://{BUCKET}/{tmp_path.name}"


def save(folder: Path, step: int, **trainer: Any) -> Path:
    dice = torch.Generator().manual_seed(step)
    state = {part: {"a": torch.randn(30, 5, generator=dice)} for part in checkpoints.PARTS}
    return checkpoints.save(folder, step, state, {"seed": 0, **trainer})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def puts(network: Proxy) -> dict[str, int]:
    return {name.removeprefix("PUT "): count for name, count in network.counts.items() if name.startswith("PUT ")}


def stored_object(url: str, step: int, name: str) -> str:
    return f"{url.removeprefix(f's3://{BUCKET}/')}/run/alignment/{checkpoints.name_of(step)}/{name}"


def test_a_checkpoint_goes_into_the_store_and_comes_back_on_a_new_machine(
    store: CheckpointStore, tmp_path: Path
) -> None:
    assert store.steps() == []
    saved = [save(tmp_path / "here", step) for step in (10, 20)]
    for folder in saved:
        store.upload(folder)
    assert store.steps() == [10, 20]
    found = newest_good(tmp_path / "there", store)
    assert found.folder == tmp_path / "there" / "step-00000020"
    assert contents(found.folder) == contents(saved[1])
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["step-00000020"]
    assert newest_good(tmp_path / "here", store).folder == saved[1]


def test_the_store_keeps_the_newest_and_the_best_and_drops_the_rest_of_uploads(
    store: CheckpointStore, tmp_path: Path
) -> None:
    for step, loss in ((10, 0.5), (20, 0.1), (30, None), (40, 0.2), (50, 0.3)):
        store.upload(save(tmp_path, step, validation_loss=loss))
        if step in (20, 50):
            store._call("rm_file", f"{store._root}/step-{10 if step == 20 else 30:08}/{MANIFEST}")
    again = CheckpointStore(CheckpointStoreConfig(url=store.url.removesuffix("/run/alignment")), "run", "alignment")
    assert again.steps() == [20, 40, 50]
    assert again.sweep(newest=1, best=1) == ["step-00000010", "step-00000030"]
    assert again._folders() == {step: {MANIFEST, *checkpoints.FILES} for step in (20, 50)}


def test_a_place_that_another_run_began_is_refused(store: CheckpointStore) -> None:
    store.begin({"seed": 1, "data": "a"})
    store.begin({"seed": 1, "data": "a"})
    store._call("pipe_file", f"{store._root}/settings.json", b'{"seed": 1, "da')  # as a killed driver may leave it
    store.begin({"seed": 1, "data": "a"})
    with pytest.raises(ResumeMismatch, match=r"run/alignment' exists with seed=1, now seed=2"):
        store.begin({"seed": 2, "data": "a"})


def test_damage_in_the_store_is_found_and_the_checkpoint_before_it_used(url: str, tmp_path: Path) -> None:
    store, bucket = stored_at(url), boto3.client("s3")
    saved = [save(tmp_path / "here", step) for step in (10, 20)]
    for folder in saved:
        store.upload(folder)
    key = stored_object(url, 20, "weights.safetensors")
    content = bytearray((saved[1] / "weights.safetensors").read_bytes())
    content[-3] ^= 4
    bucket.put_object(Bucket=BUCKET, Key=key, Body=bytes(content))
    found = newest_good(tmp_path / "there", store)
    assert found.folder == tmp_path / "there" / "step-00000010"
    expected = f"{url}/run/alignment/step-00000020: weights.safetensors: its SHA-256 differs from the manifest's"
    assert found.problems == (f"{expected}. It is not used; the one before it may be good.",)
    store.upload(saved[1])
    assert newest_good(tmp_path / "elsewhere", store).folder == tmp_path / "elsewhere" / "step-00000020"


def test_a_store_of_another_version_is_not_begun_anew(store: CheckpointStore, tmp_path: Path) -> None:
    folder = save(tmp_path / "here", 10)
    trainer = folder / "trainer.json"
    trainer.write_text(trainer.read_text().replace('"version": 1', '"version": 9'))
    write_manifest(folder)
    store.upload(folder)
    with pytest.raises(OtherVersion, match=r"step-00000010: trainer\.json: version 9"):
        newest_good(tmp_path / "there", store)


def test_an_upload_is_tried_again_and_sends_only_what_is_missing(network: Proxy, url: str, tmp_path: Path) -> None:
    refusals = iter(["exp_avg.safetensors", "trainer.json"])
    refused = [next(refusals)]

    def fault(method: str, path: str) -> str | None:
        if method == "PUT" and refused and path.endswith(refused[0]):
            refused[:] = [name for name in [next(refusals, None)] if name]
            return "503"
        return None

    network.fault = fault
    store = stored_at(url)
    store.upload(save(tmp_path / "here", 10))
    assert store.steps() == [10]
    expected = dict.fromkeys([*checkpoints.FILES, MANIFEST], 1) | {"exp_avg.safetensors": 2, "trainer.json": 2}
    assert puts(network) == expected


def test_what_arrives_changed_is_sent_again(network: Proxy, url: str, tmp_path: Path) -> None:
    flips = iter(["flip"])
    network.fault = lambda method, path: (
        next(flips, None) if method == "PUT" and path.endswith("weights.safetensors") else None
    )
    store = stored_at(url)
    store.upload(save(tmp_path / "here", 10))
    assert puts(network)["weights.safetensors"] == 2
    assert newest_good(tmp_path / "there", store).problems == ()


class Told(list[tuple[str, dict[str, Any]]]):
    """Decisions that were told; that a checkpoint lies on disk is none."""

    def __call__(self, message: str = "", **values: Any) -> None:
        if message:
            self.append((message, values))


def test_a_store_that_refuses_stops_nothing_and_is_counted(network: Proxy, url: str, tmp_path: Path) -> None:
    network.fault = lambda method, path: "503" if method == "PUT" else None
    told = Told()
    uploader = CheckpointUploader(stored_at(url, attempts=2), CONFIG, told, None)
    writer = CheckpointWriter(tmp_path / "here", CONFIG, told, uploader)
    state = {part: {"a": torch.ones(2)} for part in checkpoints.PARTS}
    writer.write(10, state, {})
    writer.wait()
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
    network: Proxy, url: str, tmp_path: Path, num_sent: int
) -> None:
    store = stored_at(url)
    saved = [save(tmp_path / "here", step) for step in (10, 20)]
    store.upload(saved[0])
    network.counts.clear()
    network.fault = lambda method, path: "stall" if method == "PUT" and sum(puts(network).values()) > num_sent else None
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["protein2text.train.checkpoint_store", "s3fs"])
    process = processes.Process(target=methodcaller("upload", saved[1]), args=(stored_at(url),))
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


@pytest.fixture
def task(run_values: dict[str, Any]) -> Callable[..., StageTask]:
    def make(url: str, seed: int = 3, **settings: Any) -> StageTask:
        config = RunConfig.parse(run_values | {"seed": seed, "checkpoint_store": {"url": url, **settings}})
        return StageTask(config, "alignment", 12, {"seed": seed})

    return make


def test_before_the_start_what_is_newer_in_the_store_is_fetched(
    task: Callable[..., StageTask], url: str, tmp_path: Path
) -> None:
    here, told = task(url), Told()
    prepare(here, told)
    assert (told, here.checkpoints.exists()) == ([], False)
    save(here.checkpoints, 4)
    store = CheckpointStore(here.config.checkpoint_store, here.config.name, here.stage)
    store.upload(save(tmp_path / "other-node", 8))
    prepare(here, told)
    assert [message for message, _ in told] == [f"fetched step-00000008 from {url}/small/alignment"]
    assert sorted(checkpoints.finished(here.checkpoints)) == [4, 8]
    with pytest.raises(ResumeMismatch, match="seed=3, now seed=4"):
        prepare(task(url, seed=4), told)


def test_a_checkpoint_of_another_run_in_the_store_is_not_gone_on_from(
    task: Callable[..., StageTask], tmp_path: Path
) -> None:
    here, told = task(str(tmp_path / "store")), Told()
    store = CheckpointStore(here.config.checkpoint_store, here.config.name, here.stage)
    store.begin(here.settings)
    store.upload(save(tmp_path / "another", 8, settings={"seed": 9}))
    with pytest.raises(OtherRun, match="is another run's: seed=9, this run has 3"):
        prepare(here, told)
    store.upload(save(tmp_path / "own", 4, settings=here.settings))
    prepare(here, told)
    assert "step-00000008: trainer.json: is another run's: seed=9, this run has 3" in told[0][0]
    assert told[1][0].startswith("fetched step-00000004")
    assert store.steps() == [4, 8]


@pytest.mark.parametrize("left", [None, b'{"seed": 3', b"[]"])
def test_a_store_that_lost_its_settings_is_still_its_runs(
    task: Callable[..., StageTask], tmp_path: Path, left: bytes | None
) -> None:
    here, told = task(str(tmp_path / "store")), Told()
    store = CheckpointStore(here.config.checkpoint_store, here.config.name, here.stage)
    store.begin(here.settings)
    store.upload(save(tmp_path / "own", 8, settings=here.settings))
    saved = Path(store.url) / "settings.json"
    saved.unlink()
    if left is not None:
        saved.write_bytes(left)
    with pytest.raises(ResumeMismatch, match="seed=3, now seed=4"):
        prepare(task(str(tmp_path / "store"), seed=4), told)
    assert (saved.read_bytes() if saved.exists() else None) == left
    prepare(here, told)
    assert told[-1][0].startswith("fetched step-00000008")
    assert json.loads(saved.read_text()) == here.settings


def test_a_new_machine_has_the_events_of_the_old_one(task: Callable[..., StageTask], url: str) -> None:
    here = task(url)
    restore_events(here)
    assert not here.events.exists()
    store = CheckpointStore(here.config.checkpoint_store, here.config.name, here.stage)
    saved = save(here.checkpoints, 4)
    step = {"stage": "alignment", "step": 4, "num_steps": 9, "loss": 1.5, "grad_norm": 1.0, "learning_rate": 0.1}
    step |= {"tokens": 3, "residues": 5, "seconds": 0.5}
    told = json.dumps(step) + "\n"
    here.events.write_text(told)
    uploader = CheckpointUploader(store, CONFIG, Told(), None)
    uploader.offer(saved)
    uploader.finish()
    shutil.rmtree(here.folder)
    restore_events(here)
    assert here.events.read_text() == told
    assert [path.name for path in here.folder.iterdir()] == ["events.jsonl"]
    newer = told + json.dumps(step | {"step": 5, "loss": 1.4}) + "\n"
    here.events.write_text(newer)
    restore_events(here)
    assert here.events.read_text() == newer


def test_a_store_that_cannot_be_used_stops_a_new_run_but_not_one_that_has_begun(
    task: Callable[..., StageTask], network: Proxy
) -> None:
    here, told = task("s3://no-such-bucket/runs", attempts=1), Told()
    with pytest.raises(ServiceError, match=r"s3://no-such-bucket/runs/small/alignment: .*bucket does not exist"):
        prepare(here, told)
    save(here.checkpoints, 4)
    prepare(here, told)
    assert told[0][0].startswith("training goes on from step-00000004 without the store: s3://no-such-bucket")
    network.fault = lambda method, path: "503"
    shutil.rmtree(here.checkpoints)
    with pytest.raises(ServiceError, match="Reduce your request rate"):
        newest_good(here.checkpoints, CheckpointStore(here.config.checkpoint_store, "small", "alignment"))


def test_a_place_that_cannot_be_is_refused_by_its_key(tmp_path: Path, run_values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"checkpoint_store: .*lives in one process only"):
        RunConfig.parse(run_values | {"checkpoint_store": {"url": "memory://x"}})
    with pytest.raises(ConfigError, match=r"checkpoint_store\.url: .*known are s3://"):
        stored_at("nowhere://x")
    with pytest.raises(ConfigError, match="is where the run itself lies"):
        RunConfig.parse(run_values | {"checkpoint_store": {"url": run_values["output"]}})
    relative = RunConfig.parse(run_values | {"checkpoint_store": {"url": "copies"}})
    assert relative.checkpoint_store.url == str(Path("copies").absolute())


def test_a_stage_goes_on_from_the_store_where_its_folder_is_gone(
    train_on: Any, two_workers: Any, run_values: dict[str, Any], tmp_path: Path
) -> None:
    """As on a new node: stopped after step 9, the folder lost; the result is the undisturbed run's, bit by bit."""
    whole = train_on(two_workers, RunConfig.parse(run_values | {"name": "whole"}))
    stored = run_values | {"name": "moved", "checkpoint_store": {"url": str(tmp_path / "store")}}
    moved = train_on(two_workers, RunConfig.parse(stored), stop_after=9)
    place = tmp_path / "store" / "moved" / "alignment"
    began = time.monotonic()
    while not (place / "step-00000008" / MANIFEST).is_file():
        assert time.monotonic() - began < 20
        time.sleep(0.02)
    shutil.rmtree(moved.folder)
    train_on(two_workers, RunConfig.parse(stored))
    events = [json.loads(line) for line in moved.events.read_text().splitlines()]
    assert [event["step"] for event in events if "step" in event] == [9, 10, 11, 12]
    assert events[-1]["message"] == f"uploads to {place}: 1 done, 0 failed, 0 skipped"
    last = "step-00000012"
    assert contents(place / last) == contents(moved.checkpoints / last)
    for part in checkpoints.PARTS:
        name = f"{last}/{part}.safetensors"
        assert (moved.checkpoints / name).read_bytes() == (whole.checkpoints / name).read_bytes()
