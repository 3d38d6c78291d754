"""Wordings that ask for facts of some kinds: "What is its function?", "Where is it located?"."""

from protein2text.neighbours.facts import FACT_KINDS
from protein2text.neighbours.phrases import ACTS, CELL, IT, TELL, THIS, TOPIC, WHAT, any_of, noun

Kinds = tuple[str, ...]

_PROCESS = r"(?:biological |cellular |metabolic |physiological |biochemical )?(?:process(?:es)?|pathways?)"
_COMPARTMENT = r"(?:(?:sub)?cell(?:ular)? )?(?:compartment|organelle|part of the cell)"
_BOUND = r"(?:ligands?|(?:small )?molecules?|substances?|ions?)"
_BINDS = rf"(?:binds?|is bound|are bound) (?:(?:to|by) )?{IT}"
_DOMAIN = (
    r"(?:(?:protein|functional|structural|pfam|interpro) )?domains?(?: architecture| structure| composition)?|motifs?"
)
_METAL = "metals?|metal ions?"
_COFACTOR = "cofactors?|coenzymes?|prosthetic groups?"

OPEN: tuple[tuple[Kinds, Kinds, tuple[str, ...]], ...] = (
    (
        FACT_KINDS,
        (),
        (
            rf"(?:summari[sz]e )?what is known (?:about|of) {IT}",
            rf"(?:describe|annotate|summari[sz]e) {IT}",
            rf"tell me (?:all |everything )?about {IT}",
        ),
    ),
    (
        ("function", "biological_process"),
        (),
        (
            rf"{WHAT} role does {IT} play(?: in {TOPIC})?",
            *noun(r"(?:biological |physiological |cellular )(?:role|significance|importance|function)s?"),
        ),
    ),
    (
        ("function",),
        ("molecular_function", "biological_process", "name"),
        (
            rf"what does {IT} do{CELL}",
            rf"(?:tell me )?what {IT} does{CELL}",
            rf"how does {IT} (?:work|function)",
            *noun(r"functions?|roles?|purpose|significance|importance|job"),
        ),
    ),
    (
        ("name", "family"),
        (),
        (
            rf"what is {THIS}(?: called)?",
            rf"{WHAT} (?:kind|type|class|sort) of protein is {THIS}",
            rf"{WHAT} (?:protein|enzyme) is {THIS}",
            rf"what does {IT} act as",
            rf"identify {IT}",
            *noun("(?:protein )?names?"),
        ),
    ),
    (
        ("function", "ec", "reaction"),
        ("molecular_function",),
        (
            rf"{WHAT} (?:kind |type |class )?of enzyme is {THIS}",
            *noun(r"(?:(?:enzyme|enzymatic|catalytic|biochemical) )?activit(?:y|ies)"),
        ),
    ),
    (
        ("ec",),
        ("reaction", "function"),
        noun(r"(?:ec|enzyme commission)(?: numbers?| class(?:ification)?)?|enzyme class(?:ification)?"),
    ),
    (
        ("ec", "reaction"),
        ("function",),
        (
            rf"(?:{WHAT} (?:chemical )?reactions?|what) does {IT} cataly[sz]e",
            rf"{WHAT} (?:chemical )?reactions? (?:is|are) cataly[sz]ed by {IT}",
            *noun("(?:catalyzed |catalysed |chemical )?reactions?"),
        ),
    ),
    (
        ("function", "reaction"),
        ("ligand", "molecular_function"),
        (
            rf"{WHAT} substrates? does {IT} (?:use|act on|bind|convert)",
            rf"what does {IT} (?:produce|make|synthesi[sz]e|convert|act on)",
            rf"(?:{WHAT} (?:is|are)|{TELL}) the (?:substrates?|products?) of its reaction",
            *noun("substrates?(?: specificit(?:y|ies))?|(?:reaction )?products?"),
        ),
    ),
    (("function", "molecular_function"), (), noun("molecular functions?")),
    (
        ("biological_process",),
        ("function",),
        (
            rf"{WHAT} {_PROCESS} is {IT} (?:{ACTS} (?:in|for)|(?:a )?part of|in)",
            rf"{WHAT} {_PROCESS} does {IT} (?:take part in|participate in|belong to|act in|play a role in)",
            rf"in {WHAT} {_PROCESS} does {IT} (?:take part|participate|act|play a role)",
            rf"(?:in {WHAT} {_PROCESS}|what) is {IT} {ACTS}(?: in| for)?",
            *noun(_PROCESS),
        ),
    ),
    (
        ("location", "cellular_component"),
        (),
        (
            rf"where{CELL} is {IT}(?: (?:located|found|localized|localised|active|present))?{CELL}",
            rf"where{CELL} does {IT} (?:act|reside|work|occur|locali[sz]e|go)",
            rf"where (?:can|could|would|do) (?:I|we|you|one) find {IT}{CELL}",
            rf"in {WHAT} {_COMPARTMENT} is {IT}(?: located| found)?",
            rf"in {WHAT} {_COMPARTMENT} does {IT} (?:act|reside|work|occur|locali[sz]e)",
            rf"{WHAT} {_COMPARTMENT} is {IT} (?:located |found )?in",
            rf"{WHAT} {_COMPARTMENT} does {IT} (?:(?:act|reside|work|occur) in|locali[sz]e to|go to)",
            *noun(r"(?:(?:sub)?cellular )?(?:locations?|locali[sz]ation|compartments?)"),
        ),
    ),
    (
        ("cellular_component",),
        ("location",),
        (
            rf"{WHAT} cellular components? is {IT} (?:a )?part of",
            *noun("cellular components?"),
        ),
    ),
    (
        ("molecular_function", "biological_process", "cellular_component"),
        (),
        (
            rf"{WHAT} (?:go|gene ontology) terms (?:annotate|describe) {IT}",
            *noun(r"(?:go|gene ontology) (?:terms?|annotations?)"),
        ),
    ),
    (
        ("cofactor",),
        ("ligand",),
        (
            rf"{WHAT} (?:{_COFACTOR}|{_METAL}) does {IT} (?:need|require|use|bind|depend on)",
            rf"{WHAT} (?:{_COFACTOR}|{_METAL}) {_BINDS}",
            any_of(f"{_COFACTOR}|{_METAL}"),
            *noun(_COFACTOR),
        ),
    ),
    (
        ("cofactor", "ligand"),
        ("molecular_function", "function"),
        (
            rf"(?:{WHAT} {_BOUND}|what) does {IT} bind(?: to)?",
            rf"(?:{WHAT} {_BOUND}|what) {_BINDS}",
            rf"{WHAT} residues bind (?:the |its )?(?:ligands?|substrates?|cofactors?)",
            any_of("ligands?"),
            *noun("(?:ligand )?binding sites?|ligands?|binding partners?"),
        ),
    ),
    (("domain",), ("family",), (any_of(_DOMAIN), *noun(_DOMAIN))),
    (
        ("family",),
        ("domain", "name"),
        (
            rf"(?:to )?{WHAT} (?:protein )?(?:super|sub)?famil(?:y|ies) does {IT} belong(?: to)?",
            rf"(?:of )?{WHAT} (?:protein )?(?:super)?family is {IT} (?:(?:a |an )?(?:member|part)(?: of)?|in|from)",
            *noun("(?:protein )?(?:super)?famil(?:y|ies)"),
        ),
    ),
)
"""Kinds asked for, kinds that come nearest, and the wordings; the first that matches holds."""
