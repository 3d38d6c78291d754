"""Whole stages through Ray Data and Ray Train, and what becomes of them when a worker is killed or they begin again."""

import json
import random
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from ray.train import WorkerGroupError
from safetensors.torch import load_file
from torch import equal
from typer.testing import CliRunner

from protein2text import registry
from protein2text.cli import app
from protein2text.config import STAGES, RunConfig
from protein2text.data.records import iter_local
from protein2text.errors import ConfigError, CorruptCheckpoint, LeakError, ResourcesUnavailable, ResumeMismatch
from protein2text.evaluate.exposure import exposure
from protein2text.models.checkpoints import MANIFEST, sha256_of, verify_manifest
from protein2text.proteins import Protein
from protein2text.train.events import Event, metrics_of, read_events, read_steps
from protein2text.train.lineage import code_commit
from protein2text.train.run import StageResult, train_stage
from protein2text.train.stage_config import CheckpointStoreConfig, Stage
from protein2text.train.task import StageTask
from tests.train.conftest import small_run

pytestmark = pytest.mark.usefixtures("local_ray")


class Killer:
    """Told of a stage's steps, it sends SIGKILL to one of the training workers at each of some steps, and to no more
    than one between two starts."""

    def __init__(self, kill_at: list[int]) -> None:
        self.dice = random.Random(len(kill_at))
        self.kill_at = kill_at
        self.num_kills = 0
        self.is_armed = False

    def __call__(self, event: Event) -> None:
        if "num_workers" in event:
            self.is_armed = True
        if self.is_armed and self.kill_at and event.get("step", 0) >= self.kill_at[0]:
            self.is_armed = False
            self.kill_at.pop(0)
            self._kill()

    def _kill(self) -> None:
        workers = [
            process
            for process in psutil.Process().children(recursive=True)
            if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::RayTrainWorker")
        ]
        self.dice.choice(sorted(workers, key=lambda process: process.pid)).kill()
        self.num_kills += 1


def protein_of(corpus: Path, accession: str) -> Protein:
    rows = iter_local([str(corpus)], ["record_id", "proteins"])
    (entry,) = next(row["proteins"] for row in rows if row["record_id"] == accession)
    return Protein(entry["accession"], entry["sequence"])


def leaking_fasta(run_values: dict[str, Any]) -> str:
    """A test set outside the run that holds one of its training proteins under another name."""
    path = Path(run_values["output"]).parent / "benchmark.fasta"
    path.write_text(f">OTHER\n{protein_of(Path(run_values['data']['corpus'][0]), 'P07').sequence}\n>NEW\nMKVLAAGIVG\n")
    return str(path)


def losses(folder: Path) -> list[float]:
    return [event["loss"] for event in read_steps(folder / "events.jsonl")]


def last_steps(folder: Path) -> list[int]:
    """The step done last before each start of the workers but the first; zero where there was none."""
    last, found = 0, []
    for event in read_events(folder / "events.jsonl"):
        if "num_workers" in event:
            found.append(last)
        last = event["step"] if "loss" in event else last
    return found[1:]


@dataclass
class Trained:
    """Both stages of a run, whose alignment lost a worker and was registered; instruction tuning began with that."""

    config: RunConfig
    results: dict[Stage, StageResult]
    killer: Killer
    test_set: str
    """Holds one of the run's training proteins, which the run is allowed to train on."""
    registered: dict[str, str]
    on_interrupt: Any
    """Python's handler of SIGINT before the run."""

    def folder(self, stage: Stage) -> Path:
        return self.config.folder / stage


@pytest.fixture(scope="module")
def trained(local_ray: str, small_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    values = small_run(small_world, folder)
    data = values["data"] | {"test_sets": [leaking_fasta(values)], "allow_leak": True}
    config = RunConfig.parse(values | {
        "alignment": values["alignment"] | {"epochs": 10}, "data": data,
        "instruction": values["instruction"] | {"start": "models:/tiny@aligned"},
        "scaling": values["scaling"] | {"max_restarts": 1}, "checkpoint_store": {"url": str(folder / "store")},
        "tracking": {"experiment": "test", "model_name": "tiny"},
    })  # fmt: skip
    killer, on_interrupt = Killer([18]), signal.getsignal(signal.SIGINT)
    alignment = train_stage(config, "alignment", on_event=killer)
    config.save(folder / "run.yaml")
    command = ["register", str(folder / "run.yaml"), "--stage", "alignment", "--json"]
    registered = json.loads(CliRunner().invoke(app, command, catch_exceptions=False).stdout)
    results: dict[Stage, StageResult] = {"alignment": alignment, "instruction": train_stage(config, "instruction")}
    return Trained(config, results, killer, data["test_sets"][0], registered, on_interrupt)


def test_both_stages_run_from_corpus_to_model(
    trained: Trained, two_workers: Any, train_on: Any, assert_only_unwritten_steps_again: Any
) -> None:
    """A worker is killed on the way. The losses equal those of the plan's plain functions, to the last bit."""
    assert trained.results["alignment"].steps == 40  # floor(20 records x 10 epochs / 5)
    assert trained.results["instruction"].steps == 9  # floor(24 x 2 / 5)
    assert trained.killer.num_kills == 1
    assert signal.getsignal(signal.SIGINT) is trained.on_interrupt, "Ray's handler is gone"
    assert_only_unwritten_steps_again(trained.folder("alignment") / "events.jsonl", 4)
    alone = {"name": "without-ray", "checkpoint_store": CheckpointStoreConfig()}
    calm: StageTask = train_on(two_workers, trained.config.model_copy(update=alone))
    assert losses(trained.folder("alignment")) == losses(calm.folder)


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_was_is_in_its_folder_its_store_and_mlflow(
    trained: Trained, small_world: Path, stage: Stage
) -> None:
    result, folder = trained.results[stage], trained.folder(stage)
    assert Path(result.model_dir) == folder / "model"
    verify_manifest(folder / "model")
    last = Path(trained.config.checkpoint_store.url or "", "small", stage, f"step-{result.steps:08}")
    assert verify_manifest(last), "the last checkpoint is in the store when training is done"
    assert (folder / "loss.png").is_file()
    client = registry.connect(trained.config.tracking.uri)
    run = client.get_run(result.mlflow_run_id)
    recorded = client.get_metric_history(result.mlflow_run_id, "loss")
    assert {metric.step: metric.value for metric in recorded} == dict(enumerate(losses(folder), start=1))
    assert run.info.status == "FINISHED"
    steps = read_steps(folder / "events.jsonl")
    for name in metrics_of(steps[0]):
        history = client.get_metric_history(result.mlflow_run_id, name)
        told = {(event["step"], metrics_of(event)[name]) for event in steps}
        assert told <= {(metric.step, metric.value) for metric in history}, name
    page = (folder / "report.html").read_text()
    assert f"finished after {result.steps} steps" in page
    assert "report.html" in [artifact.path for artifact in client.list_artifacts(result.mlflow_run_id)]
    split = json.loads((small_world / "split" / "split.json").read_text())["checksum"]
    for name, known in {
        "data.corpus.sha256": "0" * 64, "data.split.sha256": split, "encoder": str(small_world / "esm2"),
        "version.torch": torch.__version__, "code.commit": code_commit(),
    }.items():  # fmt: skip
        assert run.data.tags[name] == known
        assert f"<td>{name}</td><td>{known}</td>" in page


@pytest.mark.parametrize("stage", STAGES)
def test_all_that_a_run_leaves_says_that_it_was_trained_with_a_leak(
    trained: Trained, small_world: Path, stage: Stage
) -> None:
    result, folder = trained.results[stage], trained.folder(stage)
    leak = f"test set {trained.test_set} shares 1 sequences, 0 accessions and 0 texts with training"
    tags = registry.connect(trained.config.tracking.uri).get_run(result.mlflow_run_id).data.tags
    assert tags["leak"].startswith(leak)
    assert [event["message"] for event in read_events(folder / "events.jsonl") if "leak" in event.get("message", "")]
    card = (folder / "model" / "README.md").read_text()
    assert f"**Trained with a leak:** {leak}" in card
    assert "- made.json, release synthetic: 52 records" in card
    corpus = small_world / "corpus"
    seen = exposure(folder / "model", [protein_of(corpus, "P07"), protein_of(corpus, "P01")])
    assert (seen.num_seen, seen.first_seen) == (1, ("P07",))
    assert seen.leaks[0].startswith(leak)
    assert len(seen.leaks) == 1, "the second stage says once what the first said too"


def test_a_registered_alignment_is_begun_with_and_named_wherever_the_run_is(trained: Trained) -> None:
    assert trained.registered == {"name": "tiny", "version": "1", "alias": "aligned"}
    client = registry.connect(trained.config.tracking.uri)
    assert client.get_model_version("tiny", "1").tags["stage"] == "alignment"
    folder = trained.folder("instruction")
    start = json.loads((folder / "start.json").read_text())
    assert start["version"] == "models:/tiny/1"
    assert start["manifest_sha256"] == sha256_of(trained.folder("alignment") / "model" / MANIFEST)
    assert json.loads((folder / "model" / "run.json").read_text())["start"] == "models:/tiny/1"
    assert client.get_run(trained.results["instruction"].mlflow_run_id).data.tags["start"] == "models:/tiny/1"


def test_a_run_in_the_place_of_a_model_says_where_its_models_are(trained: Trained) -> None:
    for place, remedy in (
        (trained.config.folder, "Name {0}/alignment/model or {0}/instruction/model"),
        (trained.folder("instruction"), "Name {0}/model"),
    ):
        with pytest.raises(CorruptCheckpoint, match="it is a run's folder, no model's") as caught:
            verify_manifest(place)
        assert remedy.format(place) in str(caught.value)


def test_a_finished_stage_is_not_done_again_nor_gone_on_with_under_other_settings(trained: Trained) -> None:
    """The alias that it began with is gone meanwhile; the run stays with the version that it meant."""
    client = registry.connect(trained.config.tracking.uri)
    client.delete_registered_model_alias("tiny", "aligned")
    written = (trained.folder("instruction") / "events.jsonl").stat().st_mtime_ns
    assert train_stage(trained.config, "instruction") == trained.results["instruction"]
    assert (trained.folder("instruction") / "events.jsonl").stat().st_mtime_ns == written, "no step is done again"
    changed = RunConfig.parse(trained.config.model_dump(mode="json") | {"seed": 4})
    with pytest.raises(ResumeMismatch, match="Run 'small/alignment' exists with seed=3, now seed=4"):
        train_stage(changed, "alignment")


@pytest.mark.slow  # test_out_of_memory.py has the short form
def test_a_run_that_ends_early_leaves_its_page(run_values: dict[str, Any]) -> None:
    scaling = run_values["scaling"] | {"max_restarts": 0}
    config = RunConfig.parse(run_values | {"name": "cut", "scaling": scaling})
    killer = Killer([2])
    with pytest.raises(WorkerGroupError):
        train_stage(config, "alignment", on_event=killer)
    page = (config.folder / "alignment" / "report.html").read_text()
    done = len(losses(config.folder / "alignment"))
    assert f"not finished: {done} of 12 steps done" in page
    assert "stopped: WorkerGroupError" in page
    run_id = json.loads((config.folder / "alignment" / "mlflow.json").read_text())["run_id"]
    assert registry.connect(config.tracking.uri).get_run(run_id).info.status == "FAILED"


@pytest.mark.slow
def test_ten_killed_workers_change_nothing_in_the_result(
    run_values: dict[str, Any], two_workers: Any, train_on: Any, assert_only_unwritten_steps_again: Any
) -> None:
    """Only steps without a whole checkpoint are done again; losses and final weights equal the undisturbed run's.

    The steps are drawn from all but the last, since the driver hears of a step up to 0.2 s late.
    """
    num_kills, seed = 10, 6
    kill_at = sorted(random.Random(seed).sample(range(1, 350), num_kills))
    alignment = run_values["alignment"] | {"epochs": 100, "keep_checkpoints": 3}
    values = run_values | {"alignment": alignment}
    scaling = run_values["scaling"] | {"max_restarts": num_kills}
    config = RunConfig.parse(values | {"name": "disturbed", "scaling": scaling})
    killer = Killer(kill_at.copy())
    disturbed = train_stage(config, "alignment", on_event=killer)
    folder = config.folder / "alignment"
    last = last_steps(folder)
    told = f"seed {seed}: to be killed at {kill_at}, last steps before a start {last}"
    assert killer.num_kills == len(last) == num_kills, told
    assert any(step % 4 for step in last), f"kills fall between checkpoints too; {told}"
    assert disturbed.steps == 400
    assert_only_unwritten_steps_again(folder / "events.jsonl", 4)
    calm: StageTask = train_on(two_workers, RunConfig.parse(values | {"name": "calm"}))
    assert losses(folder) == losses(calm.folder), told
    weights, calm_weights = (load_file(place / "model" / "bridge.safetensors") for place in (folder, calm.folder))
    assert all(equal(value, calm_weights[name]) for name, value in weights.items()), told


def test_training_that_leaks_into_a_registered_test_set_is_refused_before_its_first_step(
    run_values: dict[str, Any],
) -> None:
    data = run_values["data"] | {"test_sets": [leaking_fasta(run_values)]}
    config = RunConfig.parse(run_values | {"data": data})
    with pytest.raises(LeakError, match=r"benchmark\.fasta: shares 1 sequences.*2 training records: P07, P07:q0\."):
        train_stage(config, "alignment")
    assert not config.folder.exists()


def test_more_workers_than_the_cluster_has_are_refused_at_once(run_values: dict[str, Any]) -> None:
    with pytest.raises(ResourcesUnavailable, match=r"needs 9 CPU .* the cluster has 4 CPU"):
        train_stage(RunConfig.parse(run_values | {"scaling": {"num_workers": 8}}), "alignment")


def test_a_batch_larger_than_the_corpus_is_refused_with_its_arithmetic(run_values: dict[str, Any]) -> None:
    alignment = run_values["alignment"] | {"global_batch": 64}
    with pytest.raises(ConfigError, match="20 records x 3 epochs do not fill one batch of 64"):
        train_stage(RunConfig.parse(run_values | {"alignment": alignment}), "alignment")
