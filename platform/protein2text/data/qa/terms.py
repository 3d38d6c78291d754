"""The words of a text as grounding compares them: numbers with units, named things, content lemmas."""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import simplemma

from protein2text.data.qa.folding import GREEK_NAMES, fold
from protein2text.data.qa.word_lists import IONS, NEGATIONS, NUMBER_WORDS, ORDINARY, STOP_WORDS, UNITS

_NUMBER = r"[+-]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?"
_UNIT = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))
_TOKEN = re.compile(
    rf"""(?<![A-Za-z0-9À-ſ])(?:
      (?P<ec>(?:EC[\s:]*)?\d+\.(?:\d+|-)\.(?:\d+|-)\.(?:n?\d+|-)(?![\w]))
    | (?P<go>GO:\s?\d{{7}}\b)
    | (?P<ph>pH\s?(?:of|=)?\s?(?P<ph_value>{_NUMBER}))
    | (?P<ion>(?P<element>{"|".join(IONS)})(?P<charge>\(\d?[+-]\)|\d?\++|\d?-(?![\w(])|\((?:I{{1,3}}|IV|VI?)\)))
    | (?P<numbers>(?<!\w-){_NUMBER}(?:(?:\s?(?:,|-|±|/)\s?|\s(?:and|or|to)\s){_NUMBER})*)
      (?:(?:[\s-]?(?P<unit>{_UNIT})(?![A-Za-z0-9]))|(?![\w]|-[^\W\d]))
    | (?P<word>[A-Za-z0-9À-ſ]+(?:[-/'][A-Za-z0-9À-ſ]+)*)
    )""",
    re.VERBOSE,
)
_SINGLE_NUMBER = re.compile(_NUMBER)
_SPLIT = re.compile(r"[-/']")
_SYMBOL = re.compile(r"(?=.*\d)(?=.*[A-Za-z])|.+[A-Z]")
"""Letters with a digit, or a capital behind another letter: ``p53``, ``ATP``, ``mRNA``, ``CaM``."""
_NAMED_ENDING = re.compile(r"(?:ase|in)s?$")
_MAX_PARTS = 5

_SUFFIX = re.compile(
    r"(?<=\w{4})(?:at(?:ions?|ing|ed|es?|ors?|ory|ive)|ions?|ing|ed|[eo]rs?|ments?|it(?:y|ies)|ive|ous|al(?:ly)?|ic|ly|es?|y|s)$"
)

Kind = Literal["stop", "content", "rare", "named", "symbol", "greek", "digits", "letter"]
Number = tuple[str, str | None]
"""A value in canonical spelling and its unit."""


@dataclass
class Terms:
    """What a text speaks of."""

    numbers: set[Number] = field(default_factory=set)
    named: set[str] = field(default_factory=set)
    """EC numbers, GO ids, ions, symbols, Greek letters, and words in -ase and -in."""
    rare: set[str] = field(default_factory=set)
    """Lemmas of words of no dictionary: mostly names that do not look like any."""
    lemmas: set[str] = field(default_factory=set)
    """Lemmas of the content words."""
    sequence: list[str] = field(default_factory=list)
    """Lemmas, named things and numbers in order, without stop words but with negations."""
    pieces: set[str] = field(default_factory=set)
    """Every way to read the compounds: ``TNF-alpha-induced`` holds ``tnfalpha``. Only where they are asked for."""

    def __or__(self, other: "Terms") -> "Terms":
        return Terms(
            self.numbers | other.numbers,
            self.named | other.named,
            self.rare | other.rare,
            self.lemmas | other.lemmas,
            self.sequence + other.sequence,
            self.pieces | other.pieces,
        )


@lru_cache(maxsize=1 << 16)
def classify(part: str) -> tuple[str, Kind]:
    """Canonical form and kind of a word without hyphens, Greek by name."""
    lower = part.lower()
    if lower in STOP_WORDS:
        return lower, "stop"
    if lower in GREEK_NAMES:
        return lower, "greek"
    if part.isdigit():
        return part, "digits"
    if len(part) == 1:
        return lower, "letter"
    if _SYMBOL.match(part):
        return (lower[:-1] if part[-1] == "s" and part[-2].isupper() else lower), "symbol"
    lemma = str(simplemma.lemmatize(lower, lang="en")).lower()
    if lower in ORDINARY or lemma in ORDINARY:
        return lemma, "content"
    known = simplemma.is_known(lower, lang="en")
    if not known and lemma == lower and lower.endswith("s") and not lower.endswith(("ss", "us", "is")):
        lemma = lower[:-1]
    return lemma, "named" if _NAMED_ENDING.search(lower) else "content" if known else "rare"


@lru_cache(maxsize=1 << 16)
def stem(lemma: str) -> str:
    """What words of one family share: ``regulate``, ``regulation`` and ``regulator`` are ``regul``."""
    return _SUFFIX.sub("", lemma, count=1)


def terms(text: str, *, pieces: bool = False) -> Terms:
    """Read a text.

    Args:
        text: any; Greek, dashes and compatibility forms are folded here.
        pieces: fill ``pieces``, which only evidence needs.
    """
    found = Terms()
    for token in _TOKEN.finditer(fold(text)):
        kind = token.lastgroup if token.lastgroup != "unit" else "numbers"
        if kind == "word":
            _add_word(found, token.group(), pieces)
        elif kind == "numbers":
            unit = UNITS.get(token["unit"]) if token["unit"] else None
            for value in _SINGLE_NUMBER.findall(token["numbers"]):
                _add_number(found, canonical_number(value), unit)
        elif token["ph"]:
            _add_number(found, canonical_number(token["ph_value"]), "pH")
            found.pieces.add("ph")
        elif token["element"]:
            element = IONS[token["element"]]
            _add_named(found, f"{element}({canonical_charge(token['charge'])})")
            found.pieces.add(element)
        else:
            _add_named(found, re.sub(r"^ec|[\s:]", "", token.group().lower()))
    return found


def canonical_number(value: str) -> str:
    """``1,000.50`` and ``+1000.5`` are one number; a leading hyphen is a sign."""
    value = value.replace(",", "").lstrip("+")
    sign, digits = ("-", value[1:]) if value.startswith("-") else ("", value)
    whole, _, fraction = digits.partition(".")
    fraction = fraction.rstrip("0")
    return sign + (whole.lstrip("0") or "0") + (f".{fraction}" if fraction else "")


def canonical_charge(charge: str) -> str:
    """``++``, ``(2+)``, ``2+`` and ``(II)`` are one charge."""
    charge = charge.strip("()")
    roman = {"I": "1+", "II": "2+", "III": "3+", "IV": "4+", "V": "5+", "VI": "6+"}
    if charge in roman:
        return roman[charge]
    sign = charge[-1]
    digits = charge.rstrip("+-") or str(len(charge))
    return digits + sign


def _add_number(found: Terms, value: str, unit: str | None) -> None:
    found.numbers.add((value, unit))
    found.sequence.append(f"{value} {unit}" if unit else value)


def _add_named(found: Terms, name: str) -> None:
    found.named.add(name)
    found.sequence.append(name)


def _add_word(found: Terms, word: str, pieces: bool) -> None:
    lower = word.lower()
    if lower in NUMBER_WORDS:
        _add_number(found, NUMBER_WORDS[lower], None)
        return
    if lower in NEGATIONS or lower.endswith("n't"):
        found.sequence.append("not")
        return
    parts = [part for part in _SPLIT.split(word.removesuffix("'s")) if part] if not word.isalnum() else [word]
    group: list[str] = []
    holds_symbol = False
    for part in [*parts, ""]:
        form, kind = classify(part) if part else ("", "stop")
        if kind in ("symbol", "greek", "digits", "letter"):
            group.append(form)
            holds_symbol |= kind in ("symbol", "greek")
            continue
        if group and (holds_symbol or len(group) > 1):
            _add_named(found, "".join(group))
        group, holds_symbol = [], False
        if kind == "named":
            _add_named(found, form)
        elif kind in ("content", "rare"):
            (found.lemmas if kind == "content" else found.rare).add(form)
            found.sequence.append(form)
    if pieces:
        _add_pieces(found, parts)


def _add_pieces(found: Terms, parts: list[str]) -> None:
    forms = [classify(part)[0] for part in parts]
    found.pieces.update(forms)
    found.pieces.update(part.lower() for part in parts)
    if len(parts) > 1:
        for start in range(len(parts)):
            for end in range(start + 2, min(len(parts), start + _MAX_PARTS) + 1):
                found.pieces.add("".join(forms[start:end]))
    elif parts and len(parts[0]) > 1 and parts[0].isupper():
        found.lemmas.add(str(simplemma.lemmatize(parts[0].lower(), lang="en")).lower())
