"""Which facts a question asks for: one small table of wordings, and None for everything else.

A wording must match the whole question. What is not in the table is not guessed at from its words: "Is its expression
significant in cancers?" names no fact that a homologue's entry could state.
"""

import re
from dataclasses import dataclass
from typing import Literal

from protein2text.neighbours.facts import FACT_KINDS

PROFILE_QUESTION = "What is known about this protein?"
"""Asks for facts of every kind."""
EXAMPLES = (
    "What is the function of this protein?",
    "Which reaction does it catalyze?",
    "Where is it located?",
    "What does it bind?",
    "Which cofactor does it need?",
    "Which domains does it have?",
    "Which family does it belong to?",
    "Is it a kinase?",
    PROFILE_QUESTION,
)
"""Questions inside the grammar, for whoever asked one outside it."""

Kinds = tuple[str, ...]
Relation = Literal["is", "binds", "states"]
"""What a closed question holds between protein and value: it is one, it binds it, or its entry states it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The kinds of facts that a question asks for, in the order of the answer."""

    kinds: Kinds
    value: str | None = None
    """What a closed question names: ``zinc`` in "Does it bind zinc?"; None for an open one."""
    otherwise: Kinds = ()
    """Kinds that come nearest, for when no homologue states any of the others, or none fits the value."""
    relation: Relation = "states"


_IT = r"(?:(?:(?:this|the|that|my|our) (?:given )?(?:protein|enzyme|sequence|polypeptide|gene product))|it)"
_WHAT = r"(?:what|which)"
_TELL = r"(?:describe|explain|name|list|give|state|predict)"
_HAS = r"(?:have|has|contain|carry|possess|include)"
_IN = r"(?:in|at|on|to|inside|within) (?:the |a |an )?"
_PROCESS = r"(?:biological |cellular |metabolic |physiological |biochemical )?(?:process(?:es)?|pathways?)"
_QUESTION_WORDS = r"and|or|where|what|which|who|whose|how|why|when|whether|is|are|does|do|can"
_TOPIC = rf"(?:(?!(?:{_QUESTION_WORDS})\b)[\w'’/-]+)(?: (?!(?:{_QUESTION_WORDS})\b)[\w'’/-]+){{0,5}}"
"""At most six words that begin no second question."""
_ACTS = r"(?:involved|required|needed|implicated|engaged)"


def _noun(noun: str) -> tuple[str, ...]:
    """The wordings that ask for a noun of the protein."""
    owned = rf"(?:(?:the )?(?:{noun}) of {_IT}|{_IT}['’]s (?:{noun})|its (?:{noun}))"
    return rf"{_WHAT} (?:is|are) {owned}", rf"{_TELL} {owned}", rf"{_WHAT} (?:{noun}) does {_IT} {_HAS}"


_OPEN: tuple[tuple[Kinds, Kinds, tuple[str, ...]], ...] = (
    (
        FACT_KINDS,
        (),
        (rf"what is known (?:about|of) {_IT}", rf"(?:describe|annotate) {_IT}", rf"tell me (?:all )?about {_IT}"),
    ),
    (
        ("function", "biological_process"),
        (),
        (
            rf"{_WHAT} role does {_IT} play(?: in {_TOPIC})?",
            *_noun(r"(?:biological |physiological |cellular )(?:role|significance|importance|function)s?"),
        ),
    ),
    (
        ("function",),
        ("molecular_function", "biological_process", "name"),
        (rf"what does {_IT} do", *_noun(r"(?:general |main )?(?:functions?|roles?|purpose|significance|importance)")),
    ),
    (
        ("name", "family"),
        (),
        (
            rf"what is (?:{_IT}|this)",
            rf"{_WHAT} (?:kind|type|class|sort) of protein is (?:{_IT}|this)",
            rf"{_WHAT} (?:protein|enzyme) is (?:{_IT}|this)",
            rf"what does {_IT} act as",
            rf"identify {_IT}",
            *_noun("(?:protein )?names?"),
        ),
    ),
    (
        ("function", "ec", "reaction"),
        ("molecular_function",),
        (
            rf"{_WHAT} (?:kind |type |class )?of enzyme is (?:{_IT}|this)",
            *_noun(r"(?:(?:enzyme|enzymatic|catalytic|biochemical) )?activit(?:y|ies)"),
        ),
    ),
    (("ec",), ("reaction", "function"), _noun(r"(?:ec|enzyme commission)(?: numbers?)?|enzyme class(?:ification)?")),
    (
        ("ec", "reaction"),
        ("function",),
        (
            rf"(?:{_WHAT} (?:chemical )?reactions?|what) does {_IT} cataly[sz]e",
            rf"{_WHAT} (?:chemical )?reactions? (?:is|are) cataly[sz]ed by {_IT}",
            *_noun("(?:catalyzed |catalysed |chemical )?reactions?"),
        ),
    ),
    (
        ("function", "reaction"),
        ("ligand", "molecular_function"),
        (
            rf"{_WHAT} substrates? does {_IT} (?:use|act on|bind|convert)",
            *_noun("substrates?(?: specificit(?:y|ies))?"),
        ),
    ),
    (("function", "molecular_function"), (), _noun("molecular functions?")),
    (
        ("biological_process",),
        ("function",),
        (
            rf"{_WHAT} {_PROCESS} is {_IT} (?:{_ACTS} (?:in|for)|(?:a )?part of)",
            rf"{_WHAT} {_PROCESS} does {_IT} (?:take part in|participate in|belong to|act in)",
            rf"(?:in {_WHAT} {_PROCESS}|what) is {_IT} {_ACTS}(?: in| for)?",
            *_noun(_PROCESS),
        ),
    ),
    (
        ("location", "cellular_component"),
        (),
        (
            rf"where(?: in the cell| in cells)? is {_IT}(?: (?:located|found|localized|localised|active|present))?",
            rf"where(?: in the cell| in cells)? does {_IT} (?:act|reside|work|occur|locali[sz]e|go)",
            rf"in {_WHAT} (?:compartment|organelle|part of the cell) is {_IT}(?: located| found)?",
            *_noun(r"(?:(?:sub)?cellular )?(?:locations?|locali[sz]ation|compartments?)"),
        ),
    ),
    (
        ("cellular_component",),
        ("location",),
        (rf"{_WHAT} cellular components? is {_IT} (?:a )?part of", *_noun("cellular components?")),
    ),
    (
        ("molecular_function", "biological_process", "cellular_component"),
        (),
        _noun(r"(?:go|gene ontology) (?:terms?|annotations?)"),
    ),
    (
        ("cofactor",),
        ("ligand",),
        (
            rf"{_WHAT} (?:cofactors?|coenzymes?|metals?|metal ions?) does {_IT} (?:need|require|use|bind|depend on)",
            *_noun("cofactors?|coenzymes?|prosthetic groups?"),
        ),
    ),
    (
        ("cofactor", "ligand"),
        ("molecular_function", "function"),
        (
            rf"(?:{_WHAT} (?:ligands?|molecules?|substances?|ions?)|what) does {_IT} bind(?: to)?",
            rf"(?:{_WHAT} (?:ligands?|molecules?|ions?)|what) (?:binds?|is bound|are bound) (?:to|by) {_IT}",
            *_noun("(?:ligand )?binding sites?|ligands?|binding partners?"),
        ),
    ),
    (
        ("domain",),
        ("family",),
        _noun(r"(?:protein |functional |structural )?domains?(?: architecture| structure| composition)?|motifs?"),
    ),
    (
        ("family",),
        ("domain", "name"),
        (
            rf"(?:to )?{_WHAT} (?:protein )?(?:super|sub)?famil(?:y|ies) does {_IT} belong(?: to)?",
            rf"(?:of )?{_WHAT} (?:protein )?(?:super)?family is {_IT} (?:a |an )?(?:member|part)(?: of)?",
            *_noun("(?:protein )?(?:super)?famil(?:y|ies)"),
        ),
    ),
)
"""Kinds asked for, kinds that come nearest, and the wordings; the first that matches holds."""

_V = r"(?P<value>[\w()+./,'’-]+(?: [\w()+./,'’-]+){0,5}?)"
_A = r"(?:a |an |any |the |one )?"
_IDENTITY: Kinds = ("name", "ec", "reaction", "molecular_function", "family")
_NAMED: Kinds = ("name", "function", "family")
_PLACE: Kinds = ("location", "cellular_component")
_BOUND: Kinds = ("cofactor", "ligand")
_NEAR_BOUND: Kinds = ("function", *_BOUND)

_PLACES = {
    "secreted": "secreted",
    "membrane": "membrane",
    "nuclear": "nucleus",
    "cytoplasmic": "cytoplasm",
    "cytosolic": "cytosol",
    "mitochondrial": "mitochondrion",
}
"""What is called so lies there."""

_CLOSED: tuple[tuple[Relation, Kinds, Kinds, tuple[str, ...]], ...] = (
    (
        "states",
        ("family", "domain"),
        ("family",),
        (
            rf"does {_IT} belong to (?:the )?{_V} (?:protein )?(?:super)?family",
            rf"is {_IT} (?:a )?(?:member|part) of (?:the )?{_V} (?:protein )?(?:super)?family",
        ),
    ),
    (
        "states",
        _PLACE,
        _PLACE,
        (
            rf"(?:is|can) {_IT} (?:be )?(?:located|found|localized|localised|present|active) {_IN}{_V}",
            rf"does {_IT} (?:locali[sz]e|reside|occur|act) {_IN}{_V}",
            rf"is {_IT} (?:a |an )?(?P<place>{'|'.join(_PLACES)})(?: protein)?",
        ),
    ),
    (
        "states",
        ("biological_process",),
        ("function", "biological_process"),
        (rf"(?:is {_IT} {_ACTS} (?:in|for)|does {_IT} (?:take part|participate|play a role) in) (?:the )?{_V}",),
    ),
    ("states", ("domain", "family"), ("domain", "family"), (rf"does {_IT} {_HAS} {_A}{_V} (?:domain|motif|repeat)s?",)),
    ("is", _IDENTITY, _NAMED, (rf"does {_IT} {_HAS} {_A}{_V} activity",)),
    (
        "states",
        ("reaction", "ec", "molecular_function"),
        ("function", "ec", "reaction"),
        (rf"(?:does|can) {_IT} cataly[sz]e (?:the )?{_V}",),
    ),
    (
        "binds",
        _BOUND,
        _NEAR_BOUND,
        (rf"does {_IT} (?:need|require|use|depend on) {_A}{_V}(?: as (?:a|its) cofactor)?",),
    ),
    (
        "binds",
        (*_BOUND, "molecular_function"),
        _NEAR_BOUND,
        (rf"(?:does|can) {_IT} bind (?:to )?{_A}{_V}", rf"is {_V} (?:a|the) (?:ligand|cofactor|substrate) of {_IT}"),
    ),
    ("is", _IDENTITY, _NAMED, (rf"(?:is|does) (?:{_IT}|this) (?:act as |function as )?(?:a|an) {_V}",)),
)
"""Relation, kinds in which a value is looked for, those told where it is in none, and the wordings that name one.

A FUNCTION text is never looked in: it tells of other proteins as well. What it mentions comes nearest."""

_SEVERAL = re.compile(rf"\b(?:{_QUESTION_WORDS}|but|than|both|same)\b|,", re.IGNORECASE)


def read_question(text: str) -> Asked | None:
    """What a question asks for; None when it is outside the grammar.

    Args:
        text: one question, without placeholders of proteins.
    """
    question = " ".join(text.split()).removeprefix("Please ").rstrip(" ?.!")
    for kinds, otherwise, wordings in _OPEN_TABLE:
        if any(wording.fullmatch(question) for wording in wordings):
            return Asked(kinds, otherwise=otherwise)
    for relation, kinds, otherwise, wordings in _CLOSED_TABLE:
        for wording in wordings:
            if found := wording.fullmatch(question):
                named = found.groupdict()
                value = _PLACES[named["place"].lower()] if named.get("place") else named["value"]
                return None if _SEVERAL.search(value) else Asked(kinds, value, otherwise, relation)
    return None


def _compiled(wordings: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(wording, re.IGNORECASE) for wording in wordings)


_OPEN_TABLE = tuple((kinds, otherwise, _compiled(wordings)) for kinds, otherwise, wordings in _OPEN)
_CLOSED_TABLE = tuple(
    (relation, kinds, otherwise, _compiled(wordings)) for relation, kinds, otherwise, wordings in _CLOSED
)
