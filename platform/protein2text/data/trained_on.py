"""Which proteins a model was trained on, kept beside its weights, so that an evaluation can say what it has seen."""

from collections.abc import Iterable
from pathlib import Path

from protein2text.errors import CorruptCheckpoint

TRAINED_ON = "trained_on.bin"
"""In a model folder: the first ``KEY_BYTES`` bytes of each training sequence's SHA-256, sorted."""
KEY_BYTES = 8
"""Of a million sequences two have a key in common once in 37 million times."""


def write_trained_on(folder: Path, checksums: Iterable[str], earlier: Path | None) -> None:
    """Record training sequences by their checksums, and those of the model that training began with."""
    keys = {bytes.fromhex(checksum)[:KEY_BYTES] for checksum in checksums}
    keys |= (read_trained_on(earlier) or frozenset()) if earlier is not None else frozenset()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TRAINED_ON).write_bytes(b"".join(sorted(keys)))


def read_trained_on(folder: Path) -> frozenset[bytes] | None:
    """Keys of the sequences that a model was trained on, None where its folder does not say.

    Raises:
        CorruptCheckpoint: the file was cut.
    """
    path = folder / TRAINED_ON
    if not path.is_file():
        return None
    content = path.read_bytes()
    if len(content) % KEY_BYTES:
        problem = f"{len(content)} bytes are no whole number of keys"
        raise CorruptCheckpoint(str(folder), TRAINED_ON, problem, "Copy the model again.")
    return frozenset(content[place : place + KEY_BYTES] for place in range(0, len(content), KEY_BYTES))


def is_in(checksum: str, trained_on: frozenset[bytes]) -> bool:
    """Whether a sequence is among them."""
    return bytes.fromhex(checksum)[:KEY_BYTES] in trained_on
