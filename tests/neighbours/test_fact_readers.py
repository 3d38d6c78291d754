"""`neighbours.readers`: forms that the real files of the other tests do not hold, as UniProt writes them."""

import re
from typing import Any

import pytest

from protein2text.data.readers.entries import Place
from protein2text.errors import RecordError, UnusableRecord
from protein2text.neighbours.entries import Characterised
from protein2text.neighbours.facts import Fact
from protein2text.neighbours.readers import asked, flat, rest_json, tsv, xml
from protein2text.neighbours.readers.formats import characterise

SEQUENCE = "MKVLAAGIVGLLLAQWERTYHPNDSCFMKVLAAGIVGLLL"
PLACE = Place("file", "line 1", 1000)
EXPERIMENT, SIMILAR, RULE, CURATOR = (f"ECO:{code}" for code in ("0000269", "0000250", "0000255", "0000305"))


def of_table(**cells: str) -> dict[str, list[Fact]]:
    row = {"Entry": "P1", "Sequence": SEQUENCE} | {name.replace("_", " "): value for name, value in cells.items()}
    return by_kind(tsv.characterise("\t".join(row.values()) + "\n" + "\t".join(row), PLACE))


def by_kind(entry: Characterised) -> dict[str, list[Fact]]:
    found: dict[str, list[Fact]] = {}
    for fact in entry.facts:
        found.setdefault(fact.kind, []).append(fact)
    return found


def flat_entry(comments: str = "", annotations: str = "", names: str = "DE   RecName: Full=Kinase;\n") -> str:
    return (
        f"ID   P1_X                    Reviewed;          {len(SEQUENCE)} AA.\nAC   P1;\n"
        "DT   01-JAN-2020, integrated into UniProtKB/Swiss-Prot.\nDT   02-FEB-2024, entry version 7.\n"
        f"{names}OS   Homo sapiens (Human).\n{comments}{annotations}"
        f"SQ   SEQUENCE   {len(SEQUENCE)} AA;  100 MW;  0 CRC64;\n     {SEQUENCE}\n//\n"
    )


def of_flat(*args: str, **kwargs: str) -> dict[str, list[Fact]]:
    return by_kind(flat.characterise(flat_entry(*args, **kwargs), PLACE))


# --- tables


def test_a_tables_columns_give_their_facts() -> None:
    facts = of_table(
        Protein_names="DNA (cytosine-5)-methyltransferase 1 (Dnmt1) (EC 2.1.1.37)",
        EC_number="2.1.1.37; 3.1.-.-; 2.7.1.n4",
        Protein_families="Peptidase S8 family, Subtilisin subfamily",
        InterPro="IPR000209;IPR015500;",
        Pfam="PF00082;",
    ) | of_table(**{
        "Gene Ontology (molecular function)": "ATP binding [GO:0005524]; 1-alkyl-2-acetylglycerophosphocholine "
        "esterase activity [GO:0003847]",
        "Gene Ontology (biological process)": "",
        "Gene Ontology (cellular component)": "cytosol [GO:0005829]",
    })  # fmt: skip
    said = {kind: [(fact.value, fact.term) for fact in found] for kind, found in facts.items()}
    assert said == {
        "name": [("DNA (cytosine-5)-methyltransferase 1", None)],
        "ec": [("2.1.1.37", None), ("3.1.-.-", None), ("2.7.1.n4", None)],
        "family": [("Peptidase S8 family, Subtilisin subfamily", None)],
        "domain": [("IPR000209", "IPR000209"), ("IPR015500", "IPR015500"), ("PF00082", "PF00082")],
        "molecular_function": [
            ("ATP binding", "GO:0005524"),
            ("1-alkyl-2-acetylglycerophosphocholine esterase activity", "GO:0003847"),
        ],
        "cellular_component": [("cytosol", "GO:0005829")],
    }


def test_a_tables_comments_keep_what_each_statement_rests_on() -> None:
    facts = of_table(
        Catalytic_activity="CATALYTIC ACTIVITY: Reaction=ATP + H2O = ADP + phosphate + H(+); Xref=Rhea:RHEA:13065, "
        "ChEBI:CHEBI:15377; EC=3.6.4.13; Evidence={ECO:0000269|PubMed:11, ECO:0000305}; "
        "PhysiologicalDirection=left-to-right; Xref=Rhea:RHEA:13066; Evidence={ECO:0000250|UniProtKB:P9};; "
        "CATALYTIC ACTIVITY: [Isoform 2]: Reaction=L-seryl-[protein] = O-phospho-L-seryl-[protein]; EC=2.7.11.1;",
        Cofactor="COFACTOR: Name=Zn(2+); Xref=ChEBI:CHEBI:29105; Evidence={ECO:0000269|PubMed:12};  Name=[4Fe-4S] "
        "cluster; Xref=ChEBI:CHEBI:49883; Note=Binds 1 ion. Name=unlikely.;",
    ) | of_table(**{
        "Subcellular location [CC]": "SUBCELLULAR LOCATION: Cell inner membrane {ECO:0000255|HAMAP-Rule:MF_1}; "
        "Multi-pass membrane protein {ECO:0000255}. Golgi apparatus, trans-Golgi network membrane. Note=Moves. To "
        "{ECO:0000269}.; SUBCELLULAR LOCATION: [Isoform 2]: Nucleus {ECO:0000269|PubMed:13}.",
        "Binding site": 'BINDING 4; /ligand="ATP"; /ligand_id="ChEBI:CHEBI:30616"; '
        '/evidence="ECO:0000255|PROSITE-ProRule:PRU1, ECO:0000269|PubMed:14"; BINDING 7..9; /ligand="a ""quoted"" 1"; '
        'BINDING P1-2:3..5; /ligand="GTP"; BINDING ?..12; /ligand="NAD(+)"',
        "Domain [FT]": 'DOMAIN 13..32; /note="J"; /evidence="ECO:0000255"; DOMAIN <1..>20; /note="Ig-like; C1-type"',
    })  # fmt: skip
    assert [fact for found in facts.values() for fact in found] == [
        Fact("ec", "3.6.4.13", None, (EXPERIMENT, CURATOR), ("11",)),
        Fact("ec", "2.7.11.1", molecule="Isoform 2"),
        Fact("reaction", "ATP + H2O = ADP + phosphate + H(+)", "RHEA:13065", (EXPERIMENT, CURATOR), ("11",)),
        Fact("reaction", "L-seryl-[protein] = O-phospho-L-seryl-[protein]", molecule="Isoform 2"),
        Fact("cofactor", "Zn(2+)", "CHEBI:29105", (EXPERIMENT,), ("12",)),
        Fact("cofactor", "[4Fe-4S] cluster", "CHEBI:49883"),
        Fact("location", "Cell inner membrane", None, (RULE,)),
        Fact("location", "Multi-pass membrane protein", None, (RULE,)),
        Fact("location", "Golgi apparatus, trans-Golgi network membrane"),
        Fact("location", "Nucleus", None, (EXPERIMENT,), ("13",), molecule="Isoform 2"),
        Fact("ligand", "ATP", "CHEBI:30616", (RULE, EXPERIMENT), ("14",), 4, 4),
        Fact("ligand", 'a "quoted" 1', begin=7, end=9),
        Fact("ligand", "GTP"),
        Fact("ligand", "NAD(+)", end=12),
        Fact("domain", "J", None, (RULE,), (), 13, 32),
        Fact("domain", "Ig-like; C1-type", begin=1, end=20),
    ]


def test_a_table_needs_no_function_but_its_cells_must_fit() -> None:
    assert set(of_table(Protein_names="Kinase")) == {"name"}
    with pytest.raises(UnusableRecord, match="2 cells"):
        tsv.characterise("P1\tMKV\nEntry\tSequence\tEC number", PLACE)
    with pytest.raises(UnusableRecord, match="no column 'Sequence'"):
        tsv.characterise("P1\t1.1.1.1\nEntry\tEC number", PLACE)


# --- flat files

NEW = """\
FT   DOMAIN          3..20
FT                   /note="Protein kinase; a very long name that is wrapped after a 5-
FT                   hydroxytryptamine-like word"
FT                   /evidence="ECO:0000255|PROSITE-
FT                   ProRule:PRU00159"
FT   BINDING         7
FT                   /ligand="ATP"
FT                   /ligand_id="ChEBI:CHEBI:30616"
FT                   /evidence="ECO:0000269|PubMed:1"
FT   MOD_RES         8
FT                   /note="Phosphoserine"
FT   BINDING         P1-2:9
FT                   /ligand="GTP"
"""
OLD = """\
FT   DOMAIN        3     20       Protein kinase; a very long name that is
FT                                wrapped (By similarity).
FT   BINDING       7      7       ATP (By similarity).
FT   METAL        12     12       Zinc 1; catalytic.
FT   METAL        15     15       Zinc 2 {ECO:0000269|PubMed:2}.
FT   NP_BIND     <16    >19       GTP (Potential).
FT   MOD_RES       8      8       Phosphoserine.
FT                                /FTId=PRO_1.
FT   DOMAIN        ?     25       SH2.
"""


def test_features_are_read_from_the_new_layout() -> None:
    facts = of_flat("", NEW)
    domain = "Protein kinase; a very long name that is wrapped after a 5-hydroxytryptamine-like word"
    assert facts["domain"] == [Fact("domain", domain, None, (RULE,), (), 3, 20)]
    atp = Fact("ligand", "ATP", "CHEBI:30616", (EXPERIMENT,), ("1",), 7, 7)
    assert facts["ligand"] == [atp, Fact("ligand", "GTP")]


def test_features_are_read_from_the_old_layout() -> None:
    facts = of_flat("", OLD)
    assert facts["domain"] == [
        Fact("domain", "Protein kinase; a very long name that is wrapped", None, (SIMILAR,), (), 3, 20),
        Fact("domain", "SH2", end=25),
    ]
    assert facts["ligand"] == [
        Fact("ligand", "ATP", None, (SIMILAR,), (), 7, 7),
        Fact("ligand", "Zinc", begin=12, end=12),
        Fact("ligand", "Zinc", None, (EXPERIMENT,), ("2",), 15, 15),
        Fact("ligand", "GTP", None, (RULE,), (), 16, 19),
    ]


def test_older_comments_and_names_are_read() -> None:
    comments = """\
CC   -!- FUNCTION: [Isoform 1]: Moves (By similarity). It (Ref.3) stops
CC       (PubMed:5). {ECO:0000303|PubMed:6}.
CC   -!- CATALYTIC ACTIVITY: ATP + a protein = ADP + a phospho-
CC       protein (Probable).
CC   -!- COFACTOR: Binds 1 zinc ion per subunit (By similarity).
CC   -!- SUBCELLULAR LOCATION: Isoform 2: Nucleus (By similarity). Cytoplasm
CC       (Potential). Note: Moves about.
CC   -!- SIMILARITY: IN THE N-TERMINAL SECTION; BELONGS TO THE SMALL GTPASE
CC       FAMILY.
CC   -!- SIMILARITY: Contains 1 SH2 domain.
CC   -----------------------------------------------------------------------
CC   Distributed under the Creative Commons Attribution-NoDerivs License
CC   -----------------------------------------------------------------------
"""
    references = """\
DR   GO; GO:0005524; F:ATP binding; IEA.
DR   GO; GO:0006468; P:protein phosphorylation, or so; IDA:UniProtKB.
DR   InterPro; IPR000719; -.
DR   PFAM; PF00069; pkinase; 1.
"""
    entry = flat.characterise(flat_entry(comments, references, "DE   KINASE (EC 2.7.1.-) (EC 2.7.11.1).\n"), PLACE)
    assert (entry.licence, entry.entry_version, entry.organism) == (
        "CC Attribution-NoDerivs",
        7,
        "Homo sapiens (Human)",
    )
    facts = [fact for fact in entry.facts if fact.kind != "name"]
    assert facts == [
        Fact("function", "Moves. It stops.", None, ("ECO:0000303", SIMILAR), ("5", "6"), molecule="Isoform 1"),
        Fact("ec", "2.7.1.-"),
        Fact("ec", "2.7.11.1"),
        Fact("reaction", "ATP + a protein = ADP + a phospho-protein", None, (CURATOR,)),
        Fact("molecular_function", "ATP binding", "GO:0005524", ("ECO:0000501",)),
        Fact("biological_process", "protein phosphorylation, or so", "GO:0006468", ("ECO:0000314",)),
        Fact("location", "Nucleus", None, (SIMILAR,), molecule="Isoform 2"),
        Fact("location", "Cytoplasm", None, (RULE,)),
        Fact("cofactor", "Binds 1 zinc ion per subunit", None, (SIMILAR,)),
        Fact("domain", "IPR000719", "IPR000719"),
        Fact("domain", "pkinase", "PF00069"),
        Fact("family", "SMALL GTPASE FAMILY"),
    ]


def test_what_is_said_twice_is_one_fact_with_the_evidence_of_both() -> None:
    names = "DE   RecName: Full=Kinase {ECO:0000305};\nDE            EC=2.7.1.1 {ECO:0000255|HAMAP-Rule:MF_1};\n"
    comments = """\
CC   -!- CATALYTIC ACTIVITY:
CC       Reaction=A = B; Xref=Rhea:RHEA-COMP:9, Rhea:RHEA:1; EC=2.7.1.1;
CC         Evidence={ECO:0000269|PubMed:3, ECO:0000255};
"""
    facts = of_flat(comments, "", names)
    assert facts["ec"] == [Fact("ec", "2.7.1.1", None, (RULE, EXPERIMENT), ("3",))]
    assert facts["reaction"] == [Fact("reaction", "A = B", "RHEA:1", (EXPERIMENT, RULE), ("3",))]
    assert facts["name"] == [Fact("name", "Kinase", None, (CURATOR,))]


PARTS = """\
DE   RecName: Full=Polyprotein;
DE            EC=1.1.1.1;
DE   AltName: Full=Other;
DE   Includes:
DE     RecName: Full=Kinase {ECO:0000305};
DE              EC=2.7.1.1 {ECO:0000269|PubMed:5};
DE     AltName: Full=Another;
DE              EC=2.7.1.2;
DE   Contains:
DE     RecName: Full=Chain A;
DE              EC=3.2.2.22;
DE   Contains:
DE     RecName: Full=Chain B;
DE   Flags: Precursor;
"""


def test_ec_numbers_stay_with_their_chain() -> None:
    comments = """\
CC   -!- CATALYTIC ACTIVITY: [Chain A]:
CC       Reaction=A = B; EC=3.2.2.22; Evidence={ECO:0000269|PubMed:3};
"""
    expected = [
        Fact("ec", "1.1.1.1"),
        Fact("ec", "2.7.1.1", None, (EXPERIMENT,), ("5",), molecule="Kinase"),
        Fact("ec", "2.7.1.2", molecule="Kinase"),
        Fact("ec", "3.2.2.22", None, (EXPERIMENT,), ("3",), molecule="Chain A"),
    ]
    assert of_flat(comments, "", PARTS)["ec"] == expected


# --- evidence


@pytest.mark.parametrize(
    ("eco", "experimental", "transferred"),
    [
        ((), False, False),
        ((CURATOR,), False, False),
        ((SIMILAR,), False, True),
        ((RULE, EXPERIMENT), True, False),
        (("ECO:0000314",), True, False),
        (("ECO:0007005",), True, False),
        (("ECO:0000256",), False, True),
        (("ECO:0000501", CURATOR), False, True),
        (("ECO:0007669",), False, True),
        (("ECO:0000304",), False, False),
    ],
)
def test_evidence_is_told_apart(eco: tuple[str, ...], experimental: bool, transferred: bool) -> None:
    fact = Fact("function", "x", eco=eco)
    assert (fact.is_experimental, fact.is_transferred) == (experimental, transferred)


# --- XML, REST and questions


def test_xml_of_several_years_gives_its_facts() -> None:
    text = f"""<entry dataset="Swiss-Prot" version="9" xmlns="https://uniprot.org/uniprot"><accession>P1</accession>
<protein><recommendedName><fullName evidence="1">Kinase</fullName><ecNumber evidence="2">2.7.1.1</ecNumber>
</recommendedName><component><recommendedName><fullName>Part</fullName><ecNumber>3.1.1.1</ecNumber></recommendedName>
</component></protein><comment type="subcellular location"><molecule>Isoform 2</molecule><subcellularLocation>
<location status="by similarity">Membrane</location><topology>Multi-pass</topology></subcellularLocation></comment>
<comment type="cofactor"><cofactor evidence="2"><name>Zn(2+)</name><dbReference type="ChEBI" id="CHEBI:29105"/>
</cofactor><text>Binds 2.</text></comment>
<comment type="catalytic activity"><text>A = B. (By similarity)</text></comment>
<comment type="similarity"><text evidence="1">Belongs to the AB family. C subfamily.</text></comment>
<feature type="binding site" description="Substrate" evidence="1 2"><location><position position="4"/></location>
</feature><feature type="domain" description="J"><location sequence="P1-2"><begin position="1"/><end position="9"/>
</location></feature><feature type="domain" description="K"><location><begin status="unknown"/><end position="9"/>
</location></feature><evidence key="1" type="ECO:0000305"/><evidence key="2" type="ECO:0000269"><source>
<dbReference type="PubMed" id="77"/></source></evidence>
<sequence length="{len(SEQUENCE)}">{SEQUENCE}</sequence></entry>"""
    facts = xml.characterise(text, PLACE).facts
    assert list(facts) == [
        Fact("name", "Kinase", None, (CURATOR,)),
        Fact("ec", "2.7.1.1", None, (EXPERIMENT,), ("77",)),
        Fact("ec", "3.1.1.1", molecule="Part"),
        Fact("reaction", "A = B", None, (SIMILAR,)),
        Fact("location", "Membrane", None, (SIMILAR,), molecule="Isoform 2"),
        Fact("location", "Multi-pass", molecule="Isoform 2"),
        Fact("cofactor", "Zn(2+)", "CHEBI:29105", (EXPERIMENT,), ("77",)),
        Fact("ligand", "Substrate", None, (CURATOR, EXPERIMENT), ("77",), 4, 4),
        Fact("domain", "J"),
        Fact("domain", "K", end=9),
        Fact("family", "AB family. C subfamily", None, (CURATOR,)),
    ]


def rest(**fields: Any) -> dict[str, Any]:
    return {"primaryAccession": "P1", "sequence": {"value": SEQUENCE, "length": len(SEQUENCE)}, **fields}


def test_rest_features_of_isoforms_and_unknown_ends_have_no_place() -> None:
    def feature(kind: str, start: dict[str, Any], **more: Any) -> dict[str, Any]:
        end = {"value": 9, "modifier": "EXACT"}
        return {"type": kind, "location": {"start": start, "end": end, **more}, "description": "J"}

    exact = {"value": 3, "modifier": "EXACT"}
    features = [
        feature("Domain", exact),
        feature("Domain", {"value": None, "modifier": "UNKNOWN"}),
        feature("Domain", exact, sequence="P1-2"),
        feature("Metal binding", {"value": 1, "modifier": "OUTSIDE"}),
        feature("Helix", exact),
    ]
    facts = rest_json.characterise(rest(features=features), PLACE).facts
    assert list(facts) == [
        Fact("ligand", "J", begin=1, end=9), Fact("domain", "J", begin=3, end=9), Fact("domain", "J", end=9),
        Fact("domain", "J"),
    ]  # fmt: skip


def asked_entry(answer: str, **more: Any) -> dict[str, Any]:
    turns = [{"from": "human", "value": "<protein_sequence>\nWhat?"}, {"from": "gpt", "value": answer}]
    return {"long_format_id": "q", "id": "P1", "amino_seq": SEQUENCE, "conversations": turns, **more}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("It binds ATP. EC number: 2.7.1.1, 2.7.1.-", ["2.7.1.1", "2.7.1.-"]),
        ("It lacks EC 2.7.1.1 activity.", []),
        ("Its EC number is not known.", []),
    ],
)
def test_an_answer_is_a_function_and_lists_its_ec_numbers(answer: str, expected: list[str]) -> None:
    facts = by_kind(asked.characterise_question(asked_entry(answer), PLACE))
    assert [fact.value for fact in facts.get("ec", ())] == expected
    assert [fact.value for fact in facts["function"]] == [answer]


def test_a_yes_or_no_and_a_question_about_two_proteins_are_no_facts() -> None:
    assert asked.characterise_question(asked_entry("Yes, it does."), PLACE).facts == ()
    two = asked_entry("They bind.", id=["P1", "P2"], amino_seq=[SEQUENCE, SEQUENCE])
    two["conversations"][0]["value"] = "<protein_sequence>\n<protein_sequence>\nWhat?"
    with pytest.raises(UnusableRecord, match="2 proteins"):
        asked.characterise_question(two, PLACE)


@pytest.mark.parametrize("format_name", ["fasta", "json", "uniprot-flat", "uniprot-tsv", "uniprot-xml"])
@pytest.mark.parametrize("raw", ["", "{}", "<entry/>", ">\n", "ID   X", "a\tb\nc"])
def test_what_is_no_entry_is_refused_by_name(format_name: str, raw: str) -> None:
    with pytest.raises((RecordError, KeyError, TypeError, ValueError, AttributeError, IndexError)):
        characterise(format_name, raw, PLACE)


def test_a_title_names_protein_and_organism() -> None:
    entry = asked.characterise_title(f">sp|P1|X_HUMAN Insulin OS=Homo sapiens OX=9606 GN=INS\n{SEQUENCE}", PLACE)
    assert (entry.accession, entry.name, entry.organism) == ("P1", "Insulin", "Homo sapiens")
    assert [fact.kind for fact in entry.facts] == ["name"]
    assert re.fullmatch(r"[0-9a-f]{64}", entry.checksum)
