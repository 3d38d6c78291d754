"""What grounds a Yes: enzyme classes, terms, ligands and the heads of names; no word that merely occurs."""

import csv
from pathlib import Path

import pytest

from protein2text.neighbours.closed import mentions, says
from protein2text.neighbours.facts import Fact
from tests.neighbours.in_process import build_in_process


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("name", "Hexokinase-1", "kinase"),
        ("name", "Tyrosine-protein kinase ABL1", "kinase"),
        ("name", "Tyrosine-protein kinase Fgr", "kinase"),
        ("name", "Nucleoside diphosphate kinase D, mitochondrial", "kinase"),
        ("name", "Creatine kinase B-type", "kinase"),
        ("name", "Cyclin-dependent kinase inhibitor 1", "kinase inhibitor"),
        ("name", "Heat shock protein HSP 90-alpha", "heat shock protein"),
        ("ec", "2.7.11.1", "kinase"),
        ("ec", "2.7.10.2", "protein kinase"),
        ("ec", "3.4.21.4", "protease"),
        ("ec", "3.1.3.48", "phosphatase"),
        ("reaction", "ATP + H2O = ADP + phosphate", "enzyme"),
        ("molecular_function", "protein serine/threonine kinase activity", "kinase"),
        ("molecular_function", "serine-type endopeptidase activity", "protease"),
        ("molecular_function", "oxidoreductase activity, acting on NAD(P)H", "oxidoreductase"),
        ("family", "Protein kinase superfamily. Ser/Thr protein kinase family", "kinase"),
        ("family", "ABC transporter superfamily. ABCG family", "ABC transporter"),
    ],
)
def test_what_it_is(kind: str, text: str, value: str) -> None:
    assert says(Fact(kind, text), value, "is")


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("function", "Is a kinase.", "kinase"),
        ("function", "Stimulates B-cells by activating a protein kinase.", "kinase"),
        ("function", "Catalytically inactive kinase-like protein.", "kinase"),
        ("name", "A-kinase anchor protein 8", "kinase"),
        ("name", "Cyclin-dependent kinase inhibitor 1", "kinase"),
        ("name", "CYCLIN-DEPENDENT KINASE INHIBITOR", "kinase"),
        ("name", "MAP kinase phosphatase 3", "kinase"),
        ("name", "Cyclin-dependent kinase 2-associated protein 1", "kinase"),
        ("name", "TYRO protein tyrosine kinase-binding protein", "kinase"),
        ("name", "TANK-binding kinase 1-binding protein 1", "kinase"),
        ("name", "Protein kinase C-interacting protein", "kinase"),
        ("name", "Protein kinase C substrate 80K-H", "kinase"),
        ("name", "Serine/threonine-protein kinase-like protein", "kinase"),
        ("name", "Inactive tyrosine-protein kinase 7", "kinase"),
        ("name", "Pseudokinase FAM20A", "kinase"),
        ("name", "Inhibitor of cyclin-dependent kinase 4", "kinase"),
        ("name", "Phosphatidylinositol 3-kinase regulatory subunit alpha", "kinase"),
        ("name", "Urokinase-type plasminogen activator", "kinase"),
        ("name", "Gamma-secretase-activating protein", "protease"),
        ("name", "Gamma-secretase-activating protein", "secretase"),
        ("name", "Antiprotease 1", "protease"),
        ("ec", "3.1.3.48", "kinase"),
        ("ec", "2.7.7.6", "kinase"),
        ("ec", "2.7.-.-", "kinase"),
        ("reaction", "ATP + L-seryl-[protein kinase] = ADP + O-phospho-L-seryl-[protein kinase]", "kinase"),
        ("molecular_function", "protein kinase binding", "kinase"),
        ("molecular_function", "protein kinase inhibitor activity", "kinase"),
        ("molecular_function", "MAP kinase tyrosine/serine/threonine phosphatase activity", "kinase"),
        ("family", "Protein kinase inhibitor family", "kinase"),
    ],
)
def test_what_it_is_not_said_to_be(kind: str, text: str, value: str) -> None:
    assert not says(Fact(kind, text), value, "is")


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("cofactor", "Zn(2+)", "zinc"),
        ("ligand", "ATP", "ATP"),
        ("molecular_function", "ATP binding", "ATP"),
        ("molecular_function", "zinc ion binding", "Zn(2+)"),
        ("molecular_function", "sequence-specific DNA binding", "DNA"),
        ("molecular_function", "DNA binding, bending", "DNA"),
    ],
)
def test_what_it_binds(kind: str, text: str, value: str) -> None:
    assert says(Fact(kind, text), value, "binds")


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("function", "Binds ATP.", "ATP"),
        ("function", "Acts as an ATP-independent chaperone.", "ATP"),
        ("function", "Might bind zinc.", "zinc"),
        ("ligand", "ATP-independent", "ATP"),
        ("ligand", "Unlikely to bind ATP", "ATP"),
        ("cofactor", "Might bind zinc", "zinc"),
        ("cofactor", "Does not bind zinc", "zinc"),
        ("molecular_function", "ATP-dependent protein binding", "ATP"),
        ("molecular_function", "ATP hydrolysis activity", "ATP"),
        ("molecular_function", "ATPase binding", "ATP"),
        ("molecular_function", "DNA polymerase binding", "DNA"),
        ("molecular_function", "insulin receptor binding", "insulin"),
    ],
)
def test_what_it_is_not_said_to_bind(kind: str, text: str, value: str) -> None:
    assert not says(Fact(kind, text), value, "binds")


def test_a_mention_is_any_occurrence() -> None:
    assert mentions(Fact("function", "Stimulates a protein kinase."), "kinase")
    assert mentions(Fact("function", "An ATP-independent chaperone."), "ATP")
    assert mentions(Fact("function", "Needs Zn(2+)."), "zinc")
    assert mentions(Fact("function", "Activates hexokinase."), "kinase")
    assert not mentions(Fact("function", "Cuts cellulose."), "kinase")


def test_the_kinases_of_a_real_file(real_data: Path, tmp_path: Path) -> None:
    """Those that the names or EC numbers of the table show to be kinases, read one by one, and no others."""
    table = real_data / "uniprot" / "human_function.tsv"
    index = build_in_process([table], tmp_path / "index")
    entries = index.entries(list(index.sequences()))
    kinds = ("name", "ec", "reaction", "molecular_function", "family")
    called = {
        accession
        for accession, entry in entries.items()
        if any(fact.kind in kinds and says(fact, "kinase", "is") for fact in entry.facts)
    }
    assert " ".join(sorted(called)) == (
        "O00329 O00444 O00506 O00746 O14757 O15111 O60307 O75191 O76039 O94768 O95544 O95835 "
        "P00519 P04626 P08922 P09769"
    )
    with table.open(newline="") as file:
        prose = {row["Entry"] for row in csv.DictReader(file, delimiter="\t") if "kinase" in str(row).casefold()}
    assert called < prose
