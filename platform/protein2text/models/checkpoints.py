"""Model folders: safetensors, configuration, and a manifest of SHA-256 sums that is written last.

A folder without a manifest is unfinished; a folder that differs from its manifest in any byte is refused.
"""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from protein2text.errors import CorruptCheckpoint, MissingFile, OtherVersion

MANIFEST = "manifest.json"
MANIFEST_VERSION = 1


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path) -> None:
    """List every file of a folder with its size and sum; written to a temporary name, then renamed."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MANIFEST]
    with ThreadPoolExecutor() as pool:  # hashing releases the GIL
        files = {
            path.relative_to(folder).as_posix(): {"sha256": digest, "bytes": path.stat().st_size}
            for path, digest in zip(paths, pool.map(sha256_of, paths), strict=True)
        }
    temporary = folder / f".{MANIFEST}.partial"
    temporary.write_text(json.dumps({"version": MANIFEST_VERSION, "files": files}, indent=2))
    for name in files:  # safetensors are written for their owner alone, whatever the umask says
        (folder / name).chmod(temporary.stat().st_mode)
    temporary.replace(folder / MANIFEST)


def verify_manifest(folder: Path) -> dict[str, Any]:
    """Check every byte of a folder against its manifest.

    Returns:
        The manifest.

    Raises:
        MissingFile: no such folder.
        CorruptCheckpoint: no manifest, one that cannot be read, or any file missing, added, resized or changed.
        OtherVersion: the manifest is of another version.
    """
    remedy = "Use the previous good checkpoint, or copy this one again from where it was made."
    if not folder.is_dir():
        raise MissingFile(str(folder), "a model folder", "Check the path.")
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
        files = {name: (entry["sha256"], entry["bytes"]) for name, entry in manifest["files"].items()}
        version = manifest["version"]
    except FileNotFoundError:
        problem = "missing, so the folder was never finished"
        if inside := sorted([*folder.glob(f"model/{MANIFEST}"), *folder.glob(f"*/model/{MANIFEST}")]):
            models = " or ".join(str(path.parent) for path in inside)
            problem, remedy = "missing: it is a run's folder, no model's", f"Name {models}."
        raise CorruptCheckpoint(str(folder), MANIFEST, problem, remedy) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptCheckpoint(str(folder), MANIFEST, f"cannot be read ({error})", remedy) from None
    if version != MANIFEST_VERSION:
        raise OtherVersion(str(folder), MANIFEST, f"version {version}, this program reads {MANIFEST_VERSION}", remedy)
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MANIFEST}
    if odd := sorted(present ^ set(files)):
        state = "missing" if odd[0] in files else "not in the manifest"
        raise CorruptCheckpoint(str(folder), odd[0], state, remedy)
    for name, (digest, size) in files.items():
        path = folder / name
        if path.stat().st_size != size:
            raise CorruptCheckpoint(str(folder), name, f"{path.stat().st_size} bytes, the manifest says {size}", remedy)
        if sha256_of(path) != digest:
            raise CorruptCheckpoint(str(folder), name, "its SHA-256 differs from the manifest's", remedy)
    return manifest
