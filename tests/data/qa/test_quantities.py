"""`data.qa.quantities`: a quantity that cannot be true is refused, one at the limit is not."""

import pytest

from protein2text.data.qa.quantities import implausible
from protein2text.data.qa.rules import QaRules
from protein2text.data.qa.terms import terms

RESIDUES = 400  # about 44 kDa


def problem(text: str, num_residues: int = RESIDUES) -> str | None:
    return implausible(text, terms(text), num_residues, QaRules())


@pytest.mark.parametrize(
    "text",
    [
        "It acts at pH 0, pH 14 and pH 7.4.",
        "It is kept at -196 °C, and acts at 121 °C.",
        "It has a molecular mass of 44 kDa.",
        "It has a molecular weight of about 44,000 Da.",
        "It has a molecular mass of 220 kDa.",
        "It forms a complex with a molecular mass of 1,200 kDa.",
        "Its mass is 2.5 MDa as a polymer.",
        "It consists of 400 amino acids.",
        "It is an 800-residue protein.",
        "It consists of 200 residues.",
        "It contains 12 residues that bind zinc.",
        "It has a domain that consists of 60 amino acids.",
        "It is identical in 100% of the residues.",
        "It is increased by 250%.",
        "It is reduced by 99.9% in patients.",
        "It rises to 300% of control.",
        "It binds three of five ligands.",
        "It binds.",
    ],
)
def test_plausible(text: str) -> None:
    assert problem(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("It acts at pH 14.1.", "pH 14.1"),
        ("It acts at pH -1.", "pH -1"),
        ("It acts at 370 °C.", "370 °C"),
        ("It acts at -274 °C.", "-274 °C"),
        ("It has a molecular mass of 44 Da.", "44 Da"),
        ("It has a molecular mass of 44,000 kDa.", "44000 kDa"),
        ("It weighs 0 kDa.", "0 kDa"),
        ("It has a molecular weight of 2,300 kDa.", "2,300 kDa"),
        ("It has a molecular mass of 8 kDa.", "8 kDa"),
        ("Each of its subunits has a mass of 44 Da.", "44 Da"),
        ("It consists of 801 amino acids.", "801 residues"),
        ("It consists of 199 amino acids.", "199 residues"),
        ("It contains a domain, and has 4,000 residues.", "4000 residues"),
        ("It is 101% identical.", "101 %"),
        ("It occurs in 120% of patients.", "120 %"),
        ("It is reduced by 150%.", "150 %"),
    ],
)
def test_implausible(text: str, value: str) -> None:
    found = problem(text)
    assert found is not None
    assert found.startswith(value), found


def test_length_and_mass_are_held_against_the_sequence() -> None:
    text = "It consists of 2,000 residues and has a molecular mass of 220 kDa."
    assert problem(text, 2000) is None
    assert problem(text, 300) is not None
    assert implausible(text, terms(text), 300, QaRules(length_ratio=10, mass_ratio=10)) is None
