"""Fill a folder of residue states beforehand, at any scale: what a run finds there it does not encode.

The sequences of corpora and files are read in parallel; the process that called keeps each distinct one, a byte a
residue where its states take hundreds, and plans shards of them, longest proteins first: so whatever runs out of memory
does so at once. A pool of actors, each with the encoder, makes one shard after the other. A shard appears whole or not
at all, and one that is there is not made again: a killed run goes on where it stopped.
"""

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.data

from protein2text.config import load_run
from protein2text.data.ingest import described
from protein2text.data.parsing import parse_pieces
from protein2text.data.reading import BLOCK_BYTES, outcomes
from protein2text.data.records import read_records
from protein2text.data.sources import expand, not_whole, warn_of
from protein2text.errors import ConfigError, RecordError
from protein2text.generate.latent_store import encoder_batches
from protein2text.models.batches import pack_proteins
from protein2text.models.checkpoints import verify_manifest
from protein2text.models.encoders import build_encoder, reading_of
from protein2text.models.feature_cache import encoding_of
from protein2text.models.feature_store import SHARD_BYTES, FeatureStore, checksum_of
from protein2text.models.model_config import ModelConfig
from protein2text.models.model_folder import read_config
from protein2text.outputs import naming_a_full_disk, refuse_url
from protein2text.resources import cluster_supply, ray_data_in_order, require

logger = logging.getLogger(__name__)

Progress = Callable[[dict[str, Any]], None]
QUARANTINE = "quarantine.jsonl"
BATCH_RESIDUES = {"cpu": 4096, "cuda": 32_768}
"""Residues of one forward of the encoder; a longer protein goes alone."""
SHARDS_PER_WORKER = 4
"""Where there is little to do it is cut finer, so that every worker has a part."""
SPARE_BYTES_PER_PROTEIN = 256
"""Of a shard's header, generously."""


@dataclass(frozen=True)
class EmbedJob:
    """What is encoded, how, and where to; small enough to send with every actor."""

    model: ModelConfig
    precision: str
    output: str
    max_bytes: int
    device: str = "cpu"


@dataclass(frozen=True)
class Pool:
    """Actors with an encoder each."""

    num_workers: int = 1
    cpus_per_worker: float = 1
    gpus_per_worker: float = 0


@dataclass(frozen=True)
class EmbedSummary:
    """What an embedding did."""

    output: str
    proteins: int
    """Distinct sequences of the sources."""
    embedded: int
    already_there: int
    quarantined: int
    reasons: dict[str, int]
    residues: int
    """Of the proteins embedded now."""
    bytes: int
    """Of their states on disk."""
    seconds: float
    residues_per_s: float


def embed_job(model: str, output: str, max_gib: float, device: str) -> EmbedJob:
    """A job from what a user names.

    Args:
        model: a run file, the name of a preset, or a model folder; of a run the precision of instruction tuning counts.
        output: the folder, ``data.features`` of the runs that are to use it.
        max_gib: that the folder may take.
        device: ``cpu`` or ``cuda``.

    Raises:
        MissingFile: neither a run nor a model folder.
        ConfigError: a run that does not fit.
    """
    path = Path(output).expanduser().absolute()
    refuse_url(path)
    folder = Path(model).expanduser()
    if folder.is_dir():
        verify_manifest(folder)
        about = json.loads((folder / "run.json").read_text()) if (folder / "run.json").is_file() else {}
        precision = about.get("settings", {}).get(f"{about.get('stage')}.precision", "fp32")
        return EmbedJob(read_config(folder, {}), precision, str(path), int(max_gib * 2**30), device)
    config = load_run(model)
    return EmbedJob(config.model, config.instruction.precision, str(path), int(max_gib * 2**30), device)


def embed(sources: list[str], job: EmbedJob, pool: Pool, *, progress: Progress | None = None) -> EmbedSummary:
    """Encode each distinct sequence that the folder lacks.

    Args:
        sources: corpus folders, or files and folders of files as ``data ingest`` takes them.
        job: the encoder and the folder.
        pool: how many actors, and what each holds.
        progress: told of proteins and of residues per second.

    Raises:
        MissingFile: a source is not there.
        ConfigError: the folder cannot hold what is missing.
        ResourcesUnavailable: the cluster can never place the actors.
        MissingWeights: the encoder cannot be found.
    """
    started = time.monotonic()
    with ray_data_in_order(BLOCK_BYTES), naming_a_full_disk(Path(job.output)):
        require(pool, cluster_supply(), called="actors")
        sequences, refused = _sequences(sources, job.model)
        encoding, row_bytes = ray.get(_describe.options(num_cpus=pool.cpus_per_worker).remote(job))
        store = FeatureStore(Path(job.output), encoding, job.max_bytes)
        missing = sorted(
            (item for item in sequences if checksum_of(item) not in store), key=lambda item: (-len(item), item)
        )
        present_bytes = store.keep_in_use({checksum_of(item) for item in sequences})
        sizes = [(len(item) + 1) * row_bytes + SPARE_BYTES_PER_PROTEIN for item in missing]
        _refuse_what_does_not_fit(store, missing, sizes, row_bytes, present_bytes)
        _write_quarantine(Path(job.output), refused)
        began = time.monotonic()
        num_residues = num_bytes = num_done = 0
        for row in _encoded(job, encoding, pool, _shards(missing, sizes, pool.num_workers)):
            num_done, num_residues, num_bytes = (
                num_done + row["proteins"],
                num_residues + row["residues"],
                num_bytes + row["bytes"],
            )
            rate = num_residues / (time.monotonic() - began)
            if progress is not None:
                progress(
                    {"stage": "embed", "step": num_done, "num_steps": len(missing), "message": f"{rate:.0f} residues/s"}
                )
    reasons = [row["reason"] for row in refused]
    seconds = time.monotonic() - began
    return EmbedSummary(
        output=job.output, proteins=len(sequences), embedded=num_done, already_there=len(sequences) - len(missing),
        quarantined=len(refused), reasons={reason: reasons.count(reason) for reason in sorted(set(reasons))},
        residues=num_residues, bytes=num_bytes, seconds=round(time.monotonic() - started, 3),
        residues_per_s=round(num_residues / seconds, 1),
    )  # fmt: skip


class Embedder:
    """One actor: an encoder, and the folder that its shards go to."""

    def __init__(self, job: EmbedJob, encoding: dict[str, Any]) -> None:
        encoder = build_encoder(job.model.encoder)
        self._job, self._reading = job, reading_of(job.model)
        self._store = FeatureStore(Path(job.output), encoding, job.max_bytes)
        self._encoder = encoder.to(job.device)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[int]]:
        """Make the shards of a batch; how many proteins, residues and bytes."""
        made = [self._shard(list(sequences)) for sequences in batch["sequences"]]
        return {name: [row[number] for row in made] for number, name in enumerate(("proteins", "residues", "bytes"))}

    def _shard(self, sequences: list[str]) -> tuple[int, int, int]:
        import torch

        states: dict[str, torch.Tensor] = {}
        bf16 = self._job.precision == "bf16"
        for group in encoder_batches(sequences, BATCH_RESIDUES[self._job.device]):
            proteins = pack_proteins(group, self._reading).to(self._job.device)
            with torch.no_grad(), torch.autocast(self._job.device, torch.bfloat16, enabled=bf16):
                states_SE = self._encoder(proteins)
            parts = states_SE.split(list(proteins.state_lengths))
            states |= {checksum_of(sequence): part.cpu() for sequence, part in zip(group, parts, strict=True)}
        if not self._store.add(states):
            problem = f"has no room left: others use the rest of its {self._job.max_bytes / 2**30:.2f} GiB"
            raise ConfigError(self._job.output, "--max-gib", f"{problem}; raise it, what was embedded is kept")
        return len(states), sum(map(len, sequences)), sum(states_RE.nbytes for states_RE in states.values())


@ray.remote
def _describe(job: EmbedJob) -> tuple[dict[str, Any], int]:
    """The encoding, and the bytes of a state; a task, because a cluster's head may be too small for an encoder."""
    import torch

    encoder, reading = build_encoder(job.model.encoder), reading_of(job.model)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=job.precision == "bf16"):
        row = encoder(pack_proteins(["M"], reading))[0]
    return encoding_of(encoder, reading, job.precision), row.nbytes


def _sequences(sources: list[str], model: ModelConfig) -> tuple[set[str], list[dict[str, Any]]]:
    """Distinct sequences that the model reads, and what was refused, by whom and why."""
    corpora = [source for source in sources if (Path(source) / "card.json").is_file()]
    files = expand([source for source in sources if source not in corpora])
    sequences: set[str] = set()
    refused: list[dict[str, Any]] = []
    reading = reading_of(model)
    for table in _tables(corpora, files):
        for row in table.to_pylist():
            if row.get("reason"):
                refused.append({name: row[name] for name in ("source", "place", "record", "reason", "message")})
                continue
            for protein in row["proteins"]:
                try:
                    reading.check(row["record_id"], len(protein["sequence"]))
                except RecordError as error:
                    where = {"source": row.get("source", ""), "place": "", "record": error.record}
                    refused.append({**where, "reason": error.reason, "message": str(error)})
                else:
                    sequences.add(protein["sequence"])
    warn_of(not_whole(refused))
    if not sequences:
        raise ConfigError("embed", "sources", f"hold no usable sequence; {len(refused)} entries were refused")
    return sequences, refused


def _tables(corpora: list[str], files: list[str]) -> Iterator[pa.Table]:
    if corpora:
        records = read_records(corpora).select_columns(["record_id", "proteins"])
        yield from records.iter_batches(batch_format="pyarrow", batch_size=None)
    if files:
        with outcomes(files, described(files), partial(parse_pieces, max_residues=2**31)) as tables:
            yield from (table for _, table in tables)


def _refuse_what_does_not_fit(
    store: FeatureStore, missing: Sequence[str], sizes: Sequence[int], row_bytes: int, present_bytes: int
) -> None:
    num_residues, needed = sum(map(len, missing)), sum(sizes)
    arithmetic = (
        f"{len(missing)} proteins to embed, {num_residues} residues x {row_bytes} bytes, need {needed / 2**30:.3f} GiB"
    )
    logger.info("%s in %s", arithmetic, store.root)
    in_use = max(store.num_bytes_in_use(), present_bytes)
    if needed + in_use > store.max_bytes:
        problem = f"{arithmetic}; of {store.max_bytes / 2**30:.3f} GiB, {in_use / 2**30:.3f} GiB are in use"
        raise ConfigError(str(store.root), "--max-gib", f"{problem}. Raise it, or embed fewer")
    free = shutil.disk_usage(store.root).free
    if needed > free:
        raise ConfigError(str(store.root), "output", f"{arithmetic}; the disk has {free / 2**30:.3f} GiB free")


def _shards(missing: Sequence[str], sizes: Sequence[int], num_workers: int) -> list[dict[str, Any]]:
    """Rows of a dataset, the sequences of a shard each."""
    target = min(SHARD_BYTES, max(1, sum(sizes) // (SHARDS_PER_WORKER * num_workers)))
    shards: list[list[str]] = []
    room = 0
    for sequence, size in zip(missing, sizes, strict=True):
        if not shards or size > room:
            shards.append([])
            room = target
        shards[-1].append(sequence)
        room -= size
    return [{"sequences": shard} for shard in shards]


def _encoded(
    job: EmbedJob, encoding: dict[str, Any], pool: Pool, shards: list[dict[str, Any]]
) -> Iterator[dict[str, int]]:
    """What each shard held, as they are made."""
    if not shards:
        return
    made = ray.data.from_items(shards, override_num_blocks=len(shards)).map_batches(
        Embedder, batch_size=1, fn_constructor_args=(job, encoding),
        compute=ray.data.ActorPoolStrategy(size=pool.num_workers),
        num_cpus=pool.cpus_per_worker, num_gpus=pool.gpus_per_worker or None,
    )  # fmt: skip
    yield from made.iter_rows()


def _write_quarantine(folder: Path, refused: list[dict[str, Any]]) -> None:
    if refused:
        (folder / QUARANTINE).write_text("".join(json.dumps(row) + "\n" for row in refused), encoding="utf-8")
