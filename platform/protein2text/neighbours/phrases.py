"""Words that questions about a protein share, as parts of regular expressions: the protein itself, hedges, verbs."""

IT = (
    r"(?:(?:this|the|that|my|our) (?:given )?(?:protein|enzyme|sequence|polypeptide|gene product)"
    r"(?: sequence| with this sequence)?|it)"
)
THIS = rf"(?:{IT}|this)"
_MAY = r"(?:can|could|might|may|would|will)"
IS = rf"(?:is {THIS}|{_MAY} {THIS} be)"
DOES = rf"(?:does|{_MAY}) {THIS}"
WHAT = r"(?:what|which)"
TELL = r"(?:describe|explain|name|list|give|state|predict|summari[sz]e|show|(?:tell|give|show) me)"
HAS = r"(?:have|has|contain|carry|possess|include|show|exhibit)"
IN = r"(?:in|at|on|to|inside|within) (?:the |a |an )?"
A = r"(?:a |an |any |the |one )?"
ACTS = r"(?:involved|required|needed|implicated|engaged)"
CELL = r"(?: in (?:the |a )?cells?)?"
HEDGE = r"(?:(?:likely|probable|possible|predicted|expected|known|main|primary|general|overall|conserved) ){0,2}"
QUESTION_WORDS = r"and|or|where|what|which|who|whose|how|why|when|whether|is|are|does|do|can"
TOPIC = rf"(?:(?!(?:{QUESTION_WORDS})\b)[\w'’/-]+)(?: (?!(?:{QUESTION_WORDS})\b)[\w'’/-]+){{0,5}}"
"""At most six words that begin no second question."""
VALUE = r"(?P<value>[\w()+./,'’-]+(?: [\w()+./,'’-]+){0,5}?)"
"""What a closed question names, in at most six words."""
COMPARTMENT = (
    r"(?P<value>(?:(?!(?:this|that|no|all|every|which|what)\b)[\w-]+ ){0,2}"
    r"(?:nucle(?:us|i|olus|oli|oid)|cyto(?:plasm|sol|skeleton)|membranes?|mitochondri(?:on|a)|cell (?:surface|wall)|"
    r"envelope|endoplasmic reticulum|ER|golgi(?: apparatus)?|lysosomes?|peroxisomes?|vacuoles?|(?:endo|phago)somes?|"
    r"chloroplasts?|plastids?|thylakoids?|stroma|periplasm|matrix|lumen|vesicles?|granules?|cili(?:um|a)|flagell(?:um|a)|"
    r"centrosomes?|spindle|chromosomes?|synapses?|axons?|dendrites?|extracellular space|intermembrane space|virion))"
)
"""A place in the cell; it tells "Is it in the nucleus?" from "Is it in the news?"."""


def noun(named: str) -> tuple[str, ...]:
    """The wordings that ask for a noun of the protein, down to the bare noun."""
    some = rf"{HEDGE}(?:{named})"
    owned = rf"(?:(?:the )?{some}(?: of {IT})?|{IT}['’]s {some}|its {some})"
    return (
        rf"(?:{WHAT} (?:is|are) |{TELL} )?{owned}",
        rf"{WHAT} {some} does {IT} (?:{HAS}|perform|serve|fulfil|carry out)",
        rf"{WHAT} {some} (?:is|are) (?:present|found|known|assigned|annotated) (?:in|for|to|of) {IT}",
    )


def any_of(named: str) -> str:
    """The wording that asks whether the protein has such a thing at all; the thing itself answers it."""
    return rf"does {IT} (?:{HAS}|need|require|use|bind) (?:a |an |any )?{HEDGE}(?:{named})"
