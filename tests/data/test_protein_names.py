"""`data.protein_names`: every name of real entries in every format, beside Biopython and ElementTree."""

import gzip
import json
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from Bio import SwissProt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protein2text.data.protein_names import NamedProteins, looks_like_symbol, names_of_cell
from protein2text.errors import ConfigError

SOURCES = (
    "uniprot/human_function.tsv", "uniprot/flatfile/multi_ex.txt", "uniprot/xml/multi_ex.xml",
    "uniprot/rest_entries.json", "qa/microbiome_benchmark.json", "classification/deeploc_test.fasta",
)  # fmt: skip


def read(*sources: object, max_residues: int = 100_000) -> NamedProteins:
    return NamedProteins([str(source) for source in sources], max_residues)


def names(proteins: NamedProteins) -> dict[str, set[str]]:
    return {named.protein.accession: {name.text for name in named.names} for named in proteins}


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("Insulin [Cleaved into: Insulin B chain; Insulin A chain]", ["Insulin"]),
        (
            "Tumor necrosis factor (Cachectin) (TNF-alpha) (Tumor necrosis factor ligand superfamily member 2) (TNF-a) "
            "[Cleaved into: Tumor necrosis factor, membrane form (N-terminal fragment) (NTF)]",
            [
                "Tumor necrosis factor",
                "Cachectin",
                "TNF-alpha",
                "Tumor necrosis factor ligand superfamily member 2",
                "TNF-a",
            ],
        ),
        (
            "Diamine acetyltransferase 1 (EC 2.3.1.57) (Spermidine/spermine N(1)-acetyltransferase 1) (SSAT)",
            ["Diamine acetyltransferase 1", "Spermidine/spermine N(1)-acetyltransferase 1", "SSAT"],
        ),
        ("Superoxide dismutase [Cu-Zn] (EC 1.15.1.1) (Fragment)", ["Superoxide dismutase [Cu-Zn]"]),
        ("tRNA (guanine(9)-N1)-methyltransferase (EC 2.1.1.221)", ["tRNA (guanine(9)-N1)-methyltransferase"]),
        ("(R)-specific enoyl-CoA hydratase (PhaJ)", ["(R)-specific enoyl-CoA hydratase", "PhaJ"]),
        ("", []),
    ],
)
def test_names_of_a_table_cell(cell: str, expected: list[str]) -> None:
    assert names_of_cell(cell) == expected


def test_flat_entries_have_the_names_that_biopython_reads(real_data: Path) -> None:
    for path in sorted((real_data / "uniprot" / "flatfile").iterdir()):
        found = names(read(path))
        with path.open() as stream:
            entries = list(SwissProt.parse(stream))  # type: ignore[no-untyped-call]
        assert set(found) == {entry.accessions[0] for entry in entries}
        for entry in entries:
            genes: set[str] = set()
            if isinstance(entry.gene_name, list):
                for gene in entry.gene_name:
                    for value in gene.values():
                        genes |= {value.split(" {")[0]} if isinstance(value, str) else {v.split(" {")[0] for v in value}
            assert genes <= found[entry.accessions[0]]


def test_xml_entries_have_all_their_names(real_data: Path) -> None:
    number = 0
    for path in sorted((real_data / "uniprot" / "xml").iterdir()):
        found = names(read(path))
        for entry in ElementTree.parse(path).getroot().iterfind("{*}entry"):
            wanted = {node.text for node in entry.iterfind("{*}gene/{*}name")}
            for kind in ("recommendedName", "alternativeName", "submittedName"):
                wanted |= {node.text for node in entry.iterfind(f"{{*}}protein/{{*}}{kind}/{{*}}fullName")}
                wanted |= {node.text for node in entry.iterfind(f"{{*}}protein/{{*}}{kind}/{{*}}shortName")}
            if entry.findtext("{*}sequence"):
                assert found[entry.findtext("{*}accession") or ""] >= wanted
                number += 1
    assert number > 10


def test_tables_json_and_questions_have_names(real_data: Path) -> None:
    table = read(real_data / "uniprot" / "human_function.tsv")
    assert len(table) == 500
    found = names(table)
    assert {"Protein FAM170A", "Zinc finger domain-containing protein", "FAM170A", "ZNFD"} <= found["A1A519"]
    assert all(found.values())
    entries = json.loads((real_data / "uniprot" / "rest_entries.json").read_text())
    listed = entries["results"] if isinstance(entries, dict) else entries
    rest = names(read(real_data / "uniprot" / "rest_entries.json"))
    for entry in listed:
        wanted = _all_values(entry["proteinDescription"].get("recommendedName", {}), entry.get("genes", []))
        assert rest[entry["primaryAccession"]] >= wanted
    assert len(read(real_data / "qa" / "microbiome_benchmark.json")) == len(
        {row["id"] for row in json.loads((real_data / "qa" / "microbiome_benchmark.json").read_text())}
    )


def _all_values(*trees: Any) -> set[str]:
    """Every ``value`` under full names, short names and genes."""
    values: set[str] = set()
    for tree in trees:
        if isinstance(tree, list):
            values |= _all_values(*tree)
        elif isinstance(tree, dict):
            values |= {tree["value"]} if "value" in tree else set()
            values |= _all_values(*(item for key, item in tree.items() if key not in ("evidences", "ecNumbers")))
    return values


def test_fasta_titles_of_uniprot_name_protein_gene_and_organism(tmp_path: Path) -> None:
    (tmp_path / "a.fasta").write_text(
        ">sp|P01308|INS_HUMAN Insulin OS=Homo sapiens OX=9606 GN=INS PE=1 SV=1\nMALW\nMRLL\n>mine a note of mine\nMKV\n"
    )
    first, second = read(tmp_path / "a.fasta")
    assert [name.text for name in first.names] == ["Insulin", "INS"]
    assert (first.organism, first.protein.sequence) == ("Homo sapiens", "MALWMRLL")
    assert (second.protein.accession, second.names, second.organism) == ("mine", (), None)


def test_what_cannot_be_read_is_refused_and_the_rest_is_kept(tmp_path: Path) -> None:
    rows = [
        "P1\tInsulin\tINS\tMKV",
        "P2\tGlucagon\tGCG\tMK5",
        "P3\ttoo few",
        "P4\tLong\tLNG\t" + "A" * 30,
        "P1\tOther\tX\tMKVA",
    ]
    path = tmp_path / "a.tsv.gz"
    path.write_bytes(gzip.compress(("Entry\tProtein names\tGene Names\tSequence\n" + "\n".join(rows) + "\n").encode()))
    proteins = read(path, max_residues=20)
    assert names(proteins) == {"P1": {"Insulin", "INS"}}
    assert [row["reason"] for row in proteins.refused] == [
        "protein_invalid_residue", "protein_unreadable", "protein_too_long", "protein_two_sequences",
    ]  # fmt: skip
    assert all(row["source"] == "a.tsv.gz" and row["place"] and row["message"] for row in proteins.refused)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 10**6), junk=st.binary(max_size=60), source=st.sampled_from(SOURCES))
def test_damaged_files_cost_entries_never_a_crash(
    real_data: Path, tmp_path: Path, cut: int, junk: bytes, source: str
) -> None:
    data = (real_data / source).read_bytes()[:60_000]
    place = cut % len(data)
    path = tmp_path / "damaged"
    path.write_bytes(data[:place] + junk + data[place + len(junk) :])
    with suppress(ConfigError):  # what is in no known format at all
        proteins = read(path)
        assert all(named.protein.accession and named.protein.sequence for named in proteins)
        assert all(row["reason"].startswith("protein_") and row["message"] for row in proteins.refused)
        assert len(proteins) + len(proteins.refused) > 0


def test_names_of_one_protein_in_several_sources_are_joined(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("Entry\tProtein names\tSequence\nP01308\tInsulin\tMALW\n")
    (tmp_path / "b.fasta").write_text(">sp|P01308|INS_HUMAN Insulin OS=Homo sapiens OX=9606 GN=INS PE=1 SV=1\nMALW\n")
    (one,) = read(tmp_path / "a.tsv", tmp_path / "b.fasta")
    assert [name.text for name in one.names] == ["Insulin", "INS"]
    assert one.organism == "Homo sapiens"


def test_a_corpus_gives_the_names_that_ingest_kept(tmp_path: Path, make_corpus: Any, described: Any) -> None:
    provenance = json.dumps({"name": "Insulin (Proinsulin)", "organism": "Homo sapiens (Human)"})
    title = json.dumps({"title": "sp|P2|G Glucagon OS=Homo sapiens OX=9606 GN=GCG PE=1 SV=1"})
    records = [{**described("P1", "MKV"), "provenance": provenance}, {**described("P2", "MKVA"), "provenance": title}]
    corpus = make_corpus(records)
    assert names(read(corpus)) == {"P1": {"Insulin", "Proinsulin"}, "P2": {"Glucagon", "GCG"}}


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("TNF-alpha", True),
        ("p53", True),
        ("Insulin", False),
        ("Growth hormone 2", False),
        ("CD5", True),
        ("recA", True),
    ],
)
def test_symbols_are_told_by_their_shape(name: str, symbol: bool) -> None:
    assert looks_like_symbol(name) is symbol
