"""`data.qa.terms`: numbers with units, ions, symbols and lemmas, the same for every spelling of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protein2text.data.qa.lexicon import stem
from protein2text.data.qa.terms import canonical_number, read, terms


def pieces(text: str) -> set[str]:
    return {piece for reading in read(text) for piece in reading.pieces}


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("a 37 kDa protein", {("37", "kDa")}),
        ("37-kDa, 37kDa and 37 kilodaltons", {("37", "kDa")}),
        ("1,200 isolates and 1200 isolates", {("1200", None)}),
        ("0.50 mM", {("0.5", "mM")}),
        ("5 µM, 5 μM and 5 uM", {("5", "uM")}),
        ("30–40% and 30 to 40 percent", {("30", "%"), ("40", "%")}),
        ("1, 5 and 10 nM", {("1", "nM"), ("5", "nM"), ("10", "nM")}),
        ("at pH 7.40 and pH of 8", {("7.4", "pH"), ("8", "pH")}),
        ("at 37 °C, 37°C and 37 degrees Celsius", {("37", "degC")}),
        ("two subunits, twelve of them", {("2", None), ("12", None)}),
        ("3-fold and 3 times", {("3", "fold")}),
        ("a 374-amino-acid protein of 374 residues", {("374", "residues")}),
        ("−5 mV", {("-5", "mV")}),
        ("IL-2, p53, 5-HT and 3D", set()),
        ("mM and kDa", set()),
        ("24 h, 24 hours", {("24", "h")}),
    ],
)
def test_numbers(text: str, numbers: set[tuple[str, str | None]]) -> None:
    assert terms(text).numbers == numbers


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("NF-κB and NF-kappaB and NFκB", {"nfkappab"}),
        ("TNF-α-induced", {"tnfalpha"}),
        ("IL-2-dependent", {"il2"}),
        ("Ca2+, Ca(2+) and Ca++", {"calcium(2+)"}),
        ("Fe(III) and Fe3+", {"iron(3+)"}),
        ("K+ channel", {"potassium(1+)"}),
        ("EC 3.2.1.4 and 3.2.1.4", {"3.2.1.4"}),
        ("EC 3.2.1.-", {"3.2.1.-"}),
        ("GO:0004071", {"go:0004071"}),
        ("MAPKs and MAPK", {"mapk"}),
        ("kinases and insulin", {"kinase", "insulin"}),
        ("zinc, serine, cholesterol and peptides", {"zinc", "serine", "cholesterol", "peptide"}),
        ("the brain in this disease remains certain", set()),
        ("wild-type cells", set()),
        ("5-HT and 14-3-3", {"5ht"}),
        ("5-HT2A", {"5ht2a"}),
        ("TOO-0000 and 12-any", {"too0000", "12any"}),
    ],
)
def test_named_things(text: str, named: set[str]) -> None:
    assert terms(text).named == named


def test_words_of_no_dictionary_are_rare() -> None:
    assert terms("The frobnicators bind to a homodimer").rare == {"frobnicator", "homodimer"}


def test_content_lemmas_leave_out_what_states_nothing() -> None:
    found = terms("Does this protein regulate the genes, or is it not regulating any gene?")
    assert found.lemmas == {"regulate", "gene"}
    assert found.sequence == ["regulate", "gene", "not", "regulate", "gene"]


def test_evidence_reads_compounds_in_every_way() -> None:
    assert {"tnf", "alpha", "tnfalpha", "induced", "tnfalphainduce"} <= pieces("TNF-α-induced")
    assert {"methods", "method"} <= pieces("METHODS: none")


@pytest.mark.parametrize(
    ("one", "other"),
    [("regulate", "regulation"), ("inhibit", "inhibitor"), ("activity", "activate"), ("amidate", "amidation")],
)
def test_words_of_one_family_share_a_stem(one: str, other: str) -> None:
    assert stem(one) == stem(other)


@pytest.mark.parametrize(
    ("one", "other"), [("zinc", "iron"), ("protease", "protein"), ("liver", "live"), ("gene", "genus")]
)
def test_words_of_other_families_do_not(one: str, other: str) -> None:
    assert stem(one) != stem(other)


@given(st.decimals(min_value=0, max_value=10**9, places=4))
def test_a_number_has_one_spelling(value: object) -> None:
    number = canonical_number(f"{value:,}")
    assert number == canonical_number(f"{value}000" if "." in str(value) else str(value)) == canonical_number(number)
    assert float(number) == float(str(value))


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    found = terms(text)
    assert found == terms(text)
    assert {*found.sequence} >= found.words
    assert pieces(text) >= found.words
