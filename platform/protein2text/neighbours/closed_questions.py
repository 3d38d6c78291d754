"""Wordings that name a value and ask whether it holds: "Does it bind zinc?", "Is it in the nucleus?"."""

from dataclasses import dataclass
from typing import Literal

from protein2text.neighbours.phrases import ACTS, COMPARTMENT, DOES, HAS, IN, IS, IT, VALUE, A

Relation = Literal["is", "binds", "states"]
"""What a closed question holds between protein and value: it is one, it binds it, or its entry states it."""
Kinds = tuple[str, ...]

_IDENTITY: Kinds = ("name", "ec", "reaction", "molecular_function", "family")
_NAMED: Kinds = ("name", "function", "family")
_PLACE: Kinds = ("location", "cellular_component")
_BOUND: Kinds = ("cofactor", "ligand")
_NEAR_BOUND: Kinds = ("function", *_BOUND)
_ACTIVITY: Kinds = ("reaction", "ec", "molecular_function")
_NEAR_ACTIVITY: Kinds = ("function", "ec", "reaction")
_PROCESS: Kinds = ("biological_process",)
_NEAR_PROCESS: Kinds = ("function", "biological_process")

PLACES = {
    "secreted": "secreted",
    "extracellular": "secreted",
    "membrane": "membrane",
    "membrane-bound": "membrane",
    "membrane-associated": "membrane",
    "transmembrane": "transmembrane",
    "integral membrane": "transmembrane",
    "nuclear": "nucleus",
    "nucleolar": "nucleolus",
    "cytoplasmic": "cytoplasm",
    "cytosolic": "cytosol",
    "mitochondrial": "mitochondrion",
    "lysosomal": "lysosome",
    "peroxisomal": "peroxisome",
    "periplasmic": "periplasm",
}
"""What is called so lies there."""
_PARTS = r"(?P<value>(?:[\w-]+ )?(?:zinc finger|leucine zipper|EF[- ]hand|homeobox))s?"
_CLUSTER = r"(?P<value>iron[-‐–]sulfu?r cluster|heme)s?"
_NUMBER = r"(?:EC )?(?P<value>\d+(?:\.(?:\d+|-)){0,3})"


@dataclass(frozen=True, slots=True)
class Closed:
    """Wordings that ask for one thing."""

    relation: Relation
    kinds: Kinds
    """In which the value is looked for."""
    otherwise: Kinds
    """Those told where it is in none."""
    wordings: tuple[str, ...]
    """Each names a ``value``, or a ``place`` of ``PLACES``, or nothing."""
    named: str = "{}"
    """What entries call it: of "Does it hydrolyze ATP?" ``ATP hydrolysis``."""


CLOSED: tuple[Closed, ...] = (
    Closed(
        "states",
        ("family", "domain"),
        ("family",),
        (
            rf"does {IT} belong to (?:the )?{VALUE} (?:protein )?(?:super)?family",
            rf"{IS} (?:(?:a )?(?:member|part) of|in|from) (?:the )?{VALUE} (?:protein )?(?:super)?family",
            rf"does {IT} belong to the (?P<value>[\w/-]+(?: [\w/-]+){{0,3}}s)",
        ),
    ),
    Closed(
        "states",
        _PLACE,
        _PLACE,
        (
            rf"{IS} (?:located|found|localized|localised|present|active|anchored|embedded) {IN}{VALUE}",
            rf"{IS} {IN}{COMPARTMENT}",
            rf"{DOES} (?:locali[sz]e|reside|occur|go) {IN}{VALUE}",
            rf"{DOES} act (?:in|at|inside|within) (?:the )?{VALUE}",
            rf"{IS} (?:a |an )?(?P<place>{'|'.join(PLACES)})(?: protein)?",
        ),
    ),
    Closed(
        "states",
        _PROCESS,
        _NEAR_PROCESS,
        (rf"{IS} (?:involved in regulating|a regulator of) (?:the )?{VALUE}", rf"{DOES} regulate (?:the )?{VALUE}"),
        named="regulation of {}",
    ),
    Closed(
        "states",
        _PROCESS,
        _NEAR_PROCESS,
        (
            rf"{IS} {ACTS} (?:in|for) (?:the )?{VALUE}(?: process| pathway)?",
            rf"{DOES} (?:take part|participate|(?:play|have) a role) in (?:the )?{VALUE}(?: process| pathway)?",
            rf"{IS} (?:(?:a )?part of|in) (?:the )?{VALUE} (?:process|pathway)",
        ),
    ),
    Closed(
        "states",
        ("cellular_component",),
        _PLACE,
        (rf"{IS} (?:a |an )?(?:part|subunit|component|constituent|member) of the {VALUE}",),
    ),
    Closed(
        "states",
        ("domain", "family"),
        ("domain", "family"),
        (
            rf"{DOES} {HAS} {A}{VALUE} (?:domain|motif|repeat|fold)s?",
            rf"is there {A}{VALUE} (?:domain|motif|repeat|fold) in {IT}",
            rf"{DOES} {HAS} {A}{_PARTS}",
        ),
    ),
    Closed(
        "is", _IDENTITY, _NAMED, (rf"{DOES} {HAS} {A}(?:enzym(?:e|atic)|catalytic) (?:activity|function)",), "enzyme"
    ),
    Closed("is", _IDENTITY, _NAMED, (rf"{DOES} {HAS} {A}{VALUE} activity",)),
    Closed(
        "is",
        ("ec",),
        _NEAR_ACTIVITY,
        (rf"is (?:its EC number|the EC number of {IT}|{IT}['’]s EC number) {_NUMBER}", rf"{IS} EC {_NUMBER}"),
    ),
    Closed("states", _ACTIVITY, _NEAR_ACTIVITY, (rf"{DOES} hydroly[sz]e (?:the )?{VALUE}",), named="{} hydrolysis"),
    Closed("states", _ACTIVITY, _NEAR_ACTIVITY, (rf"{DOES} cataly[sz]e (?:the )?{VALUE}",)),
    Closed(
        "binds",
        ("cofactor",),
        _NEAR_BOUND,
        (
            rf"{IS} (?:a |an )?{VALUE}[- ]dependent(?: protein)?",
            rf"{IS} dependent on {A}{VALUE}",
            rf"is (?:its cofactor|the cofactor of {IT}) {A}{VALUE}",
            rf"{DOES} use {A}{VALUE} as (?:a|its) cofactor",
        ),
    ),
    Closed(
        "binds",
        _BOUND,
        _NEAR_BOUND,
        (
            rf"{DOES} (?:need|require|use|depend on) (?!to ){A}{VALUE}(?: ions?)?(?: as (?:a|its) cofactor)?",
            rf"{DOES} {HAS} {A}{VALUE} (?:prosthetic )?groups?",
            rf"{DOES} {HAS} {A}{_CLUSTER}",
        ),
    ),
    Closed(
        "binds",
        (*_BOUND, "molecular_function"),
        _NEAR_BOUND,
        (
            rf"{DOES} (?:bind(?: to)?|coordinate|interact with) {A}{VALUE}(?: ions?)?",
            rf"{IS} (?:able to bind|capable of binding) (?:to )?{A}{VALUE}(?: ions?)?",
            rf"{IS} (?:a |an )?{VALUE}[- ](?:binding|containing)(?: protein)?",
            rf"{DOES} {HAS} {A}{VALUE}[- ]binding (?:site|pocket)s?",
            rf"does {VALUE} bind (?:to )?{IT}",
            rf"is {A}{VALUE} bound (?:to|by) {IT}",
            rf"is {VALUE} (?:a|the) (?:ligand|cofactor|substrate) of {IT}",
        ),
    ),
    Closed("is", _IDENTITY, _NAMED, (rf"(?:{IS}|{DOES} (?:act|function|work|serve) as) (?:a|an) {VALUE}",)),
)
"""The first wording that matches holds. A FUNCTION text is never looked in: it tells of other proteins as well. What it
mentions comes nearest."""
