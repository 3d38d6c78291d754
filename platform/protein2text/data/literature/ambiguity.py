"""Names that say too little about which protein is meant, and which organism an article speaks of."""

import re
from functools import cache

import simplemma

from protein2text.data.literature.wording import Word, is_hyphen
from protein2text.data.protein_names import ProteinName

MIN_LETTERS = 3
"""Shorter names are ambiguous: letters and digits are counted, a Greek letter as one."""
REASONS = {
    "short": f"fewer than {MIN_LETTERS} letters and digits",
    "no_letters": "no letter at all",
    "english_word": "a symbol, or a lone word without a protein's ending, that is an English word",
    "generic": "a kind of protein, such as 'kinase 2' or 'heat shock protein'",
    "shared": "another protein of the same organism, or of one not stated, has it too",
}
"""Why a name is never used, by code."""

_PROTEIN_ENDINGS = ("in", "ins", "ase", "ases", "gen", "gens", "on", "ons", "one", "ones")
_KINDS = (
    "a and antigen associated binding capsid cell channel chain complex component containing core dehydrogenase "
    "domain enzyme envelope factor family finger fragment gene growth heat heavy homolog hypothetical inhibitor kinase "
    "ligand light like major matrix membrane minor mitochondrial molecule nuclear nucleocapsid of phosphatase "
    "polypeptide polyprotein precursor probable product protease protein putative receptor regulator regulatory "
    "related response ribosomal secreted shock spike structural subunit surface transcription transcriptional "
    "transmembrane transport transporter uncharacterized zinc"
)
_GENERIC = frozenset(_KINDS.split())
_FOLLOWING = (
    "activated activating antagonist associated binding converting degrading inhibitor homolog homologue interacting "
    "like receptor receptors regulated related releasing substrate"
)
_OF_ANOTHER = frozenset(_FOLLOWING.split())
_SPOKEN_OF = {
    "Homo sapiens": ("human", "humans", "patient", "patients"),
    "Mus musculus": ("mouse", "mice", "murine"),
    "Rattus norvegicus": ("rat", "rats"),
    "Bos taurus": ("bovine", "cattle", "cow", "cows"),
    "Sus scrofa": ("pig", "pigs", "porcine"),
    "Oryctolagus cuniculus": ("rabbit", "rabbits"),
    "Saccharomyces cerevisiae": ("yeast",),
    "Drosophila melanogaster": ("drosophila",),
    "Arabidopsis thaliana": ("arabidopsis",),
    "Danio rerio": ("zebrafish",),
}
"""What articles call an organism beside the names that UniProt gives it."""


@cache
def is_english(word: str) -> bool:
    """Whether a lower-case word stands in simplemma's English dictionary."""
    return bool(simplemma.is_known(word, lang="en"))


def ambiguous_by_itself(name: ProteinName, words: list[Word]) -> str | None:
    """Code in ``REASONS`` that rules a name out whatever other proteins are called, None if none does."""
    if sum(1 if word.end - word.start == 1 else len(word.key) for word in words) < MIN_LETTERS:
        return "short"
    if all(word.key.isdigit() for word in words):
        return "no_letters"
    lettered = [word for word in words if not word.key.isdigit()]
    says_kind_only = all(word.key in _GENERIC or len(word.key) == 1 for word in lettered)
    if says_kind_only and not name.symbol and (len(lettered) == len(words) or len(lettered) == 1):
        return "generic"
    lone = words[0].key if len(words) == 1 else ""
    if lone and is_english(lone) and (name.symbol or not lone.endswith(_PROTEIN_ENDINGS)):
        return "english_word"
    return None


def organism_names(organism: str) -> tuple[str, ...]:
    """Lower-case names of an organism as UniProt writes it: ``Homo sapiens (Human)``."""
    scientific, *common = (part.strip(" )") for part in organism.split(" ("))
    binomial = " ".join(scientific.split()[:2])
    genus, _, species = binomial.partition(" ")
    names = [binomial, f"{genus[:1]}. {species}" if species else "", *_SPOKEN_OF.get(binomial, ())]
    names += [name for name in common if not name.startswith(("strain", "isolate", "subsp"))]
    return tuple(dict.fromkeys(name.lower() for name in names if name))


@cache
def _organism_pattern(organism: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, organism_names(organism)))})(?!\w)", re.IGNORECASE)


def speaks_of(text: str, organism: str) -> bool:
    """Whether a text names an organism."""
    return _organism_pattern(organism).search(text) is not None


def other_protein_follows(text: str, words: list[Word], last: int) -> bool:
    """Whether the word after a name makes it part of another protein's: ``insulin receptor``, ``actin-like``, ``p38β``.

    Args:
        text: the abstract.
        words: its words.
        last: index of the name's last word.
    """
    if last + 1 == len(words):
        return False
    following, between = words[last + 1], text[words[last].end : words[last + 1].start]
    if (between.isspace() or is_hyphen(between)) and following.key in _OF_ANOTHER:
        return True
    member = following.is_greek or (following.key.isdigit() and len(following.key) < 3)
    return is_hyphen(between) and (member or len(following.surface) == 1)


def other_protein_before(text: str, words: list[Word], first: int) -> bool:
    """Whether the word before a name makes it another one: ``β-catenin``, ``5-lipoxygenase``."""
    if first == 0:
        return False
    before, between = words[first - 1], text[words[first - 1].end : words[first].start]
    if not is_hyphen(between):
        return False
    alone = not text[before.start - 1 : before.start].isalnum()
    return before.is_greek or (before.key.isdigit() and alone)
