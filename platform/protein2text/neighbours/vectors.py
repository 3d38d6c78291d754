"""Vectors of an index's sequences in faiss: exact search of a small index, a navigable graph above.

The file holds the vectors themselves, so that nothing lies beside it: row n is sequence n of the MMseqs2 database.
"""

import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from protein2text.errors import ConfigError

if TYPE_CHECKING:
    import faiss

EXACT_UP_TO = 50_000
"""Sequences that are compared one by one; more are searched through a graph (HNSW, arXiv:1603.09320)."""
NUM_LINKS = 32
BUILD_BREADTH = 200
SEARCH_BREADTH = 512
"""Candidates that the graph keeps while it is built and searched; more miss fewer neighbours and take longer."""
NUM_SAMPLED = 200
NUM_COMPARED = 10
"""Of so many vectors, so many nearest ones are compared with those of an exact search."""


def require() -> None:
    """Return if faiss is installed.

    Raises:
        ConfigError: it is not.
    """
    if importlib.util.find_spec("faiss") is None:
        remedy = "Install it with `pip install -e .[remote]`."
        raise ConfigError("index", "embeddings", f"need the library faiss-cpu, which is not installed. {remedy}")


def make(parts: Iterable[np.ndarray], width: int, num_vectors: int, exact_up_to: int) -> "faiss.Index":
    """An index of inner products over vectors of length 1, which are cosines.

    Args:
        parts: float32, in order; one in memory at a time beside the index itself.
        width: their columns.
        num_vectors: of all parts.
        exact_up_to: most vectors that are searched one by one.
    """
    import faiss

    made = faiss.IndexFlatIP(width) if num_vectors <= exact_up_to else _graph(width)
    for part in parts:
        made.add(part)
    return made


def _graph(width: int) -> "faiss.Index":
    import faiss

    made = faiss.IndexHNSWFlat(width, NUM_LINKS, faiss.METRIC_INNER_PRODUCT)
    made.hnsw.efConstruction, made.hnsw.efSearch = BUILD_BREADTH, SEARCH_BREADTH
    return made


def save(made: "faiss.Index", path: Path) -> None:
    """Write a file that is either whole or not there."""
    import faiss

    partial = path.with_name(path.name + ".tmp")
    faiss.write_index(made, str(partial))
    os.replace(partial, path)


def load(path: Path) -> "faiss.Index":
    """What `save` wrote; the manifest's checksum vouches for it."""
    import faiss

    return faiss.read_index(str(path))


def search(made: "faiss.Index", queries: np.ndarray, num_nearest: int) -> list[list[tuple[float, int]]]:
    """Cosine and row of the nearest vectors of each query, the nearest first."""
    cosines, rows = made.search(queries, min(num_nearest, made.ntotal))
    return [
        [(cosine, row) for cosine, row in zip(*found, strict=True) if row >= 0]
        for found in zip(cosines.tolist(), rows.tolist(), strict=True)
    ]


def recall(made: "faiss.Index", seed: int) -> float:
    """Share of the exactly nearest vectors that a search finds, over a draw of the vectors themselves, 0-1."""
    exact = _storage(made)
    drawn = np.random.default_rng(seed).choice(made.ntotal, min(NUM_SAMPLED, made.ntotal), replace=False)
    queries = exact.reconstruct_batch(drawn)
    pairs = zip(search(made, queries, NUM_COMPARED), search(exact, queries, NUM_COMPARED), strict=True)
    shares = [len(_rows(found) & _rows(true)) / len(true) for found, true in pairs]
    return sum(shares) / len(shares)


def _storage(made: "faiss.Index") -> Any:
    import faiss

    return faiss.downcast_index(made.storage) if isinstance(made, faiss.IndexHNSW) else made


def _rows(found: list[tuple[float, int]]) -> set[int]:
    return {row for _, row in found}
