"""Give an index vectors of its sequences, so that it shows what lies near where nothing aligns.

Each thousand sequences is a file, so that a killed run goes on. The manifest is written last: until then the index is
as it was. An update makes other sequences, and drops the vectors.
"""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from protein2text.data.output_folder import hold
from protein2text.memory import peak_bytes
from protein2text.models.model_config import EncoderConfig
from protein2text.neighbours import vectors
from protein2text.neighbours.embedder import Embedder, described, weights_key
from protein2text.neighbours.index_folder import NeighbourIndex, file_checksum
from protein2text.neighbours.remote import AGREEMENT, VECTORS
from protein2text.neighbours.remote_agreement import measure
from protein2text.neighbours.seal import Progress, write_manifest
from protein2text.outputs import naming_a_full_disk

logger = logging.getLogger(__name__)

SEQUENCES_AT_ONCE = 1000
"""Of one file; what a killed run repeats at most."""
PREFIX = "embeddings-"


@dataclass(frozen=True)
class EmbedSummary:
    """What an embedding made."""

    output: str
    encoder: str
    """Where its weights lie."""
    sequences: int
    width: int
    """Of a vector."""
    search: str
    """``exact``, or ``HNSW`` where the sequences are many."""
    recall: float
    """Share of the exactly nearest ten that a search finds, over a draw, 0-1."""
    embedded: int
    """Sequences that this run embedded; a killed one had embedded the others."""
    peak_bytes: int
    seconds: float
    already_done: bool
    """The index had vectors of these weights, and nothing was computed."""


def embed(
    path: str,
    encoder: EncoderConfig,
    *,
    device: str = "cpu",
    exact_up_to: int = vectors.EXACT_UP_TO,
    progress: Progress | None = None,
) -> EmbedSummary:
    """Embed each distinct sequence of an index. Vectors that it has of other weights are replaced.

    Args:
        path: folder of a finished index.
        encoder: of any registered family; answers load it from the same place.
        device: ``cpu`` or ``cuda``.
        exact_up_to: most sequences that are searched one by one.
        progress: told what is done.

    Raises:
        MissingFile: no finished index.
        CorruptCheckpoint: the index was altered.
        ConfigError: faiss is not installed, or another process is writing to the index.
        MissingWeights: the encoder cannot be found or does not fit.
        ResourcesUnavailable: MMseqs2 does not run here.
        DiskFull: no space is left; the index is as it was.
    """
    started = time.monotonic()
    vectors.require()
    description = described(encoder)
    root = NeighbourIndex.open(path).folder
    with hold(root), naming_a_full_disk(root):
        index = NeighbourIndex.open(path)  # another process may have ended meanwhile
        saved, num_embedded = index.embeddings, 0
        known = saved is not None and weights_key(saved["encoder"]) == weights_key(description)
        folder = index.data / f"{PREFIX}{weights_key(description)[:12]}"
        _remove_others(index, folder)
        if not known:
            num_embedded = _embed(index, folder, description, device, exact_up_to, progress)
        elif index.manifest["embeddings"]["encoder"] != description:
            index.manifest["embeddings"]["encoder"] = description  # the weights were moved
            write_manifest(index)
        shutil.rmtree(_parts(folder), ignore_errors=True)
    embeddings = index.manifest["embeddings"]
    return EmbedSummary(
        output=str(index.folder),
        encoder=description["config"]["source"],
        sequences=index.manifest["counts"]["sequences"],
        **{name: embeddings[name] for name in ("width", "search", "recall")},
        embedded=num_embedded,
        peak_bytes=peak_bytes(),
        seconds=time.monotonic() - started,
        already_done=known,
    )


def _parts(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.parts")


def _remove_others(index: NeighbourIndex, folder: Path) -> None:
    """Remove embeddings, half or whole, that are neither the index's own nor those to be made."""
    own = None if index.embeddings is None else index.folder / index.embeddings["folder"]
    for other in index.data.glob(f"{PREFIX}*"):
        if other not in (own, folder, _parts(folder)):
            logger.info("%s: removing %s, which the index does not use", index.folder, other.name)
            shutil.rmtree(other)


def _embed(
    index: NeighbourIndex,
    folder: Path,
    description: dict[str, Any],
    device: str,
    exact_up_to: int,
    progress: Progress | None,
) -> int:
    """Write all files, the manifest last; the number of sequences that were embedded now."""

    def say(**event: Any) -> None:
        if progress is not None:
            progress({"stage": "embed", **event})

    num_sequences = index.manifest["counts"]["sequences"]
    config = EncoderConfig.parse(description["config"], path="encoder")
    parts, num_embedded = _embed_parts(index, _parts(folder), lambda: Embedder(config, device), say)
    say(message=f"making an index of {num_sequences} vectors")
    width = np.load(parts[0], mmap_mode="r").shape[1]
    made = vectors.make(map(np.load, parts), width, num_sequences, exact_up_to)
    folder.mkdir(exist_ok=True)
    vectors.save(made, folder / VECTORS)
    say(message="measuring how often remote neighbours agree")
    entries, seed = index.manifest["calibration_entries"], index.manifest["seed"]
    measure(index, made, max_entries=entries, seed=seed).save(folder / AGREEMENT)
    index.manifest["embeddings"] = {
        "folder": folder.relative_to(index.folder).as_posix(),
        "encoder": description,
        "width": width,
        "search": "exact" if num_sequences <= exact_up_to else "HNSW",
        "recall": vectors.recall(made, seed),
    }
    sums = index.manifest["checksums"]
    kept = {name: checksum for name, checksum in sums.items() if not Path(name).parent.name.startswith(PREFIX)}
    files = [folder / AGREEMENT, folder / VECTORS]
    made_now = {file.relative_to(index.folder).as_posix(): file_checksum(file) for file in files}
    index.manifest["checksums"] = {**kept, **made_now}
    write_manifest(index)
    return num_embedded


def _embed_parts(
    index: NeighbourIndex, folder: Path, load: Callable[[], Embedder], say: Callable[..., None]
) -> tuple[list[Path], int]:
    """The files of all vectors, and how many were made now; the encoder is loaded if there is one to make."""
    folder.mkdir(exist_ok=True)
    num_sequences, num_done, num_embedded = index.manifest["counts"]["sequences"], 0, 0
    parts: list[Path] = []
    embedder: Embedder | None = None
    stream = _distinct_sequences(index)
    while sequences := list(islice(stream, SEQUENCES_AT_ONCE)):
        parts.append(folder / f"part-{len(parts):05}.npy")
        if not parts[-1].is_file():
            embedder = embedder or load()
            partial = parts[-1].with_suffix(".tmp.npy")
            np.save(partial, embedder.vectors(sequences))
            os.replace(partial, parts[-1])
            num_embedded += len(sequences)
        num_done += len(sequences)
        say(step=num_done, num_steps=num_sequences, message="embedding")
    return parts, num_embedded


def _distinct_sequences(index: NeighbourIndex) -> Iterator[str]:
    """Each sequence once, in the order of its number, which is that of its first entry."""
    number = 0
    for table in index.tables(["target", "sequence"]):
        for target, sequence in zip(table["target"].to_pylist(), table["sequence"].to_pylist(), strict=True):
            if target == number:
                number += 1
                yield sequence
