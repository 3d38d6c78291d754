"""Where raw data comes from: local files and any store that fsspec reaches, unpacked and as UTF-8, piece by piece.

Nothing here holds a whole file, so that a file of any size, or one that unpacks without end, costs no memory.
"""

import codecs
import hashlib
import json
import logging
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from protein2text.errors import ConfigError, MissingFile, ProteinToTextError, ServiceError, shortened

logger = logging.getLogger(__name__)

ORIGIN_SUFFIX = ".origin.json"
"""Ending of the file that says where a downloaded table beside it came from; it is no source itself."""
CHUNK_BYTES = 1 << 20
MAX_RATIO = 100
"""Unpacked bytes per packed byte, above which a gzip file is a bomb: UniProt's files reach 10, deflate can reach 1,032.
A bomb below it is only a large file: it is read in a stream and fills no memory."""
RATIO_FROM_BYTES = 64 * 2**20
"""Unpacked bytes from which on the ratio is judged: a small table of equal lines may pack as well as a bomb."""
_GZIP_MAGIC = b"\x1f\x8b"
_ARCHIVES = (
    (0, b"PK\x03\x04", "a zip archive", "unzip"),
    (0, b"BZh", "packed with bzip2", "bunzip2"),
    (0, b"\xfd7zXZ\0", "packed with xz", "unxz"),
    (0, b"\x28\xb5\x2f\xfd", "packed with zstd", "unzstd"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", "7z x"),
    (257, b"ustar", "a tar archive", "tar -xf"),
)
"""Place and bytes by which a file of another packing is known, what it is, and what unpacks it."""
_SLICE = 1 << 14
"""Packed bytes unpacked at a time: 16 MiB at the worst ratio."""
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


CUT_SHORT = "cut_short"
"""Reason of the row that stands for the rest of a file which ends, or cannot be read further, inside of something."""
NOT_WHOLE = ("truncated_gzip", "damaged_gzip", "decompression_bomb", CUT_SHORT)
"""Reasons of rows that stand for the rest of a file, of unknown length."""
_ONCE = (
    "a pipe or a device, which gives its text once, where a source is read for its format, its SHA-256 and its entries"
    "; write the text to a file and name that. Gzipped files are read as they are"
)


class DamagedSource(Exception):
    """The rest of a file cannot be read; what came before stands. Caught where entries are cut, never shown."""

    def __init__(self, reason: str, problem: str) -> None:
        super().__init__(reason, problem)
        self.reason, self.problem = reason, problem


def expand(sources: list[str]) -> list[str]:
    """Absolute paths and URLs of the files that the sources name; a folder stands for its files, in their order.

    Raises:
        MissingFile: a source that does not exist.
        ConfigError: a pipe, a folder without files, a store whose library is not installed, one that workers cannot
            see, or a file named twice.
        ServiceError: a store that cannot be reached.
    """
    files: list[str] = []
    for source in sources:
        found = _remote_files(source) if is_remote(source) else _local_files(source)
        if not found:
            purpose = "a source of proteins"
            raise MissingFile(source, purpose, "Name a UniProt table, JSON, flat file, XML, FASTA or QA JSON file.")
        files += found
    if doubled := [name for name, count in Counter(files).items() if count > 1]:
        raise ConfigError(doubled[0], "source", "is named twice; name every file once")
    return files


def short_names(files: list[str]) -> list[str]:
    """What records call their files: the last part of each path that no other shares."""
    parts = [name.split("/") for name in files]
    names = [own[-1] for own in parts]
    depth = 1
    while len(set(names)) < len(names):
        depth += 1
        taken = Counter(names)
        names = ["/".join(own[-depth:]) if taken[name] > 1 else name for own, name in zip(parts, names, strict=True)]
    return names


def not_whole(refused: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Of rows of quarantine, the sources whose rest could not be read, and why."""
    return [(row["source"], row["message"]) for row in refused if row["reason"] in NOT_WHOLE]


def warn_of(broken: Iterable[tuple[str, str]]) -> None:
    """Tell of each source that is `not_whole`."""
    for source, problem in broken:
        logger.warning("%s was not read to its end: %s", source, problem)


def num_bytes(path: str) -> int:
    """Size of a file as it lies there.

    Raises:
        ConfigError: it cannot be read.
        ServiceError: its store does not answer.
    """
    try:
        with _reaching(path):
            if not is_remote(path):
                return Path(path).stat().st_size
            store, name = store_of(path)
            return int(store.size(name))
    except DamagedSource as damage:
        raise ConfigError(path, "source", damage.problem) from None


def sha256(path: str) -> str:
    """SHA-256 of a file as it lies there.

    Raises:
        ConfigError: it cannot be read.
        ServiceError: its store does not answer.
    """
    digest = hashlib.sha256()
    try:
        for block in _blocks(path, CHUNK_BYTES * 4):
            digest.update(block)
    except DamagedSource as damage:
        raise ConfigError(path, "source", damage.problem) from None
    return digest.hexdigest()


def origin(path: str) -> dict[str, Any]:
    """Release, query and licence of a downloaded table, from the file beside it; empty for other files.

    Raises:
        ConfigError: that file is no JSON object, or its release or licence no text.
    """
    beside = path + ORIGIN_SUFFIX
    if is_remote(path):
        with _reaching(path):
            store, name = store_of(beside)
            written = store.cat_file(name) if store.exists(name) else None
    else:
        written = Path(beside).read_bytes() if Path(beside).is_file() else None
    if written is None:
        return {}
    try:
        stated = json.loads(written)
    except ValueError as error:
        raise ConfigError(beside, "origin", f"is no JSON ({error}); correct it, or remove it") from None
    if not isinstance(stated, dict):
        raise ConfigError(beside, "origin", f"is a {type(stated).__name__}, no object; correct it, or remove it")
    for key in ("release", "licence"):
        if not isinstance(stated.get(key), str | None):
            raise ConfigError(beside, key, f"{shortened(repr(stated[key]))} is no text; write one, or leave it out")
    return stated


def read_chunks(path: str) -> Iterator[bytes]:
    """A file's text as UTF-8, a mebibyte or more at a time, gunzipped, without a byte-order mark.

    UTF-16 is told by its mark and recoded. Where lines end in carriage returns alone, line feeds take their place.
    Bytes that are no text in their encoding are passed on, or become U+FFFD: they cost the entry that holds them.

    Raises:
        DamagedSource: nothing after the last chunk can be read.
        ConfigError: it is packed otherwise than with gzip.
        ServiceError: a store that does not answer.
    """
    blocks = _gathered(_blocks(path, CHUNK_BYTES))
    first = next(blocks, b"")
    chunks = _chained(first, blocks)
    if first.startswith(_GZIP_MAGIC):
        chunks = _gathered(_gunzipped(chunks))
        first = next(chunks, b"")
        chunks = _chained(first, chunks)
    for place, magic, kind, command in _ARCHIVES:
        if first.startswith(magic, place):
            remedy = f"unpack it (`{command} FILE`) and name the text inside"
            raise ConfigError(path, "source", f"is {kind}, and only gzip is unpacked here; {remedy}")
    return _with_line_feeds(_as_utf8(chunks))


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _gunzipped(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Every member of a gzip file, as far as it can be unpacked."""
    member, packed, unpacked = zlib.decompressobj(wbits=31), 0, 0
    for block in blocks:
        for start in range(0, len(block), _SLICE):
            data = block[start : start + _SLICE]
            packed += len(data)
            while data:
                if member.eof:
                    data = data.lstrip(b"\0")  # padding between members
                    member = zlib.decompressobj(wbits=31) if data else member
                    continue
                before = member.copy()  # of the call that meets damage, zlib passes nothing on
                try:
                    text = member.decompress(data)
                except zlib.error as error:
                    yield _until_damage(before, data)
                    raise DamagedSource("damaged_gzip", f"the gzip data are damaged: {error}") from None
                data = member.unused_data
                unpacked += len(text)
                yield text
                if unpacked > max(RATIO_FROM_BYTES, MAX_RATIO * packed):
                    problem = f"{packed} bytes unpack to more than {unpacked}; the limit is {MAX_RATIO} for one"
                    raise DamagedSource("decompression_bomb", problem)
    if not member.eof:
        raise DamagedSource("truncated_gzip", "the gzip file breaks off: it was not copied to its end")


def _until_damage(member: "zlib._Decompress", data: bytes) -> bytes:
    """What unpacks of data that are damaged somewhere, in a member's trailer for instance."""
    text = bytearray()
    with suppress(zlib.error):
        for place in range(len(data)):
            text += member.decompress(data[place : place + 1])
    return bytes(text)


def _gathered(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Chunks of ``CHUNK_BYTES`` and more; what was read before damage is passed on first."""
    waiting = bytearray()
    try:
        for part in parts:
            if not waiting and len(part) >= CHUNK_BYTES:
                yield part
                continue
            waiting += part
            if len(waiting) >= CHUNK_BYTES:
                yield bytes(waiting)
                waiting.clear()
    except DamagedSource:
        if waiting:
            yield bytes(waiting)
        raise
    if waiting:
        yield bytes(waiting)


def _as_utf8(chunks: Iterator[bytes]) -> Iterator[bytes]:
    first = next(chunks, b"")
    if first.startswith(_UTF16) and not first.startswith(codecs.BOM_UTF32_LE):
        decoder = codecs.getincrementaldecoder("utf-16")(errors="replace")
        for chunk in _chained(first, chunks):
            yield decoder.decode(chunk).encode()
        yield decoder.decode(b"", final=True).encode()
    else:
        yield from _chained(first.removeprefix(codecs.BOM_UTF8), chunks)


def _with_line_feeds(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The text, with line feeds in a file of which the first piece ends its lines as old Macs did."""
    first = next(chunks, b"")
    is_old_mac = b"\r" in first and b"\n" not in first
    for chunk in _chained(first, chunks):
        yield chunk.replace(b"\r", b"\n") if is_old_mac else chunk


def _blocks(path: str, size: int) -> Iterator[bytes]:
    """A file's own bytes."""
    with _reaching(path), _open(path) as file:
        while block := file.read(size):
            yield block


def _open(path: str) -> BinaryIO:
    if not is_remote(path):
        return open(path, "rb")
    store, name = store_of(path)
    return cast(BinaryIO, store.open(name, "rb"))


@contextmanager
def _reaching(path: str) -> Iterator[None]:
    """Name the file, or its store, in whatever goes wrong with it."""
    try:
        yield
    except (ProteinToTextError, DamagedSource):
        raise
    except OSError as error:
        if is_remote(path):
            raise unreachable(path, error) from error
        raise DamagedSource(CUT_SHORT, f"the file cannot be read further: {error}") from error
    except Exception as error:  # each store has errors of its own
        if is_remote(path):
            raise unreachable(path, error) from error
        raise


def unreachable(path: str, error: BaseException) -> ServiceError:
    """What a store's own error is to the user."""
    remedy = "Check the address, the network, and this store's credentials in the environment"
    return ServiceError(path, f"{type(error).__name__}: {error}".rstrip("."), f"{remedy}.")


def is_remote(path: str) -> bool:
    """Whether it is a URL, not a path of this machine."""
    return "://" in path


def store_of(url: str, key: str = "source") -> tuple[Any, str]:
    """The file system of a URL or path, and the name of the file there.

    Args:
        url: where.
        key: what the user gave it as, for an error.

    Raises:
        ConfigError: its library is not installed, or nobody knows its protocol.
    """
    import fsspec

    protocol = url.split("://", 1)[0]
    try:
        store, name = fsspec.core.url_to_fs(url)
    except ImportError as error:
        remedy = "Install it with `pip install -e .[cloud]`"
        raise ConfigError(url, key, f"{protocol}:// needs a library: {error}. {remedy}.") from error
    except ValueError as error:
        raise ConfigError(url, key, f"{error}; known are s3://, gs://, https:// and fsspec's others") from None
    return store, name


def _local_files(source: str) -> list[str]:
    try:
        path = Path(source).resolve()
    except (OSError, RuntimeError) as error:  # links that lead to themselves
        raise ConfigError(source, "source", f"cannot be followed: {error}") from None
    if path.is_dir():
        return [str(path / name) for name in _files_among(source, {i.name: i.is_file() for i in path.iterdir()})]
    if path.is_file():
        return [str(path)]
    if source == "-" or Path(source).exists():  # not the resolved path: that of a pipe leads nowhere
        raise ConfigError(source, "source", f"is {_ONCE}")
    return []


def _files_among(source: str, held: dict[str, bool]) -> list[str]:
    """Names of the files that a folder offers as sources; a warning tells what else lies there.

    Args:
        source: the folder.
        held: the name of everything that lies in it, and whether that is a file.
    """
    if made := [name for name in ("card.json", "split.json") if held.get(name)]:
        message = f"holds {made[0]}, so this program wrote it: it is no source. Name the files that it was made of"
        raise ConfigError(source, "source", message)
    others = sorted(name for name, is_file in held.items() if not is_file)
    shown = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
    files = sorted(name for name, is_file in held.items() if is_file and not name.endswith(ORIGIN_SUFFIX))
    if not files:
        inside = f", but with {shown}; name one of those" if others else "; name the files"
        raise ConfigError(source, "source", f"is a folder without files{inside}, or the folder that holds them")
    if others:
        logger.warning("%s: passed over %d folders or links that lead nowhere: %s", source, len(others), shown)
    return files


def _remote_files(source: str) -> list[str]:
    if source.startswith("memory://"):
        raise ConfigError(source, "source", "lives in this process only, where no worker sees it; write it to a file")
    with _reaching(source):
        store, name = store_of(source)
        try:
            kind = store.info(name)["type"]  # not isfile(), to which a store that does not answer is a missing file
        except FileNotFoundError as error:
            cause = error.__cause__  # fsspec's web store calls everything that goes wrong a missing file
            refused = isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError)
            if cause and (refused or getattr(cause, "status", 404) != 404):
                raise unreachable(source, cause) from error
            return []
        if kind == "file":
            return [source]
        items = {item["name"].rsplit("/", 1)[-1]: item for item in store.ls(name, detail=True)}
        items.pop("", None)  # the empty object by which a console marks a folder
        chosen = _files_among(source, {own: item["type"] == "file" for own, item in items.items()})
        return [store.unstrip_protocol(items[own]["name"]) for own in chosen]
