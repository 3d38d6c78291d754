"""A folder of residue states filled beforehand: what it holds, what is refused, and a training that reads it."""

import gzip
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from protein2text.config import RunConfig
from protein2text.data.records import iter_local
from protein2text.errors import ConfigError
from protein2text.models.batches import pack_proteins
from protein2text.models.encoders import build_encoder, reading_of
from protein2text.models.feature_cache import encoding_of
from protein2text.models.feature_store import FeatureStore, checksum_of
from protein2text.train import embed as embed_module
from protein2text.train.embed import Embedder, EmbedJob, Pool, embed
from protein2text.train.events import read_events, read_steps


@pytest.fixture
def job(run_config: RunConfig, tmp_path: Path) -> EmbedJob:
    return EmbedJob(run_config.model, "fp32", str(tmp_path / "features"), 2**30)


def store_of(job: EmbedJob) -> FeatureStore:
    return FeatureStore(
        Path(job.output), encoding_of(build_encoder(job.model.encoder), reading_of(job.model), "fp32"), 0
    )


def sequences_of(config: RunConfig) -> set[str]:
    return {protein["sequence"] for record in iter_local(config.data.corpus) for protein in record["proteins"]}


def noting(notes: Path) -> type[Embedder]:
    """`Embedder`, each of whose actors notes that it has work and goes on when two have; a class in a function, because
    Ray sends such a one whole."""

    class Noting(Embedder):
        def __call__(self, batch: dict[str, Any]) -> dict[str, list[int]]:
            (notes / str(os.getpid())).touch()
            until = time.monotonic() + 120
            while len(list(notes.iterdir())) < 2:
                assert time.monotonic() < until, "no other actor has work"
                time.sleep(0.05)
            return super().__call__(batch)

    return Noting


@pytest.mark.usefixtures("local_ray")
def test_every_protein_of_corpora_and_files_is_there_as_the_encoder_gives_it(
    run_config: RunConfig, job: EmbedJob, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Two actors fill the folder at the same time."""
    (tmp_path / "notes").mkdir()
    monkeypatch.setattr(embed_module, "Embedder", noting(tmp_path / "notes"))
    fasta = b">A1 one\nMKVLAA\n>A2 bad\nMKV1AA\n>A3 again\nMKVLAA\n>A4 cut\nMKV"
    (tmp_path / "more.fasta.gz").write_bytes(gzip.compress(fasta)[:-9])
    sources = [*run_config.data.corpus, str(tmp_path / "more.fasta.gz")]
    told: list[dict[str, Any]] = []
    summary = embed(sources, job, Pool(num_workers=2), progress=told.append)
    assert len(list((tmp_path / "notes").iterdir())) == 2
    assert "more.fasta.gz was not read to its end: the gzip file breaks off" in caplog.text
    wanted = sequences_of(run_config) | {"MKVLAA"}
    assert (summary.proteins, summary.embedded, summary.already_there) == (len(wanted), len(wanted), 0)
    assert (summary.quarantined, summary.reasons) == (2, {"invalid_residue": 1, "truncated_gzip": 1})
    assert summary.residues == sum(map(len, wanted))
    assert summary.bytes == sum(len(sequence) + 1 for sequence in wanted) * 24 * 4
    assert told[-1]["step"] == told[-1]["num_steps"] == len(wanted)
    refused, cut = map(json.loads, (Path(job.output) / "quarantine.jsonl").read_text().splitlines())
    assert "'1' is not an amino-acid letter" in refused["message"]
    assert refused["source"] == cut["source"] == "more.fasta.gz"
    store, encoder = store_of(job), build_encoder(job.model.encoder)
    for sequence in wanted:
        kept = store.read(checksum_of(sequence))
        assert kept is not None
        torch.testing.assert_close(
            kept, encoder(pack_proteins([sequence], reading_of(job.model))), rtol=1e-5, atol=1e-5
        )
    again = embed(sources, job, Pool())
    assert (again.embedded, again.already_there, again.residues) == (0, len(wanted), 0)


@pytest.mark.usefixtures("local_ray")
def test_what_will_not_fit_is_refused_before_the_start_with_the_arithmetic(
    run_config: RunConfig, job: EmbedJob
) -> None:
    num_residues = sum(map(len, sequences_of(run_config)))
    small = EmbedJob(job.model, job.precision, job.output, 50_000)
    with pytest.raises(ConfigError, match=f"24 proteins to embed, {num_residues} residues x 96 bytes, need .* GiB; of"):
        embed(run_config.data.corpus, small, Pool())
    assert not list(Path(job.output).glob("*/*.safetensors"))


def test_shards_are_longest_first_and_every_worker_has_some() -> None:
    missing = ["M" * length for length in (50, 40, 30, 20, 10, 9, 8, 7)]
    shards = embed_module._shards(missing, [len(item) * 100 for item in missing], num_workers=2)
    assert [item for shard in shards for item in shard["sequences"]] == missing
    assert 2 <= len(shards) <= len(missing)


def test_a_run_reads_what_was_embedded_and_encodes_what_is_missing(
    train_on: Any, one_worker: Any, run_values: dict[str, Any], tmp_path: Path
) -> None:
    """Once with an empty folder, once with a full one: the same losses to the bit, and nothing encoded."""
    data = run_values["data"] | {"features": str(tmp_path / "features")}
    scaling = {"num_workers": 1, "zero_stage": 2}
    stage = run_values["alignment"] | {"state_cache_gib": 1}
    first, second, without = (
        train_on(one_worker, RunConfig.parse(run_values | {"name": name, "scaling": scaling} | changes))
        for name, changes in (
            ("first", {"data": data, "alignment": stage}), ("second", {"data": data}), ("without", {"alignment": stage})
        )
    )  # fmt: skip
    losses = [[event["loss"] for event in read_steps(task.events)] for task in (first, second, without)]
    assert losses[0] == losses[1] == losses[2]
    said = [[event["message"] for event in read_events(task.events) if "encoded" in event.get("message", "")]
            for task in (first, second)]  # fmt: skip
    assert said[0][0].startswith("worker 0: 20 proteins encoded, 40 times remembered")
    assert said[1] == ["worker 0: 0 proteins encoded, 60 times remembered"]


@pytest.mark.slow
def test_a_killed_embedding_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Slow: it starts Ray twice. 400 proteins of 700 residues, a shard per forward; killed once a few are there."""
    dice = random.Random(0)
    letters = ["".join(dice.choices("ACDEFGHIKLMNPQRSTVWY", k=700)) for _ in range(400)]
    (tmp_path / "many.fasta").write_text("".join(f">P{number}\n{item}\n" for number, item in enumerate(letters)))
    arguments = ["embed", str(tmp_path / "many.fasta"), "--model", "tiny", "--output", str(tmp_path / "f"), "--json"]
    command = [sys.executable, "-m", "protein2text.cli", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not list((tmp_path / "f").glob("*/*.safetensors")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.kill()
    process.communicate()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["proteins"] == summary["embedded"] + summary["already_there"] == 400
    assert min(summary["embedded"], summary["already_there"]) > 0
