"""The last steps of every build and update: an index's database, its calibration and, last, its manifest."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from protein2text.data import mmseqs
from protein2text.data.records import write_json
from protein2text.neighbours.calibration import calibrate
from protein2text.neighbours.entry_writer import EntryWriter
from protein2text.neighbours.index_folder import (
    INDEX_VERSION,
    MANIFEST,
    NeighbourIndex,
    file_checksum,
    manifest_checksum,
)

Progress = Callable[[dict[str, Any]], None]
"""Called as `reading_progress.Progress` while sources are read, and with a ``message`` at each further step."""


def seal(folder: Path, writer: EntryWriter, manifest: dict[str, Any], progress: Progress | None) -> NeighbourIndex:
    """Make of written entries an index: its database, its calibration and, last, its manifest.

    Args:
        folder: of the index.
        writer: finished, of entries in the manifest's generation.
        manifest: all but version, MMseqs2's version and checksums.
        progress: told what is done.
    """

    def say(message: str) -> None:
        if progress is not None:
            progress({"stage": "index", "message": message})

    index = NeighbourIndex(folder, {"version": INDEX_VERSION, **manifest, "mmseqs": mmseqs.version()})
    say(f"making a database of {index.manifest['counts']['sequences']} sequences")
    mmseqs.create_database(writer.fasta, index.database)
    writer.fasta.unlink()
    say("measuring how often neighbours agree")
    entries, seed = index.manifest["calibration_entries"], index.manifest["seed"]
    calibrate(index, max_entries=entries, seed=seed).save(index.calibration_path)
    files = sorted(path for path in index.data.rglob("*") if path.is_file())
    index.manifest["checksums"] = {path.relative_to(folder).as_posix(): file_checksum(path) for path in files}
    write_manifest(index)
    return index


def write_manifest(index: NeighbourIndex) -> None:
    """Put an index's manifest in the place of what stands there, with its own checksum."""
    index.manifest["checksum"] = manifest_checksum(index.manifest)
    write_json(index.manifest, index.folder / MANIFEST)
