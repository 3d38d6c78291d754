"""What grounds a Yes: enzyme classes, terms, ligands and the heads of names; no word that merely occurs."""

import csv
from pathlib import Path

import pytest

from protein2text.neighbours.closed import denial, mentions, says
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


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("location", "Mitochondrion matrix", "mitochondria"),
        ("location", "Lysosome", "lysosomes"),
        ("location", "Cell membrane", "plasma membrane"),
        ("location", "Single-pass type II membrane protein", "transmembrane"),
        ("cellular_component", "periplasmic space", "periplasm"),
        ("biological_process", "glycolytic process", "glycolysis"),
        ("biological_process", "positive regulation of DNA-templated transcription", "regulation of transcription"),
        ("molecular_function", "GTP hydrolysis activity", "GTPase"),
        ("family", "Short-chain dehydrogenases/reductases (SDR) family", "short-chain dehydrogenases"),
        ("domain", "Zinc finger C2H2-type", "zinc finger"),
    ],
)
def test_what_it_is_said_to_have(kind: str, text: str, value: str) -> None:
    assert says(Fact(kind, text), value)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("location", "Peripheral membrane protein", "transmembrane"),
        ("location", "Nucleolus", "nucleus"),
        ("domain", "RA domain", "RAS"),
        ("biological_process", "glycolytic process", "lysis"),
    ],
)
def test_what_it_is_not_said_to_have(kind: str, text: str, value: str) -> None:
    assert not says(Fact(kind, text), value)


@pytest.mark.parametrize(
    ("value", "is_so"), [("1.1.1.1", True), ("1.1.1", True), ("1.1.-.-", True), ("1.1.1.10", False)]
)
def test_the_beginning_of_an_ec_number_names_its_class(value: str, is_so: bool) -> None:
    assert says(Fact("ec", "1.1.1.1"), value, "is") == is_so
    assert not says(Fact("ec", "1.1.-.-"), "1.1.1.1", "is"), "it may be another one of its class"


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("name", "Inactive tyrosine-protein kinase 7", "Inactive tyrosine-protein kinase 7"),
        ("name", "Pseudokinase FAM20A", "Pseudokinase FAM20A"),
        ("function", "Binds ATP. Lacks protein kinase activity. Moves.", "Lacks protein kinase activity"),
        ("function", "Is catalytically inactive.", "Is catalytically inactive"),
        ("function", "Does not show kinase activity in vitro.", "Does not show kinase activity in vitro"),
        ("name", "Tyrosine-protein kinase 7", None),
        ("function", "Converts Rho to its inactive GDP-bound form.", None),
        ("function", "Has no phosphatase activity.", None),
        ("function", "Its kinase activity keeps SRC inactive.", None),
        ("ec", "2.7.10.1", None),
    ],
)
def test_words_that_call_it_inactive(kind: str, text: str, words: str | None) -> None:
    assert denial([Fact("name", "Protein 1"), Fact(kind, text)], "kinase") == words


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
