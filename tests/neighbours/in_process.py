"""The steps of a build one after the other, in this process, without Ray."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from protein2text.data.ingest import described, with_sums
from protein2text.data.parsing import cut_sources
from protein2text.neighbours.build import MAX_RESIDUES
from protein2text.neighbours.entry_writer import EntryWriter
from protein2text.neighbours.gather import Gatherer, characterise_pieces
from protein2text.neighbours.index_folder import NeighbourIndex
from protein2text.neighbours.seal import seal


def build_in_process(sources: list[Path], folder: Path, calibration_entries: int = 0) -> NeighbourIndex:
    """What ``build`` makes of the same files."""
    files = [str(path) for path in sources]
    inputs = with_sums(files, described(files))
    writer = EntryWriter(folder / "generation-1")
    gatherer = Gatherer(folder / "generation-1", writer)
    for path, item in zip(files, inputs, strict=True):
        origin = {key: item[key] for key in ("release", "licence") if key in item}
        task = {"path": path, "format": item["format"], "source": item["name"], "origin": json.dumps(origin)}
        for piece in cut_sources(pa.Table.from_pylist([task])):
            gatherer.add(characterise_pieces(piece, max_residues=MAX_RESIDUES))
    settings: dict[str, Any] = {"calibration_entries": calibration_entries, "seed": 0}
    gathered = gatherer.finish()
    manifest = {"generation": "generation-1", "sources": inputs, **settings, **gathered, **writer.finish()}
    seal(folder, writer, manifest, None)
    return NeighbourIndex.open(folder)
