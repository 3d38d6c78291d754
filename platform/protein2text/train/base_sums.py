"""Are the base weights those that a run was begun with? A sum that takes a fraction of a second at any size."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from protein2text.models.model_folder import base_files
from protein2text.models.sources import local_source

NUM_BLOCKS = 128
BLOCK_BYTES = 128 * 2**10
"""A file that is larger than all blocks together is read at so many places, evenly from its first byte to its last:
weights that were trained on differ at nearly all of them, though a damaged bit may lie between two."""


def base_sum(source: str) -> str | None:
    """SHA-256 of the names, sizes and blocks of a base's files.

    Returns:
        None for a hub id, which its revision pins.

    Raises:
        MissingWeights: a local source that is not there.
    """
    path = local_source(source)
    if path is None:
        return None
    digest = hashlib.sha256()
    for file in base_files(path):
        size = file.stat().st_size
        digest.update(f"{file.name}\n{size}\n".encode())
        for block in _blocks(file, size):
            digest.update(block)
    return digest.hexdigest()


def _blocks(path: Path, size: int) -> Iterator[bytes]:
    if size <= NUM_BLOCKS * BLOCK_BYTES:
        yield path.read_bytes()
        return
    with path.open("rb") as file:
        for number in range(NUM_BLOCKS):
            file.seek((size - BLOCK_BYTES) * number // (NUM_BLOCKS - 1))
            yield file.read(BLOCK_BYTES)
