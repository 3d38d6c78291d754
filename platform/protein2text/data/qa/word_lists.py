"""Closed lists of English and of units that the checks go by."""


def _words(text: str) -> list[str]:
    return text.split()


STOP_WORDS = frozenset(
    _words("""
    a an the this that these those it its itself they them their theirs he she his her we our us i me my
    and or but so yet as if than then because while when where whether which who whom whose what why how
    of in on at by for to from with into onto upon about over under between among across along during within via
    through after before against toward towards per like unlike around near
    is are was were be been being am do does did done has have had having can could may might must shall should
    will would also only just very more most much many some any each every both all such same other another own
    either there here up out off again further once too well even still already often generally usually
    typically respectively thus therefore hence however moreover furthermore yes
    protein proteins known called one ones et al
    """)
)
"""Words that carry no statement of their own; negations are not among them. ``protein`` refers to the subject."""

NEGATIONS = frozenset(_words("no not nor neither never none without cannot"))
"""They turn a statement round: no evidence is asked for them, but pairs that differ in one are no duplicates."""

BEFORE_IT = STOP_WORDS | frozenset(
    _words("""
    role function effect activity process pathway mechanism reaction cell tissue organ organism species compartment
    location place structure sequence domain family class kind type form level amount stage phase condition disease
    disorder partner ligand substrate cofactor ion metal product target signal stress temperature ph ec dna rna mrna
    act activate affect bind carry catalyze catalyse cause contain contribute control depend do encode express find
    form happen help inhibit interact involve locate need occur play produce regulate require respond show take use
    work human mouse mice bacteria plant yeast heavy high large long low small strong different important main
    biological cellular molecular possible
    """)
)
"""Words before ``it`` that it does not mean; behind any other it may stand for something else than the protein."""

NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate(_words("two three four five six seven eight nine ten eleven twelve"), start=2)
}

ORDINARY = frozenset(
    _words("""
    abide adipose again aim alongside aside bargain base basin bedside begin beside brain bride bulletin captain
    case cease certain chain chase choose close coin coincide collide compose confide contain control cool crease
    curtain database decide decompose decrease diagnose disclose disdain disease dispose divide domain dose downside
    ease elide enclose entertain erase explain expose fin fool fountain gain genocide genomewide grain grease guide
    hide homicide hose idol impose increase inside join lease loose lose main maintain margin mountain nationwide
    nose obtain oppose origin outside override pain parasol patrol pertain phase phrase pin plain please pool pose
    predispose preside pride propose prose protein protocol provide purchase purpose rain refrain release remain
    repose reside resin restrain retain ride rose ruin satin school side skin slide spin stain stool strain stride
    subdivide subside suicide superimpose suppose sustain symbol tease terrain therein thin those tide tool train
    transpose twin ukase uncertain upside varicose vase vein villain virgin wherein whose wide win within wool
    worldwide
    """)
)
"""Words in -in, -ase, -ose, -ide and -ol that name no protein and no chemical."""

IONS = {
    "Ca": "calcium",
    "Cd": "cadmium",
    "Cl": "chloride",
    "Co": "cobalt",
    "Cu": "copper",
    "Fe": "iron",
    "Hg": "mercury",
    "H": "hydrogen",
    "K": "potassium",
    "Li": "lithium",
    "Mg": "magnesium",
    "Mn": "manganese",
    "Na": "sodium",
    "Ni": "nickel",
    "Pb": "lead",
    "Zn": "zinc",
}
"""Symbols of elements that stand as ions, and what they are called."""

CHEMICALS = frozenset(IONS.values()) | frozenset(
    _words("""
    selenium iodine phosphorus sulfur nitrogen oxygen carbon silver gold arsenic molybdenum tungsten vanadium heme
    ammonia urea water phosphate sulfate nitrate acetate lactate pyruvate glutamate aspartate citrate succinate
    alanine arginine asparagine cysteine glutamine glycine histidine isoleucine leucine lysine methionine phenylalanine
    proline serine threonine tyrosine valine dopamine adrenaline histamine choline
    """)
) - {"lead"}
"""Chemicals that no ending tells; of their names only those that are words of a dictionary."""

GENERIC_NAME_WORDS = frozenset(
    _words("""
    protein polyprotein peptide polypeptide enzyme receptor channel transporter factor kinase gene precursor putative
    probable possible predicted hypothetical uncharacterized unknown conserved membrane transmembrane secreted
    nuclear cytoplasmic mitochondrial ribosomal viral like family member domain containing fragment
    """)
)
"""A name made of these tells no protein from another."""

_UNIT_SPELLINGS = {
    "%": "% percent",
    "kDa": "kDa KDa kD Kd kda kilodalton kilodaltons kilo-dalton",
    "MDa": "MDa megadalton megadaltons",
    "Da": "Da dalton daltons Dalton Daltons",
    "degC": "°C degC oC",
    "residues": "residue residues aa AA",
    "bp": "bp nt nucleotide nucleotides",
    "kb": "kb kbp",
    "fold": "fold times",
    "M": "M",
    "mM": "mM",
    "uM": "uM muM",
    "nM": "nM",
    "pM": "pM",
    "g": "g gram grams",
    "kg": "kg",
    "mg": "mg",
    "ug": "ug mug",
    "ng": "ng",
    "pg": "pg",
    "l": "l L liter liters",
    "ml": "ml mL",
    "ul": "ul uL mul muL",
    "nm": "nm",
    "um": "um mum",
    "mm": "mm",
    "cm": "cm",
    "s": "s sec second seconds",
    "min": "min minute minutes",
    "h": "h hr hrs hour hours",
    "day": "d day days",
    "week": "week weeks wk",
    "month": "month months",
    "year": "year years yr yrs",
    "Hz": "Hz",
    "kHz": "kHz",
    "mV": "mV",
    "V": "V",
    "pS": "pS",
    "kJ": "kJ",
    "kcal": "kcal",
    "A": "Å angstrom angstroms Angstrom",
    "U": "U units IU",
}
UNITS = {spelling: unit for unit, spellings in _UNIT_SPELLINGS.items() for spelling in spellings.split()}
UNITS |= {"per cent": "%", "° C": "degC", "degrees C": "degC", "degrees Celsius": "degC", "degree Celsius": "degC"}
UNITS |= {f"amino{gap}acid{end}": "residues" for gap in " -" for end in ("", "s", " residue", " residues")}
"""Spelling to canonical unit; Greek is spelled, so micro is ``mu`` or ``u``."""
