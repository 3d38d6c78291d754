"""Add entries to an index, or replace them by newer ones; the old index stays valid until the new manifest stands."""

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from protein2text.data.output_folder import hold
from protein2text.memory import peak_bytes
from protein2text.neighbours.build import (
    GENERATION,
    INCOMING,
    gather,
    generations,
    read_inputs,
    refuse_mixed,
    remove,
)
from protein2text.neighbours.entry_writer import EntryWriter
from protein2text.neighbours.gather import Gatherer
from protein2text.neighbours.index_folder import STORED_SCHEMA, NeighbourIndex
from protein2text.neighbours.seal import Progress, seal
from protein2text.outputs import naming_a_full_disk

_KEYS = ("accession", "entry_version", "release", "content", "source")


@dataclass(frozen=True)
class UpdateSummary:
    """What an update did; each entry of its sources is in one of the counts."""

    output: str
    release: str
    licences: dict[str, int]
    rows: int
    """Entries of the sources."""
    entries: int
    """Characterised entries that the index holds now."""
    added: int
    replaced: int
    confirmed: int
    """They say the same in a newer release, which the entries bear from now on."""
    unchanged: int
    older: int
    """The index holds a later version, which stays."""
    quarantined: int
    embeddings: str
    """``none``, ``kept``, or that they are out of date and how to make them anew."""
    funnel: list[dict[str, Any]]
    reasons: dict[str, int]
    peak_bytes: int
    seconds: float


class _State(NamedTuple):
    """What decides which of two entries of one accession stays."""

    version: int | None
    release: str | None
    content: bytes
    source: str


def update(
    path: str,
    sources: list[str],
    *,
    release: str | None = None,
    licence: str | None = None,
    allow_mixed_releases: bool = False,
    progress: Progress | None = None,
) -> UpdateSummary:
    """Merge sources into an index, and measure agreement anew. A killed update leaves the index as it was.

    Of two entries of one accession the one with the higher version stays; where versions do not tell, the one of the
    newer release; where releases do not tell either, the one that states a version, as published questions do not; and
    then the one from these sources.

    Args:
        path: folder of a finished index. What it held before stays in it, unused, until the next update, so that
            a service that has the index open goes on.
        sources: as for `build`, which also says what the other arguments are.

    Raises:
        MissingFile: no finished index, or a source is not there.
        CorruptCheckpoint: the index was altered.
        DiskFull: no space is left; the index is as it was.
        ConfigError: a source is empty or in no known format, the result would hold several releases, or another process
            is writing to the index.
        ServiceError: a store did not answer as it should.
        ResourcesUnavailable: MMseqs2 does not run here.
    """
    started = time.monotonic()
    index = NeighbourIndex.open(path)
    files, inputs = read_inputs(sources, release, licence)
    with hold(index.folder), naming_a_full_disk(index.folder):
        index = NeighbourIndex.open(path)  # another update may have ended meanwhile
        remove(index.folder, [name for name in generations(index.folder) if name != index.data.name])
        writer = EntryWriter(index.folder / INCOMING)
        gathered = gather(files, inputs, Gatherer(index.folder / INCOMING, writer), progress)
        came = NeighbourIndex(index.folder, {"generation": INCOMING, **writer.finish()})
        held, offered = _states(index), _states(came)
        fates = {name: _fate(held.get(name), state) for name, state in offered.items()}
        taken = {name for name, fate in fates.items() if fate in ("added", "replaced", "confirmed")}
        if not allow_mixed_releases:
            states = {**held, **{name: offered[name] for name in taken}}
            refuse_mixed({name: state.release for name, state in states.items()})
        embeddings = _embeddings(index, stale=bool(taken))
        if taken:
            index = _merge(index, came, taken, inputs, gathered, progress)
        remove(index.folder, [])
    counts = Counter(fates.values())
    return UpdateSummary(
        output=str(index.folder),
        release=index.release,
        licences=index.licences,
        rows=gathered["rows"],
        entries=index.num_entries,
        **{fate: counts[fate] for fate in ("added", "replaced", "confirmed", "unchanged", "older")},
        quarantined=gathered["quarantined"],
        embeddings=embeddings,
        funnel=gathered["funnel"],
        reasons=gathered["reasons"],
        peak_bytes=peak_bytes(),
        seconds=time.monotonic() - started,
    )


def _embeddings(index: NeighbourIndex, *, stale: bool) -> str:
    if index.embeddings is None:
        return "none"
    encoder = index.embeddings["encoder"]["config"]["source"]
    remedy = f"run `protein2text index embed {index.folder} --encoder {encoder}` again"
    return f"dropped, as they are of the old entries; {remedy}" if stale else "kept"


def _fate(held: _State | None, offered: _State) -> str:
    """What becomes of an entry that sources offer."""
    if held is None:
        return "added"
    same = held.content == offered.content
    if held.version is not None and offered.version is not None and held.version != offered.version:
        return "replaced" if offered.version > held.version else "older"
    if held.release is not None and offered.release is not None and held.release != offered.release:
        if offered.release < held.release:
            return "older"
        return "confirmed" if same else "replaced"
    if same and offered.release in (None, held.release):
        return "unchanged"
    return "older" if held.version is not None and offered.version is None else "replaced"


def _states(index: NeighbourIndex) -> dict[str, _State]:
    table = index.columns(*_KEYS)
    columns = [table[name].to_pylist() for name in _KEYS]
    return {name: _State(*state) for name, *state in zip(*columns, strict=True)}


def _merge(
    index: NeighbourIndex,
    came: NeighbourIndex,
    taken: set[str],
    inputs: list[dict[str, Any]],
    gathered: dict[str, Any],
    progress: Progress | None,
) -> NeighbourIndex:
    """Write the next generation: what stays of the old entries in their order, then those that were taken."""
    number = 1 + max(int(found[1]) for name in generations(index.folder) if (found := GENERATION.fullmatch(name)))
    generation = index.folder / f"generation-{number}"
    writer = EntryWriter(generation)
    _copy(index, writer, taken, wanted=False)
    _copy(came, writer, taken, wanted=True)
    (came.data / "quarantine").rename(generation / "quarantine")
    kept = {key: index.manifest[key] for key in ("calibration_entries", "seed")}
    known = {(item["name"], item["sha256"]) for item in inputs}
    earlier = [item for item in index.manifest["sources"] if (item["name"], item["sha256"]) not in known]
    manifest = {"generation": generation.name, "sources": [*earlier, *inputs], **kept, **gathered, **writer.finish()}
    return seal(index.folder, writer, manifest, progress)


def _copy(index: NeighbourIndex, writer: EntryWriter, names: set[str], *, wanted: bool) -> None:
    """Write the entries whose accessions are among some, or those whose are not."""
    for table in index.tables(STORED_SCHEMA.names):
        chosen = [(name in names) == wanted for name in table["accession"].to_pylist()]
        writer.add(table.filter(pa.array(chosen, pa.bool_())))
