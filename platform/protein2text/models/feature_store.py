"""Residue states on disk, by protein: shards that many processes read, add and evict at once, every byte under a sum.

    FOLDER/<encoding>/encoding.json            which encoder, reading and precision the states come from
                      <digest>.safetensors     a shard: states of some proteins by sequence checksum; never changed
                      .partial-*               a shard on its way
           .lock                               held while a shard comes in, so that the bound holds for all

A shard's name is the digest of its header, and its header holds a sum of each protein's states: so damage anywhere is
found, and the shard is dropped; one that merely cannot be opened is left. Shards rather than a file per protein,
because the file system of a cluster bears thousands of large files better than millions of small ones; immutable ones,
because then a reader needs no lock, a
killed writer leaves nothing but a partial, and making room is to remove whole files, the longest unused first. What was
used in the last hour stays: a run whose features do not fit keeps those it has, rather than to evict each just before
it comes back. No database: the headers are the index, 100 bytes a protein.
"""

import fcntl
import hashlib
import json
import logging
import os
import time
import uuid
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save
from torch import Tensor

logger = logging.getLogger(__name__)

SHARD_BYTES = 64 * 2**20
"""About what a shard holds; a longer protein has one of its own."""
IN_USE_S = 3600
"""A shard that was used within this time is not evicted."""
TOUCHED_EVERY_S = 600
LOOKED_EVERY_S = 1.0
"""A process looks for shards of others at most so often."""
SUFFIX, PARTIAL, LOCK, ENCODING = ".safetensors", ".partial-", ".lock", "encoding.json"
_DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
_LENGTH_BYTES = 8
"""A safetensors file begins with its header's length, little-endian."""


class Place(NamedTuple):
    """Where a protein's states lie."""

    shard: Path
    offset: int
    num_bytes: int
    dtype: torch.dtype
    shape: tuple[int, ...]
    crc32: int


def checksum_of(sequence: str) -> str:
    """The key of a protein: hexadecimal SHA-256 of its letters."""
    return hashlib.sha256(sequence.encode()).hexdigest()


class FeatureStore:
    """States of one encoding in a folder that may hold others too, and belong to many processes.

    Args:
        folder: made if it is not there.
        encoding: all that the states depend on beside the sequence, as JSON holds it.
        max_bytes: that shards of all encodings may take together when this process adds one; 0 adds none.
    """

    def __init__(self, folder: Path, encoding: Mapping[str, Any], max_bytes: int) -> None:
        text = json.dumps(encoding, indent=1, sort_keys=True)
        self.root, self.max_bytes = folder, max_bytes
        self.folder = folder / hashlib.sha256(text.encode()).hexdigest()[:16]
        self._places: dict[str, Place] = {}
        self._seen: set[str] = set()
        self._touched: dict[Path, float] = {}
        self._told_unreadable = False
        self._looked = -LOOKED_EVERY_S
        if max_bytes:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / ENCODING).is_file():
                (self.folder / ENCODING).write_text(text)
        self._look()

    def __contains__(self, checksum: str) -> bool:
        return checksum in self._places

    def read(self, checksum: str) -> Tensor | None:
        """A protein's states ``(R, E)`` in host memory; None if not there, unreadable or damaged, which is logged."""
        if checksum not in self._places:
            self._look()
        place = self._places.get(checksum)
        if place is None:
            return None
        data = bytearray(place.num_bytes)
        try:
            with place.shard.open("rb") as file:
                file.seek(place.offset)
                num_read = file.readinto(data)
        except OSError as error:
            self._leave(place.shard, error)
            return None
        if num_read != place.num_bytes or zlib.crc32(data) != place.crc32:
            self._forget(place.shard, f"the states of the protein {checksum[:12]} are damaged")
            return None
        self._touch(place.shard)
        return torch.frombuffer(data, dtype=place.dtype).view(place.shape)

    def add(self, states: Mapping[str, Tensor]) -> bool:
        """Write a shard of proteins' states ``(R, E)`` by checksum, once there is room for it.

        Returns:
            Whether there was: not if all else that would have to go was in use.
        """
        tensors = {name: tensor.cpu().contiguous() for name, tensor in states.items()}
        sums = {name: f"{_crc32(tensor):08x}" for name, tensor in tensors.items()}
        data = save(tensors, metadata=sums)
        if len(data) > self.max_bytes:
            return False
        header = data[: _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")]
        shard = self.folder / f"{hashlib.sha256(header).hexdigest()[:32]}{SUFFIX}"
        partial = self.folder / f"{PARTIAL}{uuid.uuid4().hex}"
        with self._alone():
            if not self._make_room(len(data)):
                return False
            partial.write_bytes(data)
            partial.replace(shard)
        self._take(shard)
        return True

    def keep_in_use(self, checksums: set[str]) -> int:
        """Mark the shards that hold any of these as used now; the bytes that they take."""
        shards = {self._places[checksum].shard for checksum in checksums if checksum in self._places}
        for shard in shards:
            self._touch(shard)
        return sum(_size(shard) for shard in shards)

    def num_bytes_in_use(self) -> int:
        """Of shards of any encoding that were used lately, and so cannot be evicted."""
        return sum(size for used, size, _ in self._shards() if time.time() - used < IN_USE_S)

    def _look(self) -> None:
        """Take up what other processes have added."""
        if time.monotonic() - self._looked < LOOKED_EVERY_S:
            return
        self._looked = time.monotonic()
        names = set(os.listdir(self.folder)) if self.folder.is_dir() else set()
        for name in sorted(names - self._seen):
            if name.endswith(SUFFIX):
                self._take(self.folder / name)

    def _take(self, shard: Path) -> None:
        """Index a shard by its header, once that is found whole."""
        self._seen.add(shard.name)
        try:
            with shard.open("rb") as file:
                length = file.read(_LENGTH_BYTES)
                # a damaged length may be beyond all memory
                header = file.read(min(int.from_bytes(length, "little"), os.fstat(file.fileno()).st_size))
        except OSError as error:
            self._leave(shard, error)
            return
        if shard.stem != hashlib.sha256(length + header).hexdigest()[:32]:
            self._forget(shard, "its header is damaged")
            return
        entries = json.loads(header)
        sums, begin = entries.pop("__metadata__"), len(length + header)
        for name, entry in entries.items():
            first, last = entry["data_offsets"]
            place = (shard, begin + first, last - first, _DTYPES[entry["dtype"]], tuple(entry["shape"]))
            self._places.setdefault(name, Place(*place, int(sums[name], 16)))

    def _forget(self, shard: Path, problem: str | None) -> None:
        """A shard is gone, or damaged: then it is removed, since all that it holds can be made again."""
        self._places = {name: place for name, place in self._places.items() if place.shard != shard}
        if problem:
            logger.warning("%s: %s; the shard is removed, and its proteins are encoded again", shard, problem)
            with suppress(OSError):
                shard.unlink()

    def _leave(self, shard: Path, error: OSError) -> None:
        """A shard was evicted by another process, or cannot be read: out of file descriptors, no permission, a share
        that is away. That says nothing of what it holds, so the file stays; this process does without it."""
        self._forget(shard, None)
        if not self._told_unreadable and not isinstance(error, FileNotFoundError):
            self._told_unreadable = True
            logger.warning(
                "%s: cannot be read: %s; it is left as it is, and this process encodes its proteins again, as it will "
                "those of other shards that cannot be read", shard, error,
            )  # fmt: skip

    def _touch(self, shard: Path) -> None:
        """A shard's time of change says when it was last used."""
        now = time.monotonic()
        if now - self._touched.get(shard, -TOUCHED_EVERY_S) >= TOUCHED_EVERY_S:
            self._touched[shard] = now
            with suppress(OSError):  # gone, or a folder that we may only read
                os.utime(shard)

    def _make_room(self, num_bytes: int) -> bool:
        """Evict the longest unused shards until so many bytes fit under the bound; none, if that would not do."""
        now, shards = time.time(), sorted(self._shards())
        over = sum(size for _, size, _ in shards) + num_bytes - self.max_bytes
        evicted = []
        for used, size, shard in shards:
            if over <= 0 or now - used < IN_USE_S:
                break
            evicted.append(shard)
            over -= size
        if over > 0:
            return False
        for shard in evicted:
            logger.info("%s: evicted, unused for %.1f h", shard, (now - _time(shard)) / 3600)
            shard.unlink(missing_ok=True)
            self._forget(shard, None)
        return True

    def _shards(self) -> Iterator[tuple[float, int, Path]]:
        """Last use, bytes and path of each shard of any encoding; partials of killed writers too."""
        for path in [*self.root.glob(f"*/*{SUFFIX}"), *self.root.glob(f"*/{PARTIAL}*")]:
            with suppress(FileNotFoundError):
                status = path.stat()
                yield status.st_mtime, status.st_size, path

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (self.root / LOCK).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _crc32(tensor: Tensor) -> int:
    return zlib.crc32(tensor.view(torch.uint8).numpy().data)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()
