"""Function texts of UniProt without their evidence tags, which are kept apart as metadata.

A raw comment reads ``FUNCTION: Binds ATP (PubMed:1, PubMed:2). {ECO:0000269|PubMed:1, ECO:0000250|UniProtKB:P0}.``
The description that a model learns must hold none of the references: it cannot know them from a sequence.
"""

import re
from dataclasses import dataclass

_ITEM = r"(?i:PubMed:\s*\d+|Ref\.\s*\d+|By\s+similarity|Probable|Potential)"
_TAG = re.compile(r"\{\s*ECO:[^{}]*\}")  # patterns begin with one letter, which is what makes them fast
_CITATION = re.compile(rf"\(\s*{_ITEM}(?:\s*[,;]\s*{_ITEM})*\s*\)")
_SPACE_BEFORE_STOP = re.compile(r" (?=[.,;:](?:\s|$))")
_DOUBLED_STOP = re.compile(r"([.;,])(?:\s*\.)+(?=\s|$)")
_SPACES_BEFORE_STOP = (" .", " ,", " ;", " :")
_DOUBLED_STOPS = ("..", ",.", ";.", " .")
"""One of them stands wherever the pattern matches; looking for them takes a tenth of its time."""
_LABEL = re.compile(r"(?:^|;\s+|\s)FUNCTION:\s+")
_ECO = re.compile(r"ECO:\d{7}")
_PUBMED = re.compile(r"PubMed:\s*(\d+)")


@dataclass(frozen=True)
class FunctionText:
    """A description fit to learn, and where its statements come from."""

    text: str
    evidence: tuple[str, ...]
    """ECO codes, each once, sorted: ``ECO:0000269`` is an experiment, ``0000250`` similarity, ``0000255`` a rule."""
    pubmed: tuple[str, ...]
    """PubMed ids, each once, in the order of their first mention."""


def strip_evidence(text: str) -> str:
    """Remove ECO tags and parenthesised references, and mend the punctuation they leave behind."""
    stripped = " ".join(_CITATION.sub(" ", _TAG.sub(" ", text)).split())
    if any(pair in stripped for pair in _SPACES_BEFORE_STOP):
        stripped = _SPACE_BEFORE_STOP.sub("", stripped)
    if any(pair in stripped for pair in _DOUBLED_STOPS):
        stripped = _DOUBLED_STOP.sub(r"\1", stripped)
    return stripped


def function_text(comments: list[str]) -> FunctionText:
    """Join one entry's FUNCTION comments (isoforms, chains, infections) into one description.

    Args:
        comments: raw texts with or without the ``FUNCTION:`` label; one string may hold several labelled comments,
            as in UniProt's tables.

    Returns:
        A text whose sentences end in a full stop; empty when the comments hold nothing but evidence.
    """
    sentences = []
    for comment in comments:
        for part in _parts(comment):
            stripped = strip_evidence(part)
            if stripped.strip(" .;,"):
                sentences.append(stripped if stripped.endswith((".", "!", "?")) else stripped.rstrip(" ;,") + ".")
    raw = " ".join(comments)
    pubmed = tuple(dict.fromkeys(_PUBMED.findall(raw)))
    return FunctionText(" ".join(sentences), tuple(sorted(set(_ECO.findall(raw)))), pubmed)


def _parts(comment: str) -> list[str]:
    """The labelled comments in one string, without their labels."""
    unlabelled = comment.strip().removeprefix("FUNCTION: ")
    return _LABEL.split(comment) if "FUNCTION:" in unlabelled else [unlabelled]
