"""Answers in words: what stands in them of sources, evidence, measured frequencies and contradictions."""

from dataclasses import replace

from protein2text.neighbours.calibration import Frequency
from protein2text.neighbours.citing import cite
from protein2text.neighbours.entries import Characterised
from protein2text.neighbours.facts import FACT_KINDS, Fact
from protein2text.neighbours.homologues import Homologue
from protein2text.neighbours.wording import answer_text, nothing_stated, refusal
from tests.neighbours.made_index import entry

FREQUENCY = Frequency("ec", 4, 132, 140, 120, 0.885, 0.971, "70-90 %", "90-100 %")


def given(*entries: Characterised, identity: float = 0.71) -> tuple[list[Homologue], dict[str, Characterised]]:
    found = [Homologue(each.accession, identity, 0.98, 0.97, 2e-120, 400.0, 1, 90, 2, 91) for each in entries]
    return found, {each.accession: each for each in entries}


def test_a_statement_is_followed_by_its_sources_its_frequency_and_the_entries() -> None:
    fact = Fact("ec", "3.2.1.4", eco=("ECO:0000269",), pubmed=("1", "2"))
    (cited,) = cite("ec", *given(entry("P1", "M", fact)))
    text = answer_text([replace(cited, frequency=FREQUENCY)])
    assert text == (
        "Its EC number is 3.2.1.4 [P1, 71 % identity, experimental (ECO:0000269), PubMed 1, 2].\n"
        "Cited EC numbers were the protein's own at 4 digits in 132 of 140 leave-one-out cases of 120 proteins at "
        "70-90 % identity and a coverage of 90-100 % (94 %, 95 % interval 88 % to 97 %).\n"
        "P1 is Protein P1, release 2026_01: 71 % identity over 98 % of the query and 97 % of the entry, E = 2e-120."
    )


def test_without_a_frequency_it_says_not_calibrated() -> None:
    found = given(entry("P1", "M", Fact("ec", "3.2.1.4"), Fact("cofactor", "Zn(2+)")))
    text = answer_text([*cite("ec", *found), *cite("cofactor", *found)])
    assert "Not calibrated: EC numbers, cofactors." in text
    others = [replace(cited, frequency=FREQUENCY) for cited in cite("ec", *found)] + [*cite("ec", *found)]
    assert "Not calibrated: the other EC numbers." in answer_text(others)


def test_evidence_that_was_itself_transferred_says_so() -> None:
    for eco, words in ((("ECO:0000250",), "itself transferred (ECO:0000250)"), ((), "no evidence stated")):
        assert words in answer_text(cite("ec", *given(entry("P1", "M", Fact("ec", "3.2.1.4", eco=eco)))))


def test_facts_on_the_same_ground_share_a_sentence_and_others_do_not() -> None:
    facts = [
        Fact("molecular_function", name, term) for name, term in (("ATP binding", "GO:5"), ("ion binding", "GO:6"))
    ]
    other = Fact("molecular_function", "DNA binding", "GO:7", eco=("ECO:0000314",))
    lines = answer_text(cite("molecular_function", *given(entry("P1", "M", *facts, other)))).splitlines()
    assert lines[0] == (
        "Its molecular function is DNA binding (GO:7) [P1, 71 % identity, experimental (ECO:0000314)]. "
        "Its molecular function is ATP binding (GO:5); ion binding (GO:6) [P1, 71 % identity, no evidence stated]."
    )


def test_contradictions_parts_and_many_articles_are_told() -> None:
    articles = tuple(str(number) for number in range(9))
    a = entry(
        "P1", "M", Fact("ec", "3.2.1.4", pubmed=articles), Fact("ligand", "ATP", begin=3, end=9, molecule="B chain")
    )
    b = entry("P2", "M", Fact("ec", "3.2.1.6"))
    text = answer_text([*cite("ec", *given(a, b)), *cite("ligand", *given(a, b))])
    assert text.count("These contradict each other, and no one entry states both: 3.2.1.4 and 3.2.1.6.") == 1
    assert "PubMed 0, 1, 2, 3, 4 and 4 more" in text
    assert "It binds ATP [P1, 71 % identity, no evidence stated, its residues 3-9, only B chain]." in text


def test_each_of_contradicting_numbers_has_a_frequency_of_its_own() -> None:
    numbers = ("3.2.1.4", "3.2.1.6", "3.2.1.8")
    found = given(*(entry(f"P{at}", "M", Fact("ec", number)) for at, number in enumerate(numbers)))
    first, second, third = cite("ec", *found)
    other = replace(FREQUENCY, num_agreeing=6, n=14)
    lines = answer_text([replace(first, frequency=FREQUENCY), replace(second, frequency=other), third]).splitlines()
    assert lines[1].startswith("For 3.2.1.4: cited EC numbers were the protein's own at 4 digits in 132 of 140 ")
    assert lines[2].startswith("For 3.2.1.6: cited EC numbers were the protein's own at 4 digits in 6 of 14 ")
    assert lines[3] == "Not calibrated: 3.2.1.8."
    same = answer_text([replace(each, frequency=FREQUENCY) for each in (first, second)])
    assert (same.count("For 3.2.1.4: "), same.count("For 3.2.1.6: ")) == (1, 1), "in one bin too"


def test_only_what_is_whole_is_called_100_percent() -> None:
    assert "99 % identity" in answer_text(cite("ec", *given(entry("P1", "M", Fact("ec", "1.1.1.1")), identity=0.999)))
    assert "100 % identity" in answer_text(cite("ec", *given(entry("P1", "M", Fact("ec", "1.1.1.1")), identity=1.0)))


def test_every_kind_has_its_words() -> None:
    from protein2text.neighbours.grammar import Asked

    for kind in FACT_KINDS:
        cited = cite(kind, *given(entry("P1", "M", Fact(kind, "Thing"))))
        assert answer_text(cited).splitlines()[0].startswith(("It", "Thing"))
        assert nothing_stated(Asked((kind,))).startswith("No characterised homologue states any ")
        assert "no proof against it" in nothing_stated(Asked((kind,), "thing"))


def test_the_refusal_is_exact() -> None:
    assert refusal("2026_01") == "no characterised homologue in 2026_01"
