"""Checkpoints in an S3 service on this machine (moto), behind a proxy that fails as a network does, and in a folder."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

from protein2text.config import RunConfig
from protein2text.errors import ConfigError, OtherRun, OtherVersion, ResumeMismatch, ServiceError
from protein2text.models.checkpoints import MANIFEST, write_manifest
from protein2text.train import checkpoints
from protein2text.train.checkpoint_store import CheckpointStore, newest_good, prepare, restore_events
from protein2text.train.checkpoint_uploader import CheckpointUploader
from protein2text.train.stage_config import CheckpointStoreConfig
from protein2text.train.task import StageTask
from tests.train.object_store import BUCKET, CONFIG, Proxy, Told, contents, puts, save, stored_at, stored_object


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
