"""Build an index of characterised proteins from files of any format that ingest reads.

Ray reads and parses in parallel; the process that called writes, has MMseqs2 make its database, and measures how often
neighbours agree. ``index.json`` is written last: without it there is no index.
"""

import logging
import re
import shutil
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from protein2text.data.ingest import described, same_sources, with_sums
from protein2text.data.output_folder import refuse_strangers, writing
from protein2text.data.reading import outcomes
from protein2text.data.reading_progress import ReadingProgress
from protein2text.data.sources import expand
from protein2text.errors import ConfigError
from protein2text.memory import peak_bytes
from protein2text.neighbours.calibration import MAX_ENTRIES
from protein2text.neighbours.entry_writer import EntryWriter
from protein2text.neighbours.gather import Gatherer, characterise_pieces
from protein2text.neighbours.index_folder import MANIFEST, NeighbourIndex
from protein2text.neighbours.seal import Progress, seal

logger = logging.getLogger(__name__)

MAX_RESIDUES = 65_535
"""Longest sequence that MMseqs2 takes, in residues; a longer protein is quarantined."""
GENERATION = re.compile(r"generation-(\d+)")
INCOMING = "incoming"
"""What an update reads from its sources, until it is merged."""
MAX_NAMED = 3
MAX_NAME = 60
"""Letters of a release or licence that a user names."""


@dataclass(frozen=True)
class IndexSummary:
    """What a build made."""

    output: str
    release: str
    licences: dict[str, int]
    """Entries that state which terms."""
    rows: int
    """Entries of the sources."""
    entries: int
    """Characterised entries, which the index holds."""
    quarantined: int
    sequences: int
    """Distinct ones."""
    facts: int
    funnel: list[dict[str, Any]]
    reasons: dict[str, int]
    peak_bytes: int
    """Most memory of the process that called."""
    seconds: float
    already_done: bool
    """The folder held the finished index of the same sources, and nothing was done."""


def build(
    sources: list[str],
    output: str,
    *,
    release: str | None = None,
    licence: str | None = None,
    allow_mixed_releases: bool = False,
    calibration_entries: int = MAX_ENTRIES,
    seed: int = 0,
    progress: Progress | None = None,
) -> IndexSummary:
    """Make an index.

    Args:
        sources: files, or folders of files, as ``data.ingest.ingest`` takes them.
        output: folder of the index; a half one, left by a killed build, is begun anew.
        release: of the sources that state none, such as ``2026_01``.
        licence: of the entries that state none, where their file states none either.
        allow_mixed_releases: accept sources of several; every entry keeps its own.
        calibration_entries: most entries that are left out in turn to measure agreement.
        seed: of their draw.
        progress: told what is done.

    Raises:
        MissingFile: a source is not there.
        ConfigError: a source is empty or in no known format, sources are of several releases, no entry is
            characterised, or the output folder holds something else or is being written to.
        ResumeMismatch: the folder holds a finished index of other sources or settings.
        CorruptCheckpoint: the folder holds the finished index, and it was altered.
        DiskFull: no space is left; no index stands then.
        ServiceError: a store did not answer as it should.
        ResourcesUnavailable: MMseqs2 does not run here.
    """
    started = time.monotonic()
    folder = Path(output).absolute()
    files, inputs = read_inputs(sources, release, licence)
    if not allow_mixed_releases:
        refuse_mixed({item["name"]: item.get("release") for item in inputs})
    settings = {"calibration_entries": calibration_entries, "seed": seed}
    if (finished := _finished(folder, inputs, settings)) is not None:
        return _summary(finished, started, already_done=True)
    refuse_strangers(folder, {MANIFEST, INCOMING, *generations(folder)}, "index")
    with writing(folder):
        if (finished := _finished(folder, inputs, settings)) is not None:  # by another build, meanwhile
            return _summary(finished, started, already_done=True)
        remove(folder, generations(folder))
        generation = folder / "generation-1"
        writer = EntryWriter(generation)
        gathered = gather(files, inputs, Gatherer(generation, writer), progress)
        if not writer.num_entries:
            raise _nothing(folder, generation, gathered)
        manifest = {"generation": generation.name, "sources": inputs, **settings, **gathered, **writer.finish()}
        return _summary(seal(folder, writer, manifest, progress), started, already_done=False)


def _finished(folder: Path, inputs: list[dict[str, Any]], settings: dict[str, Any]) -> NeighbourIndex | None:
    """The finished index of these very sources, if the folder holds it."""
    if not (folder / MANIFEST).exists():
        return None
    index = NeighbourIndex.open(folder)
    same_sources(folder, index.manifest, inputs, **settings)
    logger.info("%s holds the finished index of these sources already; nothing to do", folder)
    return index


def read_inputs(sources: list[str], release: str | None, licence: str | None) -> tuple[list[str], list[dict[str, Any]]]:
    """Files, and what the manifest says of each.

    Raises:
        MissingFile: a source is not there.
        ConfigError: none given, one that is empty or in no known format, or a release or licence that is no name.
        ServiceError: a store did not answer as it should.
    """
    files = expand(sources)
    if not files:
        raise ConfigError("index", "sources", "none given; name a file or folder")
    for key, value in (("release", release), ("licence", licence)):
        if value is not None and not (value.isprintable() and 0 < len(value.strip()) <= MAX_NAME):
            problem = f"{value[:MAX_NAME]!a} is no name; 1 to {MAX_NAME} printable letters are"
            raise ConfigError("index", f"--{key}", problem)
    stated = {key: value for key, value in (("release", release), ("licence", licence)) if value}
    return files, [{**stated, **item} for item in with_sums(files, described(files))]


def refuse_mixed(releases: dict[str, str | None]) -> None:
    """Refuse sources of several releases.

    Raises:
        ConfigError: with the releases, and an example of each.
    """
    example = {release: name for name, release in reversed(releases.items())}
    if len(example) > 1:
        listed = ", ".join(f"{release or 'none stated'} ({name})" for release, name in [*example.items()][:MAX_NAMED])
        remedy = "give --release for sources that state none, or --allow-mixed-releases to keep each entry's own"
        raise ConfigError("index", "sources", f"are of {len(example)} releases: {listed}; {remedy}")


def gather(
    files: list[str], inputs: list[dict[str, Any]], gatherer: Gatherer, progress: Progress | None
) -> dict[str, Any]:
    """Read all files into what a gatherer writes to, and return its counts."""
    told = ReadingProgress("index", inputs, progress)
    with outcomes(files, inputs, partial(characterise_pieces, max_residues=MAX_RESIDUES)) as tables:
        for num_bytes, table in tables:
            gatherer.add(table)
            counts = {"entries": gatherer.num_entries, "quarantined": gatherer.num_quarantined}
            told.made(num_bytes, rows=gatherer.num_rows, **counts)
        return gatherer.finish()


def generations(folder: Path) -> list[str]:
    """Names of the subfolders that hold, or were to hold, an index's data."""
    return sorted(item.name for item in folder.iterdir() if GENERATION.fullmatch(item.name)) if folder.is_dir() else []


def remove(folder: Path, names: list[str]) -> None:
    """Remove what a killed run, or an index that was replaced, left."""
    for name in (INCOMING, *names):
        if (folder / name).exists():
            logger.info("%s: removing %s, which no index uses", folder, name)
            shutil.rmtree(folder / name)


def _nothing(folder: Path, generation: Path, gathered: dict[str, Any]) -> ConfigError:
    reasons = ", ".join(f"{count} {reason}" for reason, count in [*gathered["reasons"].items()][:MAX_NAMED])
    problem = f"hold no characterised entry; of {gathered['rows']} entries: {reasons or 'nothing'}"
    remedy = f"name files with functions, EC numbers or GO terms; see {generation.name}/quarantine for each"
    return ConfigError(str(folder), "sources", f"{problem}; {remedy}")


def _summary(index: NeighbourIndex, started: float, *, already_done: bool) -> IndexSummary:
    manifest = index.manifest
    return IndexSummary(
        output=str(index.folder),
        release=index.release,
        licences=index.licences,
        rows=manifest["rows"],
        entries=index.num_entries,
        quarantined=manifest["quarantined"],
        sequences=manifest["counts"]["sequences"],
        facts=manifest["counts"]["facts"],
        funnel=manifest["funnel"],
        reasons=manifest["reasons"],
        peak_bytes=peak_bytes(),
        seconds=time.monotonic() - started,
        already_done=already_done,
    )
