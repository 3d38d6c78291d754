"""Split: which proteins are trained on and which are kept for testing, and how similar the two sides measure.

``by_cluster`` (generalization): cluster, split by cluster, search test against the rest, move or drop what still hits.
``by_member`` (recall of known families): the sides come from a file; nothing is moved, similarity is only measured.
``temporal`` (what came later): entries created after a day are test; similarity is only measured.
"""

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protein2text.data import mmseqs
from protein2text.data.data_config import Kind, OnHit
from protein2text.data.output_folder import refuse_strangers, writing
from protein2text.data.protein_table import ProteinTable
from protein2text.data.records import load_card
from protein2text.data.split_card import measured_and_written
from protein2text.data.split_dates import dates_in_provenance, dates_in_table, parse_date, temporal
from protein2text.data.split_folder import Split, load_split
from protein2text.data.split_sides import by_cluster, from_file
from protein2text.data.split_work import Progress, SplitWork
from protein2text.errors import ConfigError, MissingFile, ResumeMismatch
from protein2text.outputs import refuse_url

logger = logging.getLogger(__name__)

__all__ = ["Split", "SplitSummary", "load_split", "split"]

TEST_SHARE = 0.2
"""Of the proteins, drawn for test by cluster."""
_ARGUMENTS = ("assignment", "test_share", "seed", "on_hit", "after", "dates")


@dataclass(frozen=True)
class SplitSummary:
    """What a split made."""

    output: str
    kind: str
    proteins: dict[str, int]
    """Accessions per split."""
    records: dict[str, int]
    """Records per split; ``mixed`` ones name proteins of several splits and belong to none."""
    num_clusters: int
    num_moved: int
    """Accessions drawn for test that still had a relative in training and were moved there."""
    num_dropped: int
    """The same, where they were dropped instead."""
    max_identity: float | None
    """Highest measured identity of a test protein to one outside test, over alignments that cover one of them."""
    max_local_identity: float | None
    """The same over significant alignments of any length."""
    checksum: str
    stage_seconds: dict[str, float]
    """Wall time of each stage when the split was made."""
    seconds: float
    already_done: bool


def split(
    corpus: Sequence[str],
    output: str,
    *,
    kind: Kind,
    assignment: str | None = None,
    after: str | None = None,
    dates: str | None = None,
    on_hit: OnHit = "move",
    test_share: float | None = None,
    seed: int | None = None,
    min_identity: float = 0.3,
    coverage: float = 0.8,
    progress: Progress | None = None,
) -> SplitSummary:
    """Divide the proteins of all corpora of a run, once for both stages and every benchmark.

    A killed split goes on after its last finished stage when it is called again with the same arguments.

    Args:
        corpus: folders written by ingest.
        output: split folder.
        kind: how the sides are chosen.
        assignment: for ``by_member``, a table ``accession<TAB>split<TAB>group``; its header line is optional.
        after: for ``temporal``, a day as in 2024-01-31; entries created after it are test.
        dates: for ``temporal``, a table ``accession<TAB>date`` of entries whose date the records' provenance does not
            state, or that shall have another.
        on_hit: what becomes of a test protein that is too much like training: ``move`` it there, or ``drop`` it.
        test_share: for ``by_cluster``, the share of proteins drawn for test (0.2); what is moved makes it smaller.
        seed: of that draw (0).
        min_identity: from this identity on (0-1) two proteins are relatives,
        coverage: if their alignment covers this share (0-1) of one of them.
        progress: told of each stage as it begins.

    Raises:
        MissingFile: no such corpus, assignment or dates.
        ConfigError: arguments that do not fit the kind, a file that does not cover the corpora, or another process
            writes to the folder.
        DiskFull: the split does not fit on its disk.
        LeakError: a sequence, accession or text on both sides, or no protein left for test.
        ResumeMismatch: the folder holds a split of other corpora or made with other arguments.
    """
    started = time.monotonic()
    folder = Path(output).resolve()
    refuse_url(folder)
    inputs: dict[str, Any] = {
        "kind": kind,
        "corpora": [load_card(folder)["checksum"] for folder in corpus],
        "min_identity": min_identity,
        "coverage": coverage,
        **_kind_arguments(kind, assignment, after, dates, on_hit, test_share, seed),
    }
    if (folder / "split.json").exists():
        return _summary(folder, _same_split(folder, inputs), time.monotonic() - started, already_done=True)
    refuse_strangers(folder, {"work", "split.parquet", "test.parquet", "split.json"}, "split")
    with writing(folder):
        if (folder / "split.json").exists():  # written meanwhile
            return _summary(folder, _same_split(folder, inputs), time.monotonic() - started, already_done=True)
        work = SplitWork(folder, {**inputs, "tool": mmseqs.version()}, progress)
        with work.stage("read", f"read {len(corpus)} corpora"):
            table = ProteinTable.load(corpus)
        limits = {"min_identity": min_identity, "coverage": coverage}
        if kind == "by_cluster":
            sides = by_cluster(table, work, share=inputs["test_share"], seed=inputs["seed"], on_hit=on_hit, **limits)
        elif kind == "by_member":
            sides = from_file(table, work, Path(str(assignment)))
        else:
            known = {**dates_in_provenance(corpus), **(dates_in_table(Path(dates)) if dates else {})}
            day = parse_date(str(after))
            assert day is not None, "checked with the other arguments"
            sides = temporal(table, work, known, after=day, on_hit=on_hit, **limits)
        card = measured_and_written(folder, corpus, table, sides, inputs, work)
    return _summary(folder, card, time.monotonic() - started, already_done=False)


def _kind_arguments(
    kind: str,
    assignment: str | None,
    after: str | None,
    dates: str | None,
    on_hit: str,
    test_share: float | None,
    seed: int | None,
) -> dict[str, Any]:
    """What decides a split of this kind, files by their checksum; other kinds' arguments are refused."""
    wanted = {"by_cluster": (), "by_member": ("assignment",), "temporal": ("after",)}
    taken = {"by_cluster": ("test_share", "seed"), "by_member": ("assignment",), "temporal": ("after", "dates")}
    values = {"assignment": assignment, "after": after, "dates": dates, "test_share": test_share, "seed": seed}
    given = {name: value for name, value in values.items() if value is not None}
    if kind not in wanted or on_hit not in ("move", "drop"):
        problem = f"kind {kind!r} with on_hit {on_hit!r}; kinds are {', '.join(wanted)}, on_hit is move or drop"
        raise ConfigError("data split", "kind", problem)
    missing = [name for name in wanted[kind] if name not in given]
    extra = [name for name in given if name not in taken[kind]]
    if missing or extra or (kind == "by_member" and on_hit != "move"):
        rules = (
            "by_member needs an assignment, temporal the day `after` which entries are test and takes `dates`, "
            "by_cluster takes none of these, and alone a test_share and a seed; by_member moves and drops nothing"
        )
        found = ", ".join(f"{name} {value!r}" for name, value in given.items()) or "nothing else"
        raise ConfigError("data split", (missing + extra + ["on_hit"])[0], f"{kind} with {found}: {rules}")
    if kind == "by_member":
        return {"assignment": _file_checksum(str(assignment), "the assignment of proteins to splits")}
    if kind == "by_cluster":
        share = TEST_SHARE if test_share is None else test_share
        return {"test_share": share, "seed": seed or 0, "on_hit": on_hit}
    if parse_date(str(after)) is None:
        raise ConfigError("data split", "after", f"{after!r} is no day; write it as in 2024-01-31")
    source = _file_checksum(dates, "the dates of entries") if dates else "provenance"
    return {"after": after, "dates": source, "on_hit": on_hit}


def _same_split(folder: Path, inputs: dict[str, Any]) -> dict[str, Any]:
    """The card of a finished split, if it was made of the same corpora with the same arguments."""
    card = load_split(folder).card
    for key in sorted({*inputs, *(name for name in _ARGUMENTS if name in card)}):
        if card.get(key) != inputs.get(key):
            raise ResumeMismatch(str(folder), key, str(card.get(key)), str(inputs.get(key)))
    logger.info("%s holds the finished split of these corpora already; nothing to do", folder)
    return card


def _file_checksum(path: str, purpose: str) -> str:
    if not Path(path).is_file():
        raise MissingFile(path, purpose, "Give the file that the corpus came with.")
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _summary(folder: Path, card: dict[str, Any], seconds: float, already_done: bool) -> SplitSummary:
    kept = ("kind", "proteins", "records", "num_clusters", "num_moved", "num_dropped", "max_identity")
    values = {name: card[name] for name in (*kept, "max_local_identity", "checksum", "stage_seconds")}
    return SplitSummary(output=str(folder), **values, seconds=round(seconds, 3), already_done=already_done)
