"""`neighbours.index_folder`: every byte is vouched for, rows are found, and a sequence leads back to all its names."""

import hashlib
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from protein2text.data import mmseqs
from protein2text.errors import ConfigError, CorruptCheckpoint, MissingFile
from protein2text.neighbours.entries import Characterised, from_table, to_table
from protein2text.neighbours.entry_writer import EntryWriter
from protein2text.neighbours.facts import FACT_KINDS, Fact
from protein2text.neighbours.index_folder import INDEX_VERSION, MANIFEST, NeighbourIndex, manifest_checksum
from tests.neighbours.made_index import entry, make_index, residues

RNG = random.Random(5)
FULL = Fact("ligand", "ATP", "CHEBI:30616", ("ECO:0000269", "ECO:0000255"), ("1", "23"), 4, 9, "Isoform 2")
SEQUENCES = [residues(RNG, length) for length in (30, 61, 62, 200)]
ENTRIES = [
    entry("P1", SEQUENCES[0], FULL, Fact("function", "Binds “ATP”; é.")),
    entry("P2", SEQUENCES[1], *(Fact(kind, "x") for kind in FACT_KINDS)),
    entry("Q7-2", SEQUENCES[0], Fact("ec", "1.1.1.-")),
    entry("P3", SEQUENCES[2], Fact("family", "A")),
    entry("P4", SEQUENCES[0], Fact("location", "Nucleus")),
    entry("P5", SEQUENCES[3], Fact("name", "N"), Fact("cofactor", "Zn(2+)")),
]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> NeighbourIndex:
    return make_index(tmp_path_factory.mktemp("index"), ENTRIES)


@pytest.mark.parametrize("rows", [[], [0], [5, 0], [1, 1, 3], [0, 1, 2, 3, 4, 5]])
def test_entries_come_back_from_arrow_as_they_were(rows: list[int]) -> None:
    none_stated = Characterised("X", None, None, "MK", "c", None, None, None, "s", ())
    entries = [*ENTRIES[:5], none_stated]
    assert from_table(to_table(entries).take(pa.array(rows, pa.int64()))) == [entries[row] for row in rows]
    assert from_table(to_table(entries).slice(2, 3)) == entries[2:5]


def test_entries_are_found_by_accession_in_the_order_asked_for(index: NeighbourIndex) -> None:
    found = index.entries(["P5", "nobody", "P1", "P5"])
    assert list(found) == ["P5", "P1"]
    assert found["P1"] == ENTRIES[0]
    assert list(index.stream()) == ENTRIES
    assert index.sequences() == {one.accession: one.sequence for one in ENTRIES}
    assert ("P3" in index, "P33" in index, index.num_entries, index.release) == (True, False, 6, "2026_01")


def test_a_sequence_leads_back_to_every_accession_that_has_it(index: NeighbourIndex) -> None:
    queries = list(dict.fromkeys(SEQUENCES))
    for query, found in zip(queries, mmseqs.search_database(queries, index.database, 10), strict=True):
        assert found[0].identity == 1
        expected = tuple(one.accession for one in ENTRIES if one.sequence == query)
        assert index.accessions_of(found[0].target) == expected
    assert index.manifest["counts"]["sequences"] == len(queries)


def test_rows_of_several_parts_and_row_groups_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EntryWriter.__init__, "__defaults__", (20_000,))
    rng = random.Random(1)
    entries = [entry(f"A{n:04}", residues(rng, 40), Fact("function", f"Does {n}.")) for n in range(1500)]
    index = make_index(tmp_path, entries)
    assert len(index.manifest["parts"]) > 3
    by_name = {one.accession: one for one in entries}
    for size in (1, 7, 700):
        wanted = rng.sample(sorted(by_name), size)
        assert index.entries(wanted) == {name: by_name[name] for name in wanted}


def test_no_byte_can_change_unnoticed(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    make_index(folder, ENTRIES)
    manifest = json.loads((folder / MANIFEST).read_text())
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert {path.relative_to(folder).as_posix() for path in files} == {*manifest["checksums"], MANIFEST}
    rng = random.Random(2)
    for path in files:
        whole = path.read_bytes()
        drawn = rng.choices(range(len(whole)), k=20 if path.name == MANIFEST else 3)
        for place in {0, len(whole) - 1, *drawn}:
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << rng.randrange(7)]) + whole[place + 1 :])
            if path.name == MANIFEST and says_the_same(path, manifest):
                continue
            with pytest.raises((CorruptCheckpoint, ConfigError), match="again"):
                NeighbourIndex.open(folder)
        path.write_bytes(whole[:-3])
        with pytest.raises(CorruptCheckpoint, match=path.name):
            NeighbourIndex.open(folder)
        path.write_bytes(whole)
    NeighbourIndex.open(folder)


def says_the_same(path: Path, manifest: Any) -> bool:
    """Only white space changed."""
    try:
        return bool(json.loads(path.read_text()) == manifest)
    except ValueError:
        return False


def test_what_is_missing_or_of_another_version_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="to its end"):
        NeighbourIndex.open(tmp_path / "none")
    index = make_index(tmp_path / "index", ENTRIES)
    index.calibration_path.unlink()
    with pytest.raises(CorruptCheckpoint, match=r"calibration\.json: it is missing"):
        NeighbourIndex.open(index.folder)
    later = {**index.manifest, "version": INDEX_VERSION + 1}
    (index.folder / MANIFEST).write_text(json.dumps({**later, "checksum": manifest_checksum(later)}))
    with pytest.raises(ConfigError, match=f"version {INDEX_VERSION + 1} where this program reads {INDEX_VERSION}"):
        NeighbourIndex.open(index.folder)


def test_identity_names_the_manifest(index: NeighbourIndex) -> None:
    digest = hashlib.sha256((index.folder / MANIFEST).read_bytes()).hexdigest()
    assert index.identity == {"name": index.folder.name, "manifest_sha256": digest}


def test_opening_an_index_loads_neither_torch_nor_ray() -> None:
    code = "import sys, protein2text.neighbours.index_folder; print({'torch', 'ray'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
