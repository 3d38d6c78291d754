"""JATS articles on disk: a folder of files, or a mirror of PMC's bucket with its metadata."""

import json
import re
import zlib
from pathlib import Path
from typing import Any

from protein2text.data.literature.jats import MAX_BYTES
from protein2text.errors import MissingFile, UnusableRecord

ENDINGS = (".xml", ".nxml", ".jats", ".xml.gz", ".nxml.gz")
_GZIP_MAGIC = b"\x1f\x8b"
_VERSIONED = re.compile(r"(PMC\d+)\.(\d+)\.")


def find_articles(sources: list[str]) -> list[Path]:
    """Files that the sources name; a folder stands for the JATS files in it and below. Later versions come first.

    Raises:
        MissingFile: a source that does not exist, or a folder without JATS files.
    """
    files: list[Path] = []
    for source in sources:
        path = Path(source).resolve()
        found = [path]
        if path.is_dir():
            found = [item for item in path.rglob("*") if item.name.endswith(ENDINGS) and item.is_file()]
        if not found or not found[0].is_file():
            remedy = f"Name JATS files, or a folder of files that end in {', '.join(ENDINGS)}."
            raise MissingFile(str(path), "a source of articles", remedy)
        files += sorted(found, key=_latest_first)
    return list(dict.fromkeys(files))


def _latest_first(path: Path) -> tuple[str, int, str]:
    """``PMC12.2.xml`` before ``PMC12.1.xml``: the second article of the same id is a duplicate."""
    versioned = _VERSIONED.match(path.name)
    return (versioned[1], -int(versioned[2]), str(path)) if versioned else (path.name, 0, str(path))


def read_article(path: Path) -> bytes:
    """A file's bytes, unpacked.

    Raises:
        UnusableRecord: it cannot be read, or is larger than any article.
    """
    try:
        content = path.read_bytes()
        if content.startswith(_GZIP_MAGIC):
            unpacking = zlib.decompressobj(wbits=31)
            content = unpacking.decompress(content, MAX_BYTES + 1)
            if not unpacking.eof and len(content) <= MAX_BYTES:
                raise _refusal("unreadable", path, "a gzip file that breaks off", "a whole file is needed")
    except (OSError, zlib.error) as error:
        raise _refusal("unreadable", path, str(error), "a file that can be read is needed") from None
    return content


def mirrored_metadata(path: Path) -> dict[str, Any] | None:
    """The bucket's metadata where a mirror holds it: ``metadata/PMC1.1.json`` beside ``PMC1.1/PMC1.1.xml``.

    Raises:
        UnusableRecord: it is no JSON object.
    """
    beside = path.parent.parent / "metadata" / f"{path.name.split('.xml')[0]}.json"
    if not beside.is_file():
        return None
    try:
        stated = json.loads(beside.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _refusal("bad_metadata", beside, str(error), "a JSON object is needed") from None
    if not isinstance(stated, dict):
        raise _refusal("bad_metadata", beside, type(stated).__name__, "a JSON object is needed")
    return stated


def _refusal(reason: str, path: Path, value: str, limit: str) -> UnusableRecord:
    return UnusableRecord(reason, path.name, "file", value, limit, "Fetch the file again.")
