"""Whether a fact says what a closed question names: "Does it bind zinc?", "Is it a kinase?".

A word that merely occurs says nothing: an inhibitor of kinases is no kinase, and what is ATP-independent binds no ATP.
"""

import re
from collections.abc import Iterable

from protein2text.evaluate.facts import Vocabulary
from protein2text.neighbours.closed_questions import Relation
from protein2text.neighbours.facts import Fact

_TYPES = ("", *(f"type {number} " for number in ("i", "ii", "iii", "iv")))
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
            ("nucleus", "nuclei"),
            ("mitochondrion", "mitochondria", "mitochondrial"),
            ("endoplasmic reticulum", "er"),
            ("plasma membrane", "cell membrane"),
            ("periplasm", "periplasmic space"),
            ("cilium", "cilia"),
            ("flagellum", "flagella"),
            ("transmembrane", "multi-pass membrane protein", *(f"single-pass {t}membrane protein" for t in _TYPES)),
            ("signaling", "signalling", "signal transduction"),
            ("apoptosis", "apoptotic", "apoptotic process"),
            ("glycolysis", "glycolytic", "glycolytic process"),
            ("citric acid cycle", "tricarboxylic acid cycle", "tca cycle", "krebs cycle"),
            ("translation", "protein synthesis"),
            ("regulation of transcription", "regulation of dna-templated transcription"),
            ("protease", "proteinase", "peptidase"),
            ("atpase", "atp hydrolysis", "hydrolysis of atp"),
            ("gtpase", "gtp hydrolysis", "hydrolysis of gtp"),
            ("iron-sulfur cluster", "[2fe-2s] cluster", "[3fe-4s] cluster", "[4fe-4s] cluster"),
            ("pyridoxal phosphate", "pyridoxal 5'-phosphate", "plp"),
        ),
    )
)
"""Names of one thing in questions and in UniProt, lower case."""
_PROTEIN_KINASES = ("2.7.10", "2.7.11", "2.7.12", "2.7.13", "2.7.14")
_EC_CLASSES: dict[str, tuple[str, ...]] = {
    "oxidoreductase": ("1",),
    "transferase": ("2",),
    "methyltransferase": ("2.1.1",),
    "kinase": ("2.7.1", "2.7.2", "2.7.3", "2.7.4", "2.7.6", "2.7.9", *_PROTEIN_KINASES),
    "protein kinase": _PROTEIN_KINASES,
    "glycosyltransferase": ("2.4",),
    "aminotransferase": ("2.6.1",),
    "hydrolase": ("3",),
    "esterase": ("3.1",),
    "phosphatase": ("3.1.3",),
    "glycosidase": ("3.2.1",),
    "protease": ("3.4",),
    "peptidase": ("3.4",),
    "proteinase": ("3.4",),
    "serine protease": ("3.4.21",),
    "metalloprotease": ("3.4.17", "3.4.24"),
    "gtpase": ("3.6.5",),
    "lyase": ("4",),
    "isomerase": ("5",),
    "ligase": ("6",),
    "translocase": ("7",),
}
_NOT_OF_THEIR_CLASS = re.compile(
    r"(?:anti|pseudo)\w+|(?:uro|entero|strepto|staphylo)kinase|peroxidase|oxidoreductase", re.IGNORECASE
)
"""Words that end like an enzyme's and are none of that kind: urokinase is no kinase, a peroxidase no oxidase."""
_DOUBT = re.compile(
    r"\b(?:unlikely|likely|might|may|could|possibl[ye]|probabl[ye]|putative|perhaps|potential(?:ly)?|presumabl[ye]|"
    r"predicted|suggested|inactive|pseudo\w*|lacks?|lost)\b",
    re.IGNORECASE,
)
_DENIED = (
    r"\binactive (?:[\w/-]+[ -]){{0,3}}{named}|\bpseudo-?(?:{names})|\b(?:catalytic|enzymatic)ally inactive\b|"
    r"\b(?:lack(?:s|ing)?|without|devoid of|no|not (?:have|possess|show|exhibit))(?: [\w/-]+){{0,3}}? {named} activity"
)
"""Words that deny an activity of the protein itself; "converts Rho to its inactive form" does not."""
_GREEK = "alpha|beta|gamma|delta|epsilon|zeta|eta|theta|iota|kappa|lambda|mu|nu|sigma|omega"
_DESIGNATION = (
    r"(?!\S*(?i:inhibit|phosphatas|anchor|bind|interact|activat|like|associat|substrat|regulat|recept|relat))"
    rf"(?:\S*\d\S*|[A-Z]|\S*[A-Z]\S*[A-Z]\S*|[A-Z][a-z]{{1,2}}|(?:{_GREEK})|(?i:[A-Z]-type|type|isoform|isozyme|form|"
    r"homolog|chain|precursor|member|protein(?= family)|(?:super|sub)?family))"
)
"""A word behind a noun that tells which of its kind: 1, ABL1, alpha, B-type; not one that names another thing."""
_TAIL = rf"(?:[ -]{_DESIGNATION})*(?=\s*(?:[,.;(\[]|$))"
_ACTIVITY = r"(?i: activity)?(?=,|$)"
_IONS = r"(?: (?:ions?|cations?|anions?|filaments?|molecules?))?"
_NO_COMPOUND = r"(?![-‐](?!type\b)\w)"
"""ATP-independent is not ATP; C2H2-type is C2H2."""
_OF = re.compile(r"\b(?:of|for|to|by|with|from|in|against)\b", re.IGNORECASE)
"""Behind it stands what is inhibited, regulated or bound, not what the protein is."""


def says(fact: Fact, value: str, relation: Relation = "states") -> bool:
    """Whether a fact names a value as holding: under any of its names, neither denied nor in doubt.

    What the protein ``is`` must be the head of its name or family, the activity of a GO term, or the class of its EC
    number; what it ``binds`` must be a cofactor, a ligand, or all that a GO term says is bound. A word that ends in the
    name of an enzyme is one of that kind. What a fact does not say may still be so. The prose of a function says
    nothing here, but see ``mentions``.
    """
    named = value.casefold()
    if fact.kind == "function":
        return False
    if fact.term is not None and named == fact.term.casefold():
        return True
    if fact.kind == "ec":
        return named == "enzyme" or _is_of_class(fact.value, named)
    if fact.kind == "reaction" and relation == "is":
        return named == "enzyme"
    if _DOUBT.search(fact.value):
        return False
    names = "|".join(re.escape(name) for name in sorted(_names(named), key=len, reverse=True))
    if relation == "is":
        return _is_called(fact, named, names)
    tail = ""
    if relation == "binds" and fact.kind == "molecular_function":
        tail = rf"{_IONS} binding(?=,| involved in |$)"
    pattern = re.compile(rf"(?<![\w.])(?<![^\W\dLD]-)(?:{names})(?!\w)(?!\.\d){_NO_COMPOUND}{tail}", re.IGNORECASE)
    return any(_asserted(fact.value, match[0]) for match in pattern.finditer(fact.value))


def mentions(fact: Fact, value: str) -> bool:
    """Whether a value stands in the words of a fact, whatever is said of it."""
    names = _names(value.casefold())
    return any(re.search(rf"(?<!\w){re.escape(name)}", fact.value, re.IGNORECASE) for name in names) or (
        value.casefold().endswith("ase") and value.casefold() in fact.value.casefold()
    )


def denial(facts: Iterable[Fact], value: str) -> str | None:
    """The sentence in which facts of one entry deny that its protein is active as a value, if they do.

    A family holds members that lost its activity: "Inactive tyrosine-protein kinase 7" is in the protein kinase family.
    """
    names = "|".join(map(re.escape, sorted(_names(value.casefold()), key=len, reverse=True)))
    named = rf"(?:\w*(?:{names})|(?:catalytic|enzym)\w*)"
    denied = re.compile(_DENIED.format(named=named, names=names), re.IGNORECASE)
    for fact in facts:
        if fact.kind in ("name", "family", "function"):
            for sentence in re.split(r"(?<=[.;]) ", fact.value):
                if denied.search(sentence):
                    return sentence.rstrip(" .;")
    return None


def _names(named: str) -> set[str]:
    singular = re.sub(r"(?<=[a-z]{4}[^siu])s$", "", named)
    return {named, singular}.union(*(group for group in _SYNONYMS if named in group or singular in group))


def _is_of_class(number: str, named: str) -> bool:
    """Whether an EC number is of the class that a word, or the beginning of a number, names."""
    classes = _EC_CLASSES.get(named, (re.sub(r"(?:\.-)+$", "", named),))
    return any(f"{number}.".startswith(f"{prefix}.") for prefix in classes)


def _is_called(fact: Fact, named: str, names: str) -> bool:
    """Whether a value is the head of a name or family, or the activity of a molecular function."""
    before = r"(?<![\w.])(?<!non-)(?<!anti-)" if not named.endswith("ase") else r"(?<!non-)(?<!anti-)\b\w*?"
    tail = _ACTIVITY if fact.kind == "molecular_function" else _TAIL
    for part in re.split(r"(?<=[.;]) ", fact.value) if fact.kind == "family" else [fact.value]:
        for match in re.finditer(rf"(?P<word>{before}(?i:{names}))(?!\w){tail}", part):
            word = match["word"].casefold()
            own = _NOT_OF_THEIR_CLASS.fullmatch(word) is None or word == named
            if own and not _OF.search(part[: match.start()]) and _asserted(part, match["word"]):
                return True
    return False


def _asserted(text: str, name: str) -> bool:
    return bool(Vocabulary([{"named": frozenset({name.casefold()})}]).asserted(text))
