"""A small world for training tests: random bases of the true architectures, a corpus of twenty proteins, one Ray."""

import importlib.util
import json
import multiprocessing.forkserver
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from protein2text.config import RunConfig
from protein2text.data.records import RECORD_SCHEMA, RECORD_VERSION, iter_local, make_record, write_shard
from protein2text.data.split_folder import write_split
from protein2text.models.encoders import reading_of
from protein2text.proteins import Protein
from protein2text.train.events import read_events
from protein2text.train.plan import Plan, RecordSize
from protein2text.train.rows import TokenizeJob, tokenize
from protein2text.train.stage_config import Stage
from protein2text.train.task import StageTask

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext

    from protein2text.train.checkpoint_store import CheckpointStore
    from tests.train.object_store import Proxy

NUM_PROTEINS, NUM_TEST_PROTEINS = 24, 4


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with ``esm2``, ``llama``, ``corpus`` and ``split``."""
    import torch  # here, as in other fixtures, for the process that only hands out the tests
    from transformers import EsmForMaskedLM, LlamaForCausalLM

    from protein2text.train.base_decoder import decoder_config, train_tokenizer
    from protein2text.train.base_encoder import encoder_config

    folder = tmp_path_factory.mktemp("small-world")
    torch.manual_seed(0)
    EsmForMaskedLM(encoder_config(hidden_size=24, num_layers=3, num_heads=2)).save_pretrained(folder / "esm2")
    tokenizer = train_tokenizer(0, vocab_size=400)
    LlamaForCausalLM(decoder_config(tokenizer, 32, 2, 2)).save_pretrained(folder / "llama")
    tokenizer.save_pretrained(folder / "llama")
    _write_corpus(folder / "corpus")
    rows = [
        {"accession": f"P{number:02}", "split": "test" if number < NUM_TEST_PROTEINS else "train", "cluster": "c"}
        for number in range(NUM_PROTEINS)
    ]
    write_split(folder / "split", rows, {"kind": "by_member"})
    return folder


def _write_corpus(folder: Path) -> None:
    """A description and a question per protein, with answers of very different lengths, and two-protein questions."""
    import torch

    generator = torch.Generator().manual_seed(1)
    letters = "ACDEFGHIKLMNPQRSTVWY"
    records = []
    proteins = []
    for number in range(NUM_PROTEINS):
        length = int(torch.randint(5, 60, (), generator=generator))
        residues = "".join(letters[index] for index in torch.randint(20, (length,), generator=generator))
        proteins.append(Protein(f"P{number:02}", residues))
    for number, protein in enumerate(proteins):
        text = "Binds ATP. " * (1 + number % 7) + f"It is number {number}."
        records.append(make_record(protein.accession, [protein], source="test", text=text))
        records.append(
            _question(f"{protein.accession}:q0", [protein], "It binds zinc. " * (1 + number % 5) + f"{number}.")
        )
        if number % 6 == 5:
            records.append(_question(f"{protein.accession}:q1", [protein, proteins[number - 1]], "The first."))
    write_shard(pa.Table.from_pylist(records, schema=RECORD_SCHEMA), folder / "records" / "part-00000.parquet")
    card = {
        "version": RECORD_VERSION, "checksum": "0" * 64, "shards": {"records": ["part-00000.parquet"]},
        "licences": {"CC BY 4.0": len(records) - 1, "not stated": 1},
        "sources": [{"name": "made.json", "release": "synthetic", "records": len(records)}],
    }  # fmt: skip
    (folder / "card.json").write_text(json.dumps(card))


def _question(record_id: str, proteins: list[Protein], answer: str) -> Any:
    question = "<protein_sequence>\n" * len(proteins) + "What does it bind?"
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return make_record(record_id, proteins, source="test", messages=messages)  # type: ignore[arg-type]


def small_run(small_world: Path, folder: Path) -> dict[str, Any]:
    stage = {
        "epochs": 3, "global_batch": 5, "learning_rate": 1e-2, "warmup_ratio": 0.1, "weight_decay": 0.01,
        "precision": "fp32", "max_length": 160, "micro_batch_tokens": 200, "micro_batch_residues": 150,
        "checkpoint_interval_steps": 4,
    }  # fmt: skip
    return {
        "name": "small",
        "output": str(folder / "runs"),
        "seed": 3,
        "model": {
            "encoder": {"source": str(small_world / "esm2")},
            "bridge": {"num_latents": 4, "depth": 1, "num_heads": 2, "head_dim": 8, "feed_forward_multiple": 1},
            "decoder": {"source": str(small_world / "llama"), "lora": {"rank": 2, "alpha": 4, "dropout": 0.1}},
        },
        "data": {"corpus": [str(small_world / "corpus")], "split": str(small_world / "split")},
        "alignment": stage,
        "instruction": stage | {"epochs": 2, "state_cache_gib": 1e-5},  # room for a protein or two
        "scaling": {"num_workers": 2, "zero_stage": 2},
        "tracking": {"experiment": "test"},
    }


@pytest.fixture
def run_values(small_world: Path, tmp_path: Path) -> dict[str, Any]:
    """A run of a few steps on two workers, as a mapping to change."""
    return small_run(small_world, tmp_path)


@pytest.fixture
def run_config(run_values: dict[str, Any]) -> RunConfig:
    return RunConfig.parse(run_values)


@pytest.fixture(scope="session")
def forkserver(repository: Path) -> "ForkServerContext":
    """Starts processes that have imported already what is slow to import."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.train.worker_imports"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(repository))
        multiprocessing.forkserver.ensure_running()
    return context


class Workers:
    """Processes joined in one gloo group, which do the functions of ``worker_process.py`` together."""

    def __init__(self, forkserver: "ForkServerContext", num_workers: int, timeout_s: int = 600) -> None:
        from tests.train import worker_process

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.answers: list[Any] = []
        self.processes, self._connections = [], []
        for rank in range(num_workers):
            ours, theirs = forkserver.Pipe()
            process = forkserver.Process(
                target=worker_process.main, args=(theirs, rank, num_workers, port, timeout_s), daemon=True
            )
            process.start()
            theirs.close()
            self.processes.append(process)
            self._connections.append(ours)

    def run(self, function: str, *arguments: Any) -> list[Any]:
        """What the function returned on each worker, those after one that failed left out.

        Raises:
            EOFError: a worker has ended.
        """
        for connection in self._connections:
            connection.send((function, arguments))
        self.answers = []
        for connection in self._connections:
            fine, value = connection.recv()
            assert fine, value
            self.answers.append(value)
        return self.answers

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()


@pytest.fixture(scope="session")
def two_workers(forkserver: "ForkServerContext") -> Iterator[Workers]:
    workers = Workers(forkserver, 2)
    yield workers
    workers.stop()


@pytest.fixture(scope="session")
def one_worker(forkserver: "ForkServerContext") -> Iterator[Workers]:
    workers = Workers(forkserver, 1)
    yield workers
    workers.stop()


@pytest.fixture
def new_workers(forkserver: "ForkServerContext") -> Iterator[Callable[..., Workers]]:
    """Makes groups of workers for a test that harms them."""
    made: list[Workers] = []

    def make(num_workers: int, timeout_s: int = 600) -> Workers:
        made.append(Workers(forkserver, num_workers, timeout_s))
        return made[-1]

    yield make
    for workers in made:
        workers.stop()


@pytest.fixture(scope="session")
def worker_functions() -> ModuleType:
    """The module that workers run, for the test's own process."""
    spec = importlib.util.spec_from_file_location("worker_process", Path(__file__).with_name("worker_process.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tokenized(config: RunConfig, stage: Stage) -> pa.Table:
    records = pa.Table.from_pylist(iter_local(config.data.corpus), schema=RECORD_SCHEMA)
    decoder = config.model.decoder.source
    job = TokenizeJob(stage, decoder, config.model.bridge, config.data.split, reading_of(config.model))
    return tokenize(records, job)


def plan_of(config: RunConfig, stage: Stage, rows: pa.Table) -> Plan:
    sizes = sorted(tuple(row[field.name] for field in fields(RecordSize)) for row in rows.to_pylist())
    settings = config.stage(stage)
    return Plan(
        records=tuple(RecordSize(*size) for size in sizes), seed=config.seed, epochs=settings.epochs,
        global_batch=settings.global_batch, micro_batch_tokens=settings.micro_batch_tokens,
        micro_batch_residues=settings.micro_batch_residues, max_steps=settings.max_steps,
    )  # fmt: skip


def train_without_ray(
    workers: Any, config: RunConfig, stage: Stage = "alignment", stop_after: int | None = None,
    drained_after: int | None = None, killed_at: tuple[int, str, str] | None = None,
) -> StageTask:  # fmt: skip
    """Run a stage on a group of workers as Ray Train would."""
    from protein2text.train.validation_records import validation_records

    rows = tokenized(config, stage)
    plan = plan_of(config, stage, rows)
    held_out, _ = validation_records(config, stage)
    task = StageTask(config, stage, plan.num_steps, {"seed": config.seed}, validation=held_out)
    workers.run("train", task, plan, [rows[:17], rows[17:]], stop_after, drained_after, killed_at)
    return task


@pytest.fixture(scope="session")
def train_on() -> Callable[..., StageTask]:
    """`train_without_ray`: a stage on a group of workers, ended early if wanted as ``worker_process.train`` says."""
    return train_without_ray


def counted_ids(plan: Plan, step: int, num_workers: int) -> list[str]:
    """Ids of the records that carry weight in a step, over all workers, sorted."""
    micro_batches = chain.from_iterable(plan.step(step, num_workers))
    return sorted(plan.records[index].record_id for batch in micro_batches if batch.counted for index in batch.records)


def merged(answers: Sequence[dict[int, list[str]]]) -> dict[int, list[str]]:
    """Ids of the records of each step, over the workers that gave one answer each."""
    found: dict[int, list[str]] = {}
    for answer in answers:
        for step, ids in answer.items():
            found[step] = sorted([*found.get(step, []), *ids])
    return found


def assert_weights_follow(checkpoints: Path, calm: Path, step: int) -> None:
    """After a change of the number of workers each parameter is within 1e-4 of the undisturbed run's, by the L2 norm
    of the difference; sums ran in another order."""
    from safetensors.torch import load_file

    weights, expected = (load_file(place / f"step-{step:08}" / "weights.safetensors") for place in (checkpoints, calm))
    assert weights.keys() == expected.keys()
    for name, weight in weights.items():
        distance = (weight - expected[name]).norm() / expected[name].norm()
        assert distance < 1e-4, f"{name} {distance}"


@dataclass(frozen=True)
class Undisturbed:
    """An alignment that nothing happened to, which disturbed ones of the same settings are held against."""

    task: StageTask
    answers: list[dict[int, list[str]]]
    """Ids of the records of each step, by worker."""


@pytest.fixture(scope="session")
def undisturbed(small_world: Path, tmp_path_factory: pytest.TempPathFactory, two_workers: Workers) -> Undisturbed:
    """The alignment of `run_values`, of twelve steps; its folder is not to be changed."""
    task = train_without_ray(two_workers, RunConfig.parse(small_run(small_world, tmp_path_factory.mktemp("whole"))))
    return Undisturbed(task, two_workers.answers)


@pytest.fixture(scope="session")
def plain() -> SimpleNamespace:
    """`tokenized` rows of a stage and its `plan_of`."""
    return SimpleNamespace(tokenized=tokenized, plan_of=plan_of)


def only_unwritten_steps_again(events: Path, interval: int) -> None:
    """Whenever training began again, it did from a checkpoint no older than the newest that lay whole on disk, and did
    again no more than the steps of an interval."""
    on_disk = last = 0
    for event in read_events(events):
        if "checkpoint" in event:
            on_disk = int(event["checkpoint"].removeprefix("step-"))
        elif "loss" in event:
            begins_from = event["step"] - 1
            if begins_from < last:
                assert begins_from >= on_disk
                assert last - begins_from <= interval
            last = event["step"]


@pytest.fixture(scope="session")
def assert_only_unwritten_steps_again() -> Callable[[Path, int], None]:
    """`only_unwritten_steps_again` of an events file, at a checkpoint interval."""
    return only_unwritten_steps_again


@pytest.fixture(scope="module")
def proxy() -> "Iterator[Proxy]":
    """An S3 service behind a proxy."""
    from tests.train.object_store import s3_behind_proxy  # boto3 and moto, which few modules need

    with s3_behind_proxy() as proxy:
        yield proxy


@pytest.fixture
def network(proxy: "Proxy") -> "Iterator[Proxy]":
    """The proxy without a fault, until a test gives it one."""
    proxy.stalled.clear()
    proxy.released.clear()
    proxy.counts.clear()
    yield proxy
    proxy.fault = lambda method, path: None
    proxy.released.set()


@pytest.fixture
def url(network: "Proxy", tmp_path: Path) -> str:
    """A place in the service of this test alone."""
    return f"s3://models/{tmp_path.name}"


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> "CheckpointStore":
    """A checkpoint store in a folder, and one in the service."""
    from tests.train.object_store import stored_at

    return stored_at(str(tmp_path / "store") if request.param == "folder" else request.getfixturevalue("url"))
