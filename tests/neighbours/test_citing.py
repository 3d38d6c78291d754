"""From ranked homologues to cited facts: merged over their sources, contradictions named, parts kept apart."""

import json

from protein2text.neighbours.cited import CitedFact
from protein2text.neighbours.citing import MAX_SOURCES, cite, domain_hits
from protein2text.neighbours.closed import says
from protein2text.neighbours.entries import Characterised
from protein2text.neighbours.facts import Fact
from protein2text.neighbours.homologues import Homologue
from protein2text.neighbours.wording import claims
from tests.neighbours.made_index import entry

EXPERIMENT, RULE, SIMILARITY = ("ECO:0000269",), ("ECO:0000255",), ("ECO:0000250",)


def given(*entries: Characterised, coverage: float = 0.9) -> tuple[list[Homologue], dict[str, Characterised]]:
    """The entries as homologues, the first the best."""
    found = [
        Homologue(each.accession, 0.9 - number / 10, coverage, 0.95, 1e-50, 500.0 - number, 1, 90, 10, 100)
        for number, each in enumerate(entries)
    ]
    return found, {each.accession: each for each in entries}


def said(cited: tuple[CitedFact, ...]) -> list[tuple[str, list[str]]]:
    return [(each.fact.value, [source.entry.accession for source in each.sources]) for each in cited]


def test_what_several_homologues_state_is_one_fact_with_its_sources() -> None:
    a = entry("A", "M", Fact("ec", "3.2.1.4", eco=RULE), Fact("ec", "3.2.1.78"))
    b = entry("B", "M", Fact("ec", "3.2.1.4", eco=EXPERIMENT, pubmed=("11", "12")))
    c = entry("C", "M", Fact("ec", "3.2.1.4"), Fact("cofactor", "Mg(2+)"))
    cited = cite("ec", *given(a, b, c))
    assert said(cited) == [("3.2.1.4", ["B", "A", "C"]), ("3.2.1.78", ["A"])]
    assert [source.evidence for source in cited[0].sources] == ["experimental", "transferred", "none stated"]
    assert cited[0].fact.pubmed == ("11", "12")
    assert cited[0].nearest.accession == "A"
    assert not any(each.contradicts for each in cited)  # one entry states both


def test_a_term_is_the_same_however_it_is_worded_and_a_value_however_it_is_spelled() -> None:
    a = entry("A", "M", Fact("location", "Nucleus"), Fact("cofactor", "a divalent metal cation", "CHEBI:60240"))
    b = entry("B", "M", Fact("location", "nucleus "), Fact("cofactor", "divalent cation", "CHEBI:60240"))
    assert said(cite("location", *given(a, b))) == [("Nucleus", ["A", "B"])]
    assert said(cite("cofactor", *given(a, b))) == [("a divalent metal cation", ["A", "B"])]


def test_only_the_best_homologues_words_are_given_of_free_text() -> None:
    a, b = entry("A", "M", Fact("function", "Cuts.")), entry("B", "M", Fact("function", "Glues."))
    c = entry("C", "M", Fact("function", "cuts."))
    assert said(cite("function", *given(a, b, c))) == [("Cuts.", ["A", "C"])]
    others = [entry(f"E{number}", "M", Fact("ec", f"1.1.1.{number}")) for number in range(5)]
    assert len(cite("ec", *given(*others))) == MAX_SOURCES


def test_ec_numbers_that_cannot_both_hold_contradict_each_other() -> None:
    a, b = entry("A", "M", Fact("ec", "3.2.1.4")), entry("B", "M", Fact("ec", "3.2.1.6"))
    partial = entry("C", "M", Fact("ec", "3.2.1.-"))
    cited = cite("ec", *given(a, b, partial))
    assert {each.fact.value: each.contradicts for each in cited} == {
        "3.2.1.4": ("3.2.1.6",), "3.2.1.6": ("3.2.1.4",), "3.2.1.-": ()
    }  # fmt: skip
    both = entry("D", "M", Fact("ec", "3.2.1.6"), Fact("ec", "3.2.1.4"))
    assert not any(each.contradicts for each in cite("ec", *given(a, b, both)))
    remote = entry("E", "M", Fact("ec", "1.1.-.-"))
    assert [each.contradicts for each in cite("ec", *given(a, remote))] == [("1.1.-.-",), ("3.2.1.4",)]


def test_a_source_names_the_parts_and_molecules_that_it_speaks_of() -> None:
    sites = [Fact("ligand", "ATP", "CHEBI:30616", EXPERIMENT, ("1",), 30, 37)]
    sites += [Fact("ligand", "ATP", "CHEBI:30616", SIMILARITY, ("2",), 55, 55)]
    isoform = Fact("location", "Nucleus", molecule="Isoform 2")
    both = [Fact("location", "Cytoplasm"), Fact("location", "Cytoplasm", molecule="Isoform 2")]
    found = given(entry("A", "M", *sites, isoform, *both))
    (ligand,) = cite("ligand", *found)
    (source,) = ligand.sources
    assert (source.places, source.pubmed, source.evidence) == (((30, 37), (55, 55)), ("1", "2"), "experimental")
    assert [(each.fact.value, each.sources[0].molecules) for each in cite("location", *found)] == [
        ("Nucleus", ("Isoform 2",)), ("Cytoplasm", ()), ("Cytoplasm", ("Isoform 2",))
    ]  # fmt: skip
    row = json.loads(json.dumps(ligand.as_dict()))["sources"][0]
    assert row["places"] == [[30, 37], [55, 55]]
    assert (row["accession"], row["release"], row["query_begin"], row["target_end"]) == ("A", "2026_01", 1, 100)


def test_evidence_on_an_isoform_is_not_that_of_the_whole_protein() -> None:
    whole = Fact("location", "Nucleus", "SL-0191", SIMILARITY)
    isoform = Fact("location", "Nucleus", "SL-0191", EXPERIMENT, ("1",), molecule="Isoform 2")
    other = Fact("location", "nucleus", "SL-0191", RULE, molecule="Isoform 2")
    cited = cite("location", *given(entry("A", "M", whole, isoform), entry("B", "M", whole), entry("C", "M", other)))
    told = {each.fact.molecule: [(one.entry.accession, one.evidence, one.pubmed) for one in each.sources]
            for each in cited}  # fmt: skip
    assert told == {
        None: [("A", "transferred", ()), ("B", "transferred", ())],
        "Isoform 2": [("A", "experimental", ("1",)), ("C", "transferred", ())],
    }
    assert claims(cited).count("Nucleus") == 1


def test_a_homologue_of_a_part_grounds_no_fact_and_names_the_domains_in_that_part() -> None:
    domains = [Fact("domain", "Kinase", begin=12, end=98), Fact("domain", "SH2", begin=95, end=180)]
    domains += [Fact("domain", "Whole", "PF00001")]
    found, entries = given(entry("A", "M", Fact("ec", "2.7.10.2"), *domains), coverage=0.4)
    assert cite("ec", found, entries) == cite("domain", found, entries) == ()
    (hit,) = domain_hits(found, entries)
    assert [fact.value for fact in hit.domains] == ["Kinase"]
    assert json.loads(json.dumps(hit.as_dict()))["domains"] == [{"value": "Kinase", "begin": 12, "end": 98}]


def test_what_a_fact_says() -> None:
    assert says(Fact("cofactor", "Zn(2+)"), "zinc")
    assert says(Fact("molecular_function", "zinc ion binding"), "Zn(2+)", "binds")
    assert says(Fact("name", "Hexokinase-1"), "kinase", "is")
    assert says(Fact("ec", "2.7.1.1"), "transferase")
    assert says(Fact("ec", "2.7.1.1"), "enzyme")
    assert says(Fact("location", "Golgi apparatus membrane"), "golgi")
    assert says(Fact("molecular_function", "ATP binding", "GO:0005524"), "GO:0005524")
    assert not says(Fact("function", "Does not bind zinc."), "zinc")
    assert not says(Fact("name", "Urokinase-type plasminogen activator"), "kinase", "is")
    assert not says(Fact("ec", "2.7.1.1"), "hydrolase")
    assert not says(Fact("name", "Kinase inhibitory region of zincin"), "zinc")
    assert not says(Fact("ec", "3.2.1.41"), "3.2.1.4")
