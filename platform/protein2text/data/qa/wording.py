"""Rules about words alone: form of the question, traces of a source, the subject, truncation, empty answers (R2-R8)."""

import re
from typing import Literal

from protein2text.data.qa.lexicon import classify
from protein2text.data.qa.screened import Screened, any_of
from protein2text.data.qa.word_lists import BEFORE_IT, ORDINARY
from protein2text.data.whole_text import closes

_NO_ENZYME = "|".join(sorted(word for word in ORDINARY if word.endswith("ase")))
_CLASS = (
    rf"(?:proteins?|polypeptides?|peptides?|enzymes?|receptors?|(?!(?:{_NO_ENZYME})s?\b)\w+ases?|channels?|transporters?|pumps?|carriers?|factors?|"
    r"regulators?|activators?|repressors?|inhibitors?|hormones?|cytokines?|chemokines?|antibod(?:y|ies)|antigens?|ligands?|"
    r"subunits?|isoforms?|homolog(?:ue)?s?|orthologs?|paralogs?|chaperones?|toxins?|adaptors?|scaffolds?|molecules?|genes?|"
    r"variants?|mutants?|histones?|motors?|cofactors?|sensors?)"
)
_EXPLICIT = re.compile(
    rf"\b(?i:this(?:\s+(?!of\b)[a-z][a-z-]*){{0,2}}?|the|these\s+two|both)\s+(?i:{_CLASS})(?!\w)(?!,?\s+\w*[A-Z0-9])"
)
_PRONOUN = re.compile(r"\b(?:it|its|itself)\b", re.IGNORECASE)
_IMPERSONAL = re.compile(
    r"\bit\s+(?:\w+ly\s+)?(?:necessary|possible|feasible|useful|better|worth\w*|time|safe|important|acceptable|reasonable|likely|true|"
    r"advisable|justified|appropriate|beneficial|mandatory|sufficient|known|clear)\s+(?:to|that|for|if|whether)\b",
    re.IGNORECASE,
)
_SETTING = re.compile(r"^(?:in|during|within|under|upon|after|before|at|among)\b[^,]*,")
"""``In the liver, what is its role?``"""
_INDEFINITE = re.compile(rf"\b(?:an?|any)\s+{_CLASS}(?!\w)", re.IGNORECASE)
_WORD = re.compile(r"[\w-]+")
_OTHER_SUBJECT = re.compile(
    r"(?:(?:yes|no),?\s+)?(?:the\s+)?(?P<subject>[\w/-]+)\s+(?:is|are|was|were|has|have|had|can|could|may|might|will|\w+[^\Wsiu]s|\w+ed)\b",
    re.IGNORECASE,
)
_ASKS_FOR_THINGS = re.compile(
    r"\b(?:which|who|whose)\b|\bwhat\s+(?!(?:is|are|was|were|does|do|did|roles?|functions?|effects?|happens)\b)",
    re.IGNORECASE,
)
_SOURCE = Screened(
    re.compile(
        r"\b(?:stud(?:y|ies|ied)|abstracts?|papers?|articles?|manuscripts?|publications?|authors?|researchers?|investigators?|"
        r"scientists?|figures?|figs?(?=\.)|tables?|et\s+al|pubmed|pmids?|passage|(?:the|this|given|provided)\s+(?:text|context|"
        r"excerpt|document)|(?:our|these|the|recent|present)\s+(?:results|findings|data)|we|our|ours)\b",
        re.IGNORECASE,
    ),
    (
        any_of(
            "study|studies|studied|abstract|abstracts|paper|papers|article|articles|manuscript|manuscripts|publication|"
            "publications|author|authors|researcher|researchers|investigator|investigators|scientist|scientists|figure|"
            "figures|fig|figs|table|tables|al|pubmed|pmid|pmids|passage|text|context|excerpt|document|results|findings|"
            "data|we|our|ours"
        ),
    ),
)
_PMC = Screened(re.compile(r"\bpmc\d*\b", re.IGNORECASE), signs=("pmc",))
_ASKS_YES_NO = re.compile(
    r"(?:is|are|was|were|do|does|did|can|could|has|have|had|will|would|should|may|might|must|isn't|doesn't)\b",
    re.IGNORECASE,
)
_YES_NO = re.compile(r"(yes|no)\b(?!-)", re.IGNORECASE)
_ALTERNATIVES = re.compile(r"\bor\b", re.IGNORECASE)
_SAID = r"(?:mentioned|stated|specified|provided|described|given|discussed|indicated|addressed|reported)"
_UNKNOWN = Screened(
    re.compile(
        rf"\b(?:not|never)\s+(?:\w+\s+){{0,2}}?(?:{_SAID}|known|understood|clear|established|determined|elucidated|available)\b"
        r"|\b(?:is|are|was|were|be|been|remains?|still|currently|largely|yet|of|as)\s+(?:\w+\s+)?(?:unknown|unclear|undetermined|"
        r"unspecified|elusive|uncertain)\b"
        r"|^(?:(?:yes|no),?\s+)?(?:unknown|unclear|n/?a|not applicable)\b"
        r"|\bcan(?:not|'t| not) be (?:determined|answered|inferred|concluded)"
        r"|\b(?:no|insufficient|not enough)\s+(?:\w+\s+)?(?:information|details?)\b"
        r"|\b(?:do(?:es)?|did)(?: not|n't)\s+(?:know|say|mention|state|specify|provide|describe|indicate|discuss)\b"
        r"|\b(?:i am|i'm)\s+(?:not|unable|sorry)\b|\bremains? to be\b",
        re.IGNORECASE,
    ),
    (
        any_of(
            "not|never|unknown|unclear|undetermined|unspecified|elusive|uncertain|n|na|cannot|t|no|insufficient|unable|sorry|"
            "remain|remains"
        ),
    ),
)
"""The ``t`` is that of ``can't``, ``don't`` and their like."""
_DANGLING = re.compile(r"\b(?:a|an|the|and|or|but|than|because|whose)[.!?]?$")
_LONGEST_DANGLING = 9
_ENDING = re.compile(r"""(?<!\.)[.!?]["'”’)\]]*$""")

Kind = Literal["yes_no", "open"]


def yes_or_no(answer: str) -> Literal["yes", "no"] | None:
    """What an answer begins with, for the balance that the card reports (R12)."""
    found = _YES_NO.match(answer)
    return None if found is None else "yes" if found.group(1).lower() == "yes" else "no"


def kind_of(question: str, answer: str) -> Kind:
    """``yes_no`` when the answer begins so, or when the question asks so and offers no alternatives."""
    if yes_or_no(answer):
        return "yes_no"
    asks = any(_ASKS_YES_NO.match(clause) for clause in (question, re.split(r"[,:]\s+", question)[-1]))
    return "yes_no" if asks and not offers_alternatives(question) else "open"


def offers_alternatives(question: str) -> bool:
    """Whether a question holds the possible answers, ``... or ...``."""
    return _ALTERNATIVES.search(question) is not None


def source_word(text: str) -> str | None:
    """A word that shows that a study, an article or its authors stand behind the text (R3)."""
    found = _SOURCE.search(text) or _PMC.search(text)
    return found.group() if found else None


def refers(text: str) -> bool:
    """Whether a text speaks of the protein without its name (R5).

    It does with ``this ... protein`` (or enzyme, receptor: any class of protein), with ``the protein`` where no symbol
    follows, and with ``it`` or ``its`` where nothing stands before that these could mean instead.
    """
    if _EXPLICIT.search(text):
        return True
    pronoun = _PRONOUN.search(text)
    if pronoun is None or _IMPERSONAL.match(text, pronoun.start()):
        return False
    before = _WORD.findall(_SETTING.sub("", text[: pronoun.start()].lower()))
    return all(word in BEFORE_IT or classify(word)[0] in BEFORE_IT for word in before)


def asks_about_protein(question: str, answer: str) -> bool:
    """Whether the question refers to the protein, or asks of any protein what the answer says of this one (R5)."""
    return refers(question) or (_INDEFINITE.search(question) is not None and _mentions(answer))


def other_subject(question: str, answer: str) -> str | None:
    """Another named thing that the answer is about, and it alone (R5).

    It is the subject of an answer that never refers to the protein, though the question did not ask for a thing.
    """
    found = _OTHER_SUBJECT.match(answer)
    if found is None or _mentions(answer) or not _names_a_thing(found["subject"]) or _ASKS_FOR_THINGS.search(question):
        return None
    return found["subject"]


def truncation(text: str, min_words: int) -> str | None:
    """How a text shows that it was cut (R7); None where it seems whole."""
    if not closes(text):
        return "its quotes or brackets do not close, or it ends in a backslash"
    if not _ENDING.search(text):
        return "it does not end like a sentence"
    if _DANGLING.search(text, max(0, len(text) - _LONGEST_DANGLING)):
        return "its last word asks for another"
    num_words = len(text.split())
    return f"{num_words} words; at least {min_words}" if num_words < min_words else None


def evasion(answer: str) -> str | None:
    """Words by which an answer says that it is none (R8)."""
    found = _UNKNOWN.search(answer)
    return found.group() if found else None


def _mentions(answer: str) -> bool:
    """Whether an answer speaks of the protein at all: after a question about it, every ``it`` may mean it."""
    return bool(_EXPLICIT.search(answer) or _PRONOUN.search(answer))


def _names_a_thing(word: str) -> bool:
    kinds = {classify(part)[1] for part in word.split("-") if part}
    return bool(kinds & {"symbol", "named", "rare"})
