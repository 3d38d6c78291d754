"""Ingest: source files to record shards, with everything that was refused beside them.

Ray reads and parses what is more than a little in parallel; the process that called writes the shards, so that they lie
in one place whatever nodes did the parsing. Order is that of the sources. ``card.json`` is written last: without it
there is no corpus.
"""

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from protein2text.data.corpus_writer import CorpusWriter
from protein2text.data.output_folder import refuse_strangers, remove_half, writing
from protein2text.data.parsing import parse_pieces
from protein2text.data.readers.formats import detect
from protein2text.data.reading import outcomes
from protein2text.data.reading_progress import Progress, ReadingProgress
from protein2text.data.records import corpus_checksum, load_card
from protein2text.data.sources import expand, num_bytes, origin, sha256, short_names, warn_of
from protein2text.data.uniprot_rest import SEARCH_URL, fetch
from protein2text.errors import ConfigError, CorruptCheckpoint, ResumeMismatch

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class IngestSummary:
    """What an ingest made; ``rows`` = ``records`` + ``quarantined``, always."""

    output: str
    rows: int
    records: int
    quarantined: int
    funnel: list[dict[str, Any]]
    """What was left after each stage (``corpus_writer.STAGES``), with the reasons of what was lost."""
    reasons: dict[str, int]
    checksum: str
    seconds: float
    already_done: bool
    """The folder held the finished corpus of the same sources, and nothing was done."""


def ingest(
    sources: list[str],
    output: str,
    *,
    max_residues: int,
    uniprot: str | None = None,
    uniprot_url: str = SEARCH_URL,
    progress: Progress | None = None,
) -> IngestSummary:
    """Read sources into a corpus folder.

    Args:
        sources: files, or folders of files, here or in a store that fsspec reaches (``s3://``, ``gs://``, ``https://``),
            plain or gzipped, in the formats of ``readers.formats``.
        output: corpus folder; a half one, left by a killed ingest, is begun anew.
        max_residues: longer proteins are quarantined.
        uniprot: a UniProtKB query; its answer is downloaded to ``output``/download and read like the sources.
        uniprot_url: the service that it is asked of.
        progress: told at once what is read, and the counts after every block.

    Raises:
        MissingFile: a source is not there.
        ConfigError: a source is in no known format, its store's library is not installed, or the output folder holds
            something else or is written by another process.
        DiskFull: the corpus does not fit on its disk.
        ResumeMismatch: the folder holds a finished corpus of other sources or another limit.
        CorruptCheckpoint: the folder holds the finished corpus, and it was altered.
        ServiceError: UniProt, or a store, did not answer as it should.
        ResourcesUnavailable: the connected Ray has too few CPUs to read anything.
    """
    started = time.monotonic()
    folder = Path(output).resolve()
    files = expand(sources)
    if not files and uniprot is None:
        raise ConfigError("data ingest", "sources", "none given; name a file or folder, or a UniProt query")
    inputs = described(files)
    if not (folder / "card.json").exists():
        refuse_strangers(folder, {"records", "quarantine", "download", "card.json"}, "corpus")
    elif uniprot is None:  # whoever only reads needs no right to write
        return _finished(folder, files, inputs, max_residues, started)
    with writing(folder):
        if uniprot is not None:
            files.append(str(fetch(uniprot, folder / "download", url=uniprot_url, progress=progress)))
            inputs = described(files)
        if (folder / "card.json").exists():  # written meanwhile
            return _finished(folder, files, inputs, max_residues, started)
        card = _written(folder, files, inputs, max_residues, progress)
    return _summary(folder, card, time.monotonic() - started, False)


def _finished(
    folder: Path, files: list[str], inputs: list[dict[str, Any]], max_residues: int, started: float
) -> IngestSummary:
    card = _same_corpus(folder, with_sums(files, inputs), max_residues)
    return _summary(folder, card, time.monotonic() - started, True)


def _written(
    folder: Path, files: list[str], inputs: list[dict[str, Any]], max_residues: int, progress: Progress | None
) -> dict[str, Any]:
    """The card of a corpus that is made anew in a folder that this process holds."""
    remove_half(folder, ("records", "quarantine"))
    writer = CorpusWriter(folder)
    parse = partial(parse_pieces, max_residues=max_residues)
    told = ReadingProgress("ingest", inputs, progress)
    with ThreadPoolExecutor(1) as beside, outcomes(files, inputs, parse) as tables:
        summed = beside.submit(with_sums, files, inputs)  # while Ray starts
        for num_bytes, table in tables:
            writer.add(table)
            counts = {"records": writer.num_records, "quarantined": writer.num_quarantined}
            told.made(num_bytes, rows=sum(counts.values()), **counts)
        card = writer.finish(summed.result(), max_residues)
    warn_of(writer.not_whole)
    if not writer.num_records:
        logger.warning("%s: no usable record in %d rows; see quarantine/", folder, writer.num_quarantined)
    return card


def described(files: list[str]) -> list[dict[str, Any]]:
    """What is known of each source before it is read: name, format, bytes, and where a downloaded one came from.

    Raises:
        ConfigError: a file that cannot be read, or in no known format.
        ServiceError: a store that does not answer.
    """
    return [
        {"name": name, "format": detect(path), "bytes": num_bytes(path), **origin(path)}
        for name, path in zip(short_names(files), files, strict=True)
    ]


def with_sums(files: list[str], inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a card says of each source: what `described` does, and its SHA-256.

    Raises:
        ConfigError: a file that cannot be read.
        ServiceError: a store that does not answer.
    """
    return [{**item, "sha256": sha256(path)} for path, item in zip(files, inputs, strict=True)]


def _same_corpus(folder: Path, inputs: list[dict[str, Any]], max_residues: int) -> dict[str, Any]:
    """The card of a finished corpus, if it was made of the same sources under the same limit and is still whole."""
    card = load_card(folder)
    same_sources(folder, card, inputs, max_residues=max_residues)
    if corpus_checksum(folder) != card["checksum"]:
        remedy = "Remove the folder and ingest again."
        raise CorruptCheckpoint(str(folder), "records", "the shards differ from the card's checksum", remedy)
    logger.info("%s holds the finished corpus of these sources already; nothing to do", folder)
    return card


def same_sources(folder: Path, card: dict[str, Any], inputs: list[dict[str, Any]], **settings: object) -> None:
    """Refuse to make something else where a finished output lies.

    Args:
        folder: that holds it.
        card: its ``sources`` and settings.
        inputs: sources as `described` now.
        settings: as they are now, by their keys in the card.

    Raises:
        ResumeMismatch: a setting or a source differs.
    """
    current = {**settings, "sources": [_source_key(item) for item in inputs]}
    saved = {**card, "sources": [_source_key(item) for item in card["sources"]]}
    for key, value in current.items():
        if saved.get(key) != value:
            raise ResumeMismatch(str(folder), key, str(saved.get(key)), str(value))


def _source_key(item: dict[str, Any]) -> str:
    return f"{item['name']} (sha256 {item['sha256'][:12]})"


def _summary(folder: Path, card: dict[str, Any], seconds: float, already_done: bool) -> IngestSummary:
    counts = card["counts"]
    return IngestSummary(
        output=str(folder),
        rows=counts["rows"],
        records=counts["records"],
        quarantined=counts["quarantined"],
        funnel=card["funnel"],
        reasons=card["reasons"],
        checksum=card["checksum"],
        seconds=seconds,
        already_done=already_done,
    )
