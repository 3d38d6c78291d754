"""Whether stated quantities can be true: of this sequence, or of any protein (R13)."""

import re

from protein2text.data.qa.folding import fold
from protein2text.data.qa.rules import QaRules
from protein2text.data.qa.terms import Terms

MEAN_RESIDUE_KDA = 0.1105
"""Mean mass of a residue in kDa, over the composition of Swiss-Prot."""
PH_RANGE = (0.0, 14.0)
CELSIUS_RANGE = (-200.0, 200.0)
"""Liquid nitrogen to well above what any protein survives."""
MIN_KDA = 0.3
"""Three residues; a protein said to be lighter is given in Da where kDa was meant."""
MAX_KDA = 10_000.0
"""Above this complexes are weighed in MDa; a protein of 45 kDa written as 45,000 kDa is far above it."""

_IN_KDA = {"Da": 0.001, "kDa": 1.0, "MDa": 1000.0}
_NUMBER = r"(?P<value>\d[\d,]*(?:\.\d+)?)"
_ABOUT = r"(?:(?:an?|about|approximately|around|roughly|nearly|only|of|the|total|~)\s*)*"
_LENGTH = re.compile(
    r"\b(?:(?P<whole>consist(?:s|ing) of|composed of|is|encod(?:es|ing)|length of)|"
    rf"compris(?:es|ing)|contain(?:s|ing)|has|with|spans)\s+{_ABOUT}{_NUMBER}[\s-]?(?:amino[\s-]acids?|residues?|aa)\b"
)
_MASS = re.compile(
    rf"\b(?:mass|weight)\b[^.;]{{0,40}}?\b{_NUMBER}[\s-]?(?P<unit>kDa|Da|MDa|kD|kilodaltons?|daltons?)\b"
)
_PART_OR_WHOLE = re.compile(
    r"\b(?:domain|fragment|region|peptide|segment|motif|loop|tail|repeat|insert|extension|terminus|terminal|signal|isoform|"
    r"product|complex|oligomer|multimer|polymer|subunits|(?:di|tri|tetra|penta|hexa|octa|deca|dodeca)mer)\w*\b",
    re.IGNORECASE,
)
_OF_A_WHOLE = re.compile(
    r"%?\s*(?:identi|similar|homolog|coverage|"
    r"of (?:the |all |these )?(?:patient|cell|case|individual|residue|protein|sample|population))"
)
_LESS = re.compile(r"\b(?:reduc|decreas|declin|diminish|inhibit|lower|loss)\w*", re.IGNORECASE)
_MORE = re.compile(r"\b(?:increas|higher|more|elevat|enhanc|rais|gain|compar|relative|control)\w*", re.IGNORECASE)


def implausible(text: str, stated: Terms, num_residues: int, rules: QaRules) -> str | None:
    """The first quantity that cannot be true, with the value and the limit.

    Args:
        text: question and answer.
        stated: their terms.
        num_residues: length of the protein.
        rules: how far a stated length or mass may lie from that of the sequence.
    """
    if not stated.numbers:
        return None
    for value, unit in sorted(stated.numbers, key=str):
        if unit is not None and (problem := _impossible(float(value), unit, text)):
            return problem
    folded = fold(text)
    return _length(folded, num_residues, rules.length_ratio) or _mass(folded, num_residues, rules.mass_ratio)


def _impossible(value: float, unit: str, text: str) -> str | None:
    if unit == "pH" and not PH_RANGE[0] <= value <= PH_RANGE[1]:
        return f"pH {value:g}; 0 to 14"
    if unit == "degC" and not CELSIUS_RANGE[0] <= value <= CELSIUS_RANGE[1]:
        return f"{value:g} °C; {CELSIUS_RANGE[0]:g} to {CELSIUS_RANGE[1]:g} °C"
    if unit in ("kDa", "Da") and not 0 < value * _IN_KDA[unit] <= MAX_KDA:
        return f"{value:g} {unit}; above 0 and up to {MAX_KDA:g} kDa"
    is_part = _LESS.search(text) or _OF_A_WHOLE.search(text)
    if unit == "%" and value > 100 and is_part and not _MORE.search(text):
        return f"{value:g} %; a part of a whole is at most 100 %"
    return None


def _length(text: str, num_residues: int, ratio: float) -> str | None:
    for found in _LENGTH.finditer(text):
        value = float(found["value"].replace(",", ""))
        too_short = found["whole"] and value * ratio < num_residues and not _PART_OR_WHOLE.search(text)
        if value > num_residues * ratio or too_short:
            return f"{value:g} residues; the sequence has {num_residues}, and they may differ {ratio:g}-fold"
    return None


def _mass(text: str, num_residues: int, ratio: float) -> str | None:
    expected = num_residues * MEAN_RESIDUE_KDA
    for found in _MASS.finditer(text):
        unit = {"k": "kDa", "M": "MDa"}.get(found["unit"][0], "Da")
        mass = float(found["value"].replace(",", "")) * _IN_KDA[unit]
        if mass < MIN_KDA:
            return f"{found['value']} {unit}; a protein weighs at least {MIN_KDA:g} kDa"
        if not expected / ratio <= mass <= expected * ratio and not _PART_OR_WHOLE.search(text):
            limit = f"the sequence weighs about {expected:.3g} kDa, and they may differ {ratio:g}-fold"
            return f"{found['value']} {unit}; {limit}"
    return None
