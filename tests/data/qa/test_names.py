"""`data.qa.names`: a protein's name is found in every spelling, and never inside another word."""

import pytest

from protein2text.data.qa.names import NameFinder


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("TNF-alpha", "Does TNF-α act here?"),
        ("TNF-alpha", "Does TNFα act here?"),
        ("TNFα", "Does tnf alpha act here?"),
        ("TNF-α", "TNFalpha-induced genes"),
        ("IL-2", "the IL2 receptor"),
        ("IL2", "the IL-2-dependent cells"),
        ("IL2", "secreted interleukins such as IL‑2"),  # a non-breaking hyphen
        ("CBX8", "cbx8's role"),
        ("p53", "levels of P53."),
        ("Insulin", "What does insulin do?"),
        ("Insulin", "of insulins"),
        ("caspase-3", "Caspase 3s are cut"),
        ("Zinc finger protein 408", "the zinc-finger protein 408"),
        ("Doublesex- and mab-3-related transcription factor 1", "doublesex- and mab-3-related transcription factor 1"),
        ("NF-kappa-B", "NF-κB is freed"),
        ("β-catenin", "BETA-CATENIN"),
        ("CAT", "the CAT gene"),
        ("Rest", "REST is bound"),
        ("AsnA", "(AsnA)"),
        ("Membrane protein 7", "the membrane protein 7"),
        ("14-3-3 protein sigma", "14-3-3 protein σ"),
    ],
)
def test_found(name: str, text: str) -> None:
    assert NameFinder([name]).find(text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("IL-2", "IL-21 and IL-22"),
        ("IL-2", "IL 1 and 2"),
        ("p53", "p530 and Ap53"),
        ("INS", "insulin and instances"),
        ("CAT", "a cat and the catalase"),
        ("WAS", "it was shown"),
        ("Rest", "the rest of it"),
        ("SET", "a set of proteins"),
        ("ISA", "what is a protein"),
        ("TNF-alpha", "TNF-beta"),
        ("beta", "alphabet"),
        ("Insulin", "insulinoma"),
        ("A", "a protein"),
        ("", "anything"),
        ("-", "a-b"),
        ("Tau", "Taurine"),
        ("AsnA", "as n a"),
        ("Protein", "What does this protein bind?"),
        ("Putative membrane protein", "Is this a putative membrane protein?"),
        ("E1", "It is type E. 1 of them"),
    ],
)
def test_not_found(name: str, text: str) -> None:
    assert NameFinder([name]).find(text) is None


def test_what_is_found_is_given_as_it_is_spelled() -> None:
    finder = NameFinder(["TNF", "TNF-alpha", "Tumor necrosis factor"])
    assert finder.find("When tumour or tumor necrosis  factors act") == "tumor necrosis  factors"
    assert finder.find("It frees TNF.") == "TNF"
    assert finder.find("nothing") is None
