"""The words of a text as grounding compares them: numbers with units, named things, content lemmas."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from protein2text.data.qa.folding import RECENT, fold
from protein2text.data.qa.lexicon import CACHED_WORDS, Kind, classify, lemma, stem
from protein2text.data.qa.word_lists import IONS, NEGATIONS, NUMBER_WORDS, UNITS

_UNSIGNED = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?"
_NUMBER = rf"[+-]?{_UNSIGNED}"
_UNIT = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))
_TOKEN = re.compile(
    rf"""(?<![A-Za-z0-9À-ſ])(?:
      (?P<simple>[A-Za-z][a-z]+(?![A-Za-z0-9À-ſ/'+(-]))
    | (?P<ec>(?:EC[\s:]*)?\d+\.(?:\d+|-)\.(?:\d+|-)\.(?:n?\d+|-)(?![\w]))
    | (?P<go>GO:\s?\d{{7}}\b)
    | (?P<ph>pH\s?(?:of|=)?\s?(?P<ph_value>{_NUMBER}))
    | (?P<ion>(?P<element>{"|".join(IONS)})(?P<charge>\(\d?[+-]\)|\d?\++|\d?-(?![\w(])|\((?:I{{1,3}}|IV|VI?)\)))
    | (?P<numbers>(?<!\w-){_NUMBER}(?:(?:\s?(?:,|-|±|/)\s?|\s(?:and|or|to)\s){_NUMBER})*)
      (?:(?:[\s-]?(?P<unit>{_UNIT})(?![A-Za-z0-9]))|(?![\w]|-[^\W\d]))
    | (?P<word>[A-Za-z0-9À-ſ]+(?:[-/'][A-Za-z0-9À-ſ]+)*)
    )""",
    re.VERBOSE,
)
_SINGLE_NUMBER = re.compile(rf"(?:(?<!\d)(?<!\d\s)[+-])?{_UNSIGNED}")
_LABEL = re.compile(r"^ec[\s:]*|\s")
_SPLIT = re.compile(r"[-/']")
_MAX_PARTS = 5
_CHARGES = {"I": "1+", "II": "2+", "III": "3+", "IV": "4+", "V": "5+", "VI": "6+"}

Number = tuple[str, str | None]
"""A value in canonical spelling and its unit."""


class Reading(NamedTuple):
    """What one token adds to the terms of a text."""

    lemmas: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    rare: tuple[str, ...] = ()
    numbers: tuple[Number, ...] = ()
    sequence: tuple[str, ...] = ()
    pieces: tuple[str, ...] = ()
    """Every way to read a compound: ``TNF-alpha-induced`` holds ``tnfalpha``."""
    stems: tuple[str, ...] = ()
    """Stems of ``pieces``."""


@dataclass(slots=True)
class Terms:
    """What a text speaks of."""

    lemmas: set[str] = field(default_factory=set)
    """Lemmas of the content words."""
    named: set[str] = field(default_factory=set)
    """EC numbers, GO ids, ions, symbols, Greek letters, chemicals, and words that end like one."""
    rare: set[str] = field(default_factory=set)
    """Lemmas of words of no dictionary: mostly names that do not look like any."""
    numbers: set[Number] = field(default_factory=set)
    sequence: list[str] = field(default_factory=list)
    """Words and numbers in order, and negations, which are no words otherwise."""

    @property
    def words(self) -> set[str]:
        """All but numbers."""
        return self.lemmas | self.named | self.rare

    def __or__(self, other: "Terms") -> "Terms":
        return Terms(
            self.lemmas | other.lemmas,
            self.named | other.named,
            self.rare | other.rare,
            self.numbers | other.numbers,
            self.sequence + other.sequence,
        )


def read(text: str) -> list[Reading]:
    """Read a text, whatever it holds, token by token; Greek, dashes and compatibility forms are folded here."""
    return [_read(token) for token in _TOKEN.finditer(fold(text))]


@lru_cache(RECENT)
def terms(text: str) -> Terms:
    """Read a text and gather what it speaks of; remembered, so not to be altered."""
    found = Terms()
    for reading in read(text):
        if not reading.sequence:
            continue
        found.sequence += reading.sequence
        if reading.lemmas:
            found.lemmas.update(reading.lemmas)
        if reading.named:
            found.named.update(reading.named)
        if reading.rare:
            found.rare.update(reading.rare)
        if reading.numbers:
            found.numbers.update(reading.numbers)
    return found


def _read(token: re.Match[str]) -> Reading:
    kind = token.lastgroup
    if kind == "simple" or kind == "word":
        return _word(token[0])
    if kind in ("numbers", "unit"):
        unit = UNITS.get(token["unit"] or "")
        return _number(*((canonical_number(value), unit) for value in _SINGLE_NUMBER.findall(token["numbers"])))
    if kind == "ph":
        return _number((canonical_number(token["ph_value"]), "pH"), pieces=("ph",))
    if kind == "ion":
        element = IONS[token["element"]]
        name = f"{element}({canonical_charge(token['charge'])})"
        return _named(name, element)
    return _named(_LABEL.sub("", token[0].lower()), "ec", "go")


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
    digits = charge.rstrip("+-") or str(len(charge))
    return _CHARGES.get(charge) or digits + charge[-1]


def _number(*numbers: Number, pieces: tuple[str, ...] = ()) -> Reading:
    sequence = tuple(f"{value} {unit}" if unit else value for value, unit in numbers)
    return Reading(numbers=numbers, sequence=sequence, pieces=pieces, stems=pieces)


def _named(*pieces: str) -> Reading:
    """A named thing, and what else it may be called."""
    return Reading(named=pieces[:1], sequence=pieces[:1], pieces=pieces, stems=tuple(stem(piece) for piece in pieces))


@lru_cache(CACHED_WORDS)
def _word(word: str) -> Reading:
    lower = word.lower()
    if lower in NUMBER_WORDS:
        return _number((NUMBER_WORDS[lower], None))
    if lower in NEGATIONS or lower.endswith("n't"):
        return Reading(sequence=("not",))
    parts = [part for part in _SPLIT.split(word.removesuffix("'s")) if part]
    forms = list(_forms(parts))
    pieces = tuple(sorted(_pieces(parts)))
    return Reading(
        lemmas=tuple(form for kind, form in forms if kind == "content"),
        named=tuple(form for kind, form in forms if kind == "named"),
        rare=tuple(form for kind, form in forms if kind == "rare"),
        sequence=tuple(form for _, form in forms),
        pieces=pieces,
        stems=tuple(stem(piece) for piece in pieces),
    )


def _forms(parts: list[str]) -> Iterator[tuple[Kind, str]]:
    """Kind (content, named or rare) and form of what a compound holds; symbols that stand together are one.

    A compound of nothing but digits and words that state nothing, ``TOO-0000``, is a name.
    """
    kinds = [classify(part) for part in parts]
    if len(kinds) > 1 and {kind for _, kind in kinds} == {"stop", "digits"}:
        yield "named", "".join(form for form, _ in kinds)
        return
    group: list[str] = []
    holds_symbol = False
    for form, kind in [*kinds, ("", "stop")]:
        if kind in ("symbol", "greek", "digits", "letter"):
            group.append(form)
            holds_symbol |= kind in ("symbol", "greek")
            continue
        if holds_symbol or len(group) > 1:
            yield "named", "".join(group)
        group, holds_symbol = [], False
        if kind != "stop":
            yield kind, form


def _pieces(parts: list[str]) -> set[str]:
    """Parts as they are and by form, neighbors together; a word in capitals, as of a heading, also as a word."""
    forms = [classify(part)[0] for part in parts]
    pieces = {*forms, *(part.lower() for part in parts)}
    for start in range(len(parts)):
        for end in range(start + 2, min(len(parts), start + _MAX_PARTS) + 1):
            pieces.add("".join(forms[start:end]))
    return pieces | {lemma(part.lower()) for part in parts if len(part) > 1 and part.isupper()}
