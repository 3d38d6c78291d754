"""Function texts of UniProt without their evidence tags, which are kept apart as metadata.

A raw comment reads ``FUNCTION: Binds ATP (PubMed:1, PubMed:2). {ECO:0000269|PubMed:1, ECO:0000250|UniProtKB:P0}.``
The description that a model learns must hold none of the references: it cannot know them from a sequence.
"""

import re
from operator import itemgetter
from typing import NamedTuple

_ITEM = r"(?i:PubMed:\s*\d+|Ref\.\s*\d+|By\s+similarity|Probable|Potential)"
_TAG = re.compile(r"\{\s*ECO:[^{}]*\}")  # patterns begin with one letter, which is what makes them fast
_CITATION = re.compile(rf"\(\s*{_ITEM}(?:\s*[,;]\s*{_ITEM})*\s*\)")
_SPACE_BEFORE_STOP = re.compile(r" (?=[.,;:](?:\s|$))")
_DOUBLED_STOP = re.compile(r"([.;,])(?:\s*\.)+(?=\s|$)")
_ECO = re.compile(r"ECO:\d{7}")
_PUBMED = re.compile(r"PubMed:\s*(\d+)")


class FunctionText(NamedTuple):
    """A description fit to learn, and where its statements come from."""

    text: str
    evidence: tuple[str, ...]
    """ECO codes, each once, sorted: ``ECO:0000269`` is an experiment, ``0000250`` similarity, ``0000255`` a rule."""
    pubmed: tuple[str, ...]
    """PubMed ids, each once, in the order of their first mention."""


def strip_evidence(text: str) -> str:
    """Remove ECO tags and parenthesised references, and mend the punctuation they leave behind."""
    stripped = " ".join(_CITATION.sub(" ", _TAG.sub(" ", text)).split())
    # Looking for what the patterns begin with takes a tenth of their time.
    if " ." in stripped or " ," in stripped or " ;" in stripped or " :" in stripped:
        stripped = _SPACE_BEFORE_STOP.sub("", stripped)
    if ".." in stripped or ",." in stripped or ";." in stripped or " ." in stripped:
        stripped = _DOUBLED_STOP.sub(itemgetter(1), stripped)
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
        for part in labelled(comment, "FUNCTION"):
            stripped = strip_evidence(part)
            if stripped.strip(" .;,"):
                sentences.append(stripped if stripped.endswith((".", "!", "?")) else stripped.rstrip(" ;,") + ".")
    raw = " ".join(comments)
    codes, pubmed = references(raw)
    return FunctionText(" ".join(sentences), tuple(sorted(codes)), pubmed)


def labelled(comments: str, topic: str) -> list[str]:
    """The comments that a string holds, without the label (``FUNCTION: ``) that begins each, if any does."""
    unlabelled = comments.strip().removeprefix(f"{topic}: ")
    return re.split(rf"(?:^|;\s+|\s){topic}:\s+", comments) if f"{topic}:" in unlabelled else [unlabelled]


def references(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """ECO codes and PubMed ids in a text, each once, in their order."""
    return tuple(dict.fromkeys(_ECO.findall(text))), tuple(dict.fromkeys(_PUBMED.findall(text)))
