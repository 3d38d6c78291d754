"""Text that is no science: instructions to a model, encoded or hidden letters, addresses, markup (R16).

An abstract is untrusted input to a generator. Where it speaks to a model or hides letters, the passage is refused; a
sentence with an address or markup is no evidence, and nothing that stands in it alone may stand in a pair.
"""

import re
from typing import Literal

from protein2text.data.qa.folding import HIDDEN, plain, skeleton

Finding = Literal["instruction", "encoded", "hidden_letters", "foreign_letters", "address", "markup"]

_SCREEN = r"(?:instructions?|prompts?|directives?|commands?|guidelines|rules|above|prior|previous|earlier|preceding)"
_PRODUCT = r"(?:answers?|questions?|responses?|repl(?:y|ies)|outputs?|completions?|pairs?|json)"
_TASK = (
    r"(?:answer|respond|reply|output|print|write|say|repeat|include|insert|append|emit|echo|generate|produce|mention|translate|"
    r"decode|execute|pretend|reveal|disclose|obey|comply|ask)"
)
_START = (
    r"(?:(?:^|[.!?:\n()\[\]{}<>\"'`*#>-]\s*)(?:(?:and|but|so|next|also|only)[\s,]+)*|"
    r"\b(?:please|now|then|instead|simply|just|always|kindly)[\s,]+)"
)
_INSTRUCTION = re.compile(
    "|".join(
        (
            rf"\b(?:ignor|disregard|forget|overrid|overrul|bypass)\w*\b[^.]{{0,60}}\b{_SCREEN}\b",
            r"\b(?:previous|prior|earlier|preceding|system|hidden|developer|my|new|updated|special|secret)\s+"
            r"(?:instruction|prompt|directive|command)s?\b",
            r"\b(?:instruction|prompt|directive|command|message|note)s?\s+(?:above|below|for|to)\s+(?:(?:the|an?|all|any)\s+)?"
            r"(?:ai|llm|language|model|assistant|generator|reader|system|bot|annotator)",
            r"\byou(?:r|rs|rself|'re|'ll|'ve)?\b",
            r"\b(?:ai|language|chat|instruct|generative)[\s-](?:model|assistant|bot|system|agent)s?\b",
            r"\b(?:chatgpt|gpt-?\d\w*|llms?|llama-?\d\w*|chatbots?|jailbreak\w*)\b",
            r"(?:^|\n|[.!?>\]]\s*)(?:system|assistant|user|human|ai|model|instructions?|prompt)\s*:",
            rf"{_START}(?:(?:do not|don't)\s|never\s+{_TASK}\b)",
            rf"(?:{_START}|;\s*)(?:answer|reply|print|say|write|pretend|obey|reveal|disclose|ignore|disregard|forget)\s",
            rf"{_START}{_TASK}\s+(?:only|exactly|with|by|in|as|to|that|this|these|the|all|every|each|any|an?|no|nothing|"
            r"everything|following|[\"'`:<\[])",
            rf"\b(?:every|each|all|any|the|first|last|next|final|only)\s+{_PRODUCT}\s+"
            r"(?:must|should|shall|will|is to|are to|ha(?:s|ve) to|needs? to)\b",
            r"\b(?:must|should|shall|ha(?:s|ve) to|needs? to)\s+(?:answer|reply|output|print|say|emit|mention|obey|ignore)\b",
            r"\b(?:in|to|into|with)\s+(?:every|each)\s+(?:answer|question|reply|output|completion)\b",
            r"\b(?:correct|right|only|expected|required|valid)\s+(?:answer|response|reply|output)\s+(?:to|is|must|for)\b",
        )
    )
)
"""Over the skeleton: lower case, Latin."""
_ADDRESS = re.compile(
    r"\w+://|\bwww\.|\b(?:mailto|javascript|data):\w|[\w.+-]+@[\w-]+\.\w|\bdoi\s?:|\b10\.\d{4,}/|"
    r"\b[a-z0-9-]{2,}\.(?:com|org|net|edu|gov|io|info|uk|de|eu|ch|jp|cn|fr)\b"
)
_MARKUP = re.compile(
    r"""</?[a-z][a-z0-9:_-]*(?:\s+[\w:-]+(?:\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'>]+))?)*\s*/?>|<!--|-->|<!\[|<\?|<\||"""
    r"&(?:[a-z]{2,8}|#x?[0-9a-f]+);|```|(?<!\*)\*\*\w[^*]*\w\*\*(?!\*)|\b__\w|\[/?inst\]|\{\{|\{%|\\[a-z]{2,}\{|\$\$|(?:^|\n)#{1,6}\s"
)
_ENCODED = re.compile(
    r"[A-Za-z0-9+]{20,}={0,2}|[A-Za-z0-9+/]{10,}={1,2}(?!\w)|(?:%[0-9A-Fa-f]{2}){3,}|(?:\\[ux]\w{2,4}){2,}"
)
_CASE_TURN = re.compile(r"[a-z][A-Z]")
_HEXADECIMAL = re.compile(r"[0-9a-f]{32,}")
_HIDDEN_RUN = re.compile(f"(?:{HIDDEN.pattern}){{3,}}|[\U000e0000-\U000e007f]")
_FOREIGN = re.compile(
    r"[^\x20-\x7e\n\t\u00a0-\u00ac\u00ae-\u017f\u0391-\u03c9\u03d1\u03d5\u03f5\u2000-\u200a\u2010-\u2015\u2018-\u201f"
    r"\u2020-\u2022\u2026\u2028\u2029\u202f\u2030\u2032-\u2034\u205f\u2070-\u209c\u20ac\u2103\u2122\u2126\u212b"
    r"\u2150-\u215e\u2190-\u21d5\u2200-\u22ff\u2a7d\u2a7e\u25a0-\u25ff\u27e8\u27e9\u3000\ufb00-\ufb06]"
)
"""Anything but Latin and Greek letters, and the signs of mathematics and typography."""
_MIXED = re.compile(
    "[a-z][\u03b1-\u03c9][a-z]|(?<![A-Za-z0-9])[\u03b1-\u03bb\u03bd-\u03c9][a-z]{3}|"
    "[A-Za-z][ΑΒΕΖΗΙΚΜΝΟΡΤΥΧο]|[ΑΒΕΖΗΙΚΜΝΟΡΤΥΧο][A-Za-z]"
)
"""Greek letters that stand for Latin ones: within a word, or a word's first; ``NFκB`` and ``β-catenin`` are none."""


def poison(text: str) -> Finding | None:
    """What makes a whole abstract untrustworthy: an instruction to a model, or a message that is encoded or hidden."""
    if _HIDDEN_RUN.search(text):
        return "hidden_letters"
    if _is_encoded(text):
        return "encoded"
    return "instruction" if _INSTRUCTION.search(skeleton(text)) else None


def blemish(text: str) -> Finding | None:
    """What makes one sentence of an abstract unfit as evidence, and a pair unfit for use."""
    visible = plain(text)
    if _MIXED.search(visible) or (_FOREIGN.search(text) and _FOREIGN.search(visible)):
        return "foreign_letters"
    lower = skeleton(text)
    if _ADDRESS.search(lower):
        return "address"
    return "markup" if _MARKUP.search(lower) else None


def dirt(text: str) -> Finding | None:
    """Anything at all that a generated text may not hold."""
    if HIDDEN.search(text):
        return "hidden_letters"
    if _FOREIGN.search(text):
        return "foreign_letters"
    return poison(text) or blemish(text)


def _is_encoded(text: str) -> bool:
    for run in _ENCODED.findall(text):
        if run.startswith(("%", "\\")) or _HEXADECIMAL.search(run):
            return True
        mixed = len(_CASE_TURN.findall(run)) >= 2 and (run.endswith("=") or any(letter.isdigit() for letter in run))
        if mixed or run.endswith("=="):
            return True
    return False
