"""Whether a fact says what a closed question names: "Does it bind zinc?", "Is it a kinase?"."""

import re

from protein2text.evaluate.facts import Vocabulary
from protein2text.neighbours.facts import Fact

_SYNONYMS: tuple[frozenset[str], ...] = tuple(
    map(
        frozenset,
        (
            ("calcium", "ca(2+)"),
            ("cobalt", "co(2+)"),
            ("copper", "cu cation", "cu(+)", "cu(2+)"),
            ("iron", "fe cation", "fe(2+)", "fe(3+)"),
            ("magnesium", "mg(2+)"),
            ("manganese", "mn(2+)"),
            ("nickel", "ni(2+)"),
            ("potassium", "k(+)"),
            ("sodium", "na(+)"),
            ("zinc", "zn(2+)"),
            ("nad", "nad(+)", "nadh"),
            ("nadp", "nadp(+)", "nadph"),
            ("heme", "haem", "heme b"),
            ("secreted", "extracellular region", "extracellular space"),
            ("cytoplasm", "cytosol"),
            ("golgi", "golgi apparatus"),
            ("signaling", "signalling", "signal transduction"),
        ),
    )
)
"""Names of one thing in questions and in UniProt, lower case."""
_EC_CLASSES = {
    "oxidoreductase": "1",
    "transferase": "2",
    "hydrolase": "3",
    "lyase": "4",
    "isomerase": "5",
    "ligase": "6",
    "translocase": "7",
}
_NOT_OF_THEIR_CLASS = frozenset(("urokinase", "enterokinase", "streptokinase", "staphylokinase"))
"""Called kinases, and none: a hexokinase is a kinase."""
_WORD = re.compile(r"\w+")


def says(fact: Fact, value: str) -> bool:
    """Whether a fact names a value as holding: in whole words, under any of its names, and not denied.

    An EC number says the class that its first digit stands for, and itself; a word that ends in the name of an enzyme
    is one of that kind. What a fact does not say may still be so.
    """
    named = value.casefold()
    if fact.kind == "ec" and (named in ("enzyme", fact.value.casefold()) or fact.value[:1] == _EC_CLASSES.get(named)):
        return True
    if fact.kind == "reaction" and named == "enzyme":
        return True
    if fact.term is not None and named == fact.term.casefold():
        return True
    names = {named}.union(*(group for group in _SYNONYMS if named in group))
    if named.endswith("ase"):
        words = _WORD.findall(fact.value.casefold())
        names |= {word for word in words if word.endswith(named) and word not in _NOT_OF_THEIR_CLASS}
    return bool(Vocabulary([{"named": frozenset(names)}]).asserted(fact.value))
