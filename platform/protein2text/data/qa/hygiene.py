"""Text that is no science: instructions to a model, encoded or hidden letters, addresses, markup (R16).

An abstract is untrusted input to a generator. Where it speaks to a model or hides letters, the passage is refused; a
sentence with an address or markup is no evidence, and nothing that stands in it alone may stand in a pair.
"""

import re
from collections.abc import Iterator
from typing import Literal

from protein2text.data.qa.folding import HIDDEN, plain, skeleton
from protein2text.data.qa.screened import Screened, any_of, words_of

Finding = Literal["instruction", "encoded", "hidden_letters", "foreign_letters", "address", "markup"]

_SCREEN = r"(?:instructions?|prompts?|directives?|commands?|guidelines|rules|above|prior|previous|earlier|preceding)"
_PRODUCT = r"(?:answers?|questions?|responses?|repl(?:y|ies)|outputs?|completions?|pairs?|json)"
_PRODUCTS = any_of(
    "answer|answers|question|questions|response|responses|reply|replies|output|outputs|completion|completions|pair|pairs|json"
)
_TASKS = (
    "answer|respond|reply|output|print|write|say|repeat|include|insert|append|emit|echo|generate|produce|mention|translate|"
    "decode|execute|pretend|reveal|disclose|obey|comply|ask"
)
_SHARP_TASKS = "answer|reply|print|say|write|pretend|obey|reveal|disclose|ignore|disregard|forget"
"""What no sentence of science begins with, whatever follows."""
_OPENING = frozenset(".!?:;()[]{}<>\"'`*#-\n")
_OPENING_WORD = re.compile(r"\b(?:please|now|then|instead|simply|just|always|kindly)[\s,]*$")

_ORDERS = any_of("instruction|instructions|prompt|prompts|directive|directives|command|commands")
_NEEDS = any_of("must|should|shall|has|have|need|needs")
_ANYWHERE = (
    Screened(
        re.compile(rf"\b(?:ignor|disregard|forget|overrid|overrul|bypass)\w*\b[^.]{{0,60}}\b{_SCREEN}\b"),
        (_ORDERS | any_of("guidelines|rules|above|prior|previous|earlier|preceding"),),
        ("ignor", "disregard", "forget", "overrid", "overrul", "bypass"),
    ),
    Screened(
        re.compile(
            r"\b(?:previous|prior|earlier|preceding|system|hidden|developer|my|new|updated|special|secret)\s+"
            r"(?:instruction|prompt|directive|command)s?\b"
        ),
        (_ORDERS,),
    ),
    Screened(
        re.compile(
            r"\b(?:instruction|prompt|directive|command|message|note)s?\s+(?:above|below|for|to)\s+"
            r"(?:(?:the|an?|all|any)\s+)?(?:ai|llm|language|model|assistant|generator|reader|system|bot|annotator)"
        ),
        (_ORDERS | any_of("message|messages|note|notes"), any_of("above|below|for|to")),
    ),
    Screened(re.compile(r"\byou(?:r|rs|rself|'re|'ll|'ve)?\b"), (any_of("you|your|yours|yourself"),)),
    Screened(
        re.compile(r"\b(?:ai|language|chat|instruct|generative)[\s-](?:model|assistant|bot|system|agent)s?\b"),
        (any_of("ai|language|chat|instruct|generative"),),
    ),
    Screened(
        re.compile(r"\b(?:chatgpt\w*|chatbots?|jailbreak\w*|llama-?\d\w*)\b"),
        signs=("chatgpt", "chatbot", "jailbreak", "llama"),
    ),
    Screened(
        re.compile(r"(?:^|\n|[.!?>\]]\s*)(?:system|assistant|user|human|ai|model|instructions?|prompt):"),
        signs=("system:", "assistant:", "user:", "human:", "ai:", "model:", "instruction:", "instructions:", "prompt:"),
    ),
    Screened(
        re.compile(
            rf"\b(?:every|each|all|any|the|first|last|next|final|only)\s+{_PRODUCT}\s+"
            r"(?:must|should|shall|will|is to|are to|ha(?:s|ve) to|needs? to)\b"
        ),
        (_PRODUCTS, _NEEDS | any_of("will|is|are")),
    ),
    Screened(
        re.compile(
            r"\b(?:must|should|shall|ha(?:s|ve) to|needs? to)\s+"
            r"(?:answer|reply|output|print|say|emit|mention|obey|ignore)\b"
        ),
        (_NEEDS, any_of("answer|reply|output|print|say|emit|mention|obey|ignore")),
    ),
    Screened(
        re.compile(r"\b(?:in|to|into|with)\s+(?:every|each)\s+(?:answer|question|reply|output|completion)\b"),
        (any_of("every|each"), _PRODUCTS),
    ),
    Screened(
        re.compile(
            r"\b(?:correct|right|only|expected|required|valid)\s+(?:answer|response|reply|output)\s+(?:to|is|must|for)\b"
        ),
        (any_of("correct|right|only|expected|required|valid"), _PRODUCTS),
    ),
)
"""What no abstract says to its readers; over the skeleton."""
_COMMANDS = any_of(f"do|don|never|{_SHARP_TASKS}|{_TASKS}")
_COMMAND = re.compile(
    rf"\b(?:(?:do not|don't)\s|never\s+(?:{_TASKS})\b|(?:{_SHARP_TASKS})\s|"
    rf"(?:{_TASKS})\s+(?:only|exactly|with|by|in|as|to|that|this|these|the|all|every|each|any|an?|no|nothing|everything|following|[\"'`:<\[]))"
)
"""Commands, where a sentence or clause begins."""
_ADDRESS_SIGNS = ("://", "www.", "mailto:", "javascript:", "data:", "doi:", "doi.org")
_ADDRESSES = (
    Screened(re.compile(r"@[\w-]+\.\w"), signs=("@",)),
    Screened(re.compile(r"/10\.\d{4,}/|\b10\.\d{4,}/"), signs=("10.",)),
    Screened(re.compile(r"\.(?:com|org|net|edu|gov|io|info|uk|de|eu|ch|jp|cn|fr)(?!\w)")),
)
_MARKUP = (
    Screened(
        re.compile(
            r"""<(?:/?[a-z][a-z0-9:_-]*(?:\s+[\w:-]+(?:\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'>]+))?)*\s*/?>|!--|!\[|\?|\|)"""
        )
    ),
    Screened(
        re.compile(
            r"-->|&(?:[a-z]{2,8}|#x?[0-9a-f]+);|```|(?<!\*)\*\*\w[^*]*\w\*\*(?!\*)|\b__\w|\[/?inst\]|\{\{|\{%|"
            r"\\[a-z]{2,}\{|\$\$|(?:^|\n)#{1,6}\s"
        ),
        signs=("&", "`", "{", "\\", "$", "#", "**", "__", "-->", "[inst", "[/inst"),
    ),
)
_ENCODED = re.compile(
    r"[A-Za-z0-9+]{20,}={0,2}|[A-Za-z0-9+/]{10,}={1,2}(?!\w)|(?:%[0-9A-Fa-f]{2}){3,}|(?:\\[ux]\w{2,4}){2,}"
)
_LONG_RUN, _CODE_MARKS = 20, (("=", 1), ("%", 3), ("\\", 2))
"""A run that is encoded is so long, or holds one of these so often."""
_CASE_TURN = re.compile(r"[a-z][A-Z]")
_CAPITALS = re.compile(r"[A-Z]{2,}(?=[a-z])")
"""As in letters that are encoded, and not in words or residues run together (``AlaGlyVal``)."""
_HEXADECIMAL = re.compile(r"[0-9a-f]{32,}")
_HIDDEN_RUN = re.compile(f"(?:{HIDDEN.pattern}){{3,}}|[\U000e0000-\U000e007f]")
_FOREIGN = re.compile(
    r"[^\x20-\x7e\n\t\u00a0-\u00ac\u00ae-\u017f\u0391-\u03c9\u03d1\u03d5\u03f5\u2000-\u200a\u2010-\u2015\u2018-\u201f"
    r"\u2020-\u2022\u2026\u2028\u2029\u202f\u2030\u2032-\u2034\u205f\u2070-\u209c\u20ac\u2103\u2122\u2126\u212b"
    r"\u2150-\u215e\u2190-\u21d5\u2200-\u22ff\u2a7d\u2a7e\u25a0-\u25ff\u27e8\u27e9\u3000\ufb00-\ufb06]"
)
"""Anything but Latin and Greek letters, and the signs of mathematics and typography."""
_GREEK_LETTER = re.compile("[\u0391-\u03c9]")
_MIXED = re.compile(
    "(?<=[a-z])[\u03b1-\u03c9][a-z]|(?<![A-Za-z0-9])[\u03b1-\u03bb\u03bd-\u03c9][a-z]{3}|"
    "(?<=[A-Za-z])[ΑΒΕΖΗΙΚΜΝΟΡΤΥΧο]|[ΑΒΕΖΗΙΚΜΝΟΡΤΥΧο][A-Za-z]"
)
"""Greek letters that stand for Latin ones: within a word, or a word's first; ``NFκB`` and ``β-catenin`` are none."""


def poison(text: str) -> Finding | None:
    """What makes a whole abstract untrustworthy: an instruction to a model, or a message that is encoded or hidden."""
    if not text.isascii() and _HIDDEN_RUN.search(text):
        return "hidden_letters"
    if _is_encoded(text):
        return "encoded"
    return "instruction" if _instructs(skeleton(text)) else None


def blemish(text: str) -> Finding | None:
    """What makes one sentence of an abstract unfit as evidence, and a pair unfit for use."""
    visible = plain(text)
    if any(_MIXED.match(visible, letter.start()) for letter in _GREEK_LETTER.finditer(visible)):
        return "foreign_letters"
    if _FOREIGN.search(text) and _FOREIGN.search(visible):
        return "foreign_letters"
    lower = skeleton(text)
    if any(map(lower.__contains__, _ADDRESS_SIGNS)) or any(pattern.search(lower) for pattern in _ADDRESSES):
        return "address"
    visible = visible.lower()
    return "markup" if any(pattern.search(visible) for pattern in _MARKUP) else None


def dirt(text: str) -> Finding | None:
    """Anything at all that a generated text may not hold."""
    if not text.isascii() and HIDDEN.search(text):
        return "hidden_letters"
    if _FOREIGN.search(text):
        return "foreign_letters"
    return poison(text) or blemish(text)


def _instructs(text: str) -> bool:
    if any(rule.search(text) for rule in _ANYWHERE):
        return True
    return any(
        _COMMAND.match(text, place) and _opens(text, place)
        for word in words_of(text) & _COMMANDS
        for place in _places(text, word)
    )


def _places(text: str, word: str) -> Iterator[int]:
    """Where some letters stand in a text."""
    place = text.find(word)
    while place >= 0:
        yield place
        place = text.find(word, place + 1)


def _opens(text: str, place: int) -> bool:
    """Whether a sentence or clause begins here: at a stop or bracket, or after ``please``, ``now``, ``instead``."""
    before = text[max(0, place - 30) : place]
    bare = before.rstrip(" ")
    return not bare or bare[-1] in _OPENING or _OPENING_WORD.search(bare) is not None


def _is_encoded(text: str) -> bool:
    runs = text.split()
    suspects = [run for run in runs if len(run) >= _LONG_RUN]
    for mark, count in _CODE_MARKS:
        if text.count(mark) >= count:
            suspects += [run for run in runs if mark in run]
    for run in suspects:
        for code in _ENCODED.findall(run):
            marked = code.endswith("=") or any(map(str.isdigit, code)) or len(_CAPITALS.findall(code)) >= 2
            mixed = len(_CASE_TURN.findall(code)) >= 2 and marked
            if mixed or code.startswith(("%", "\\")) or code.endswith("==") or _HEXADECIMAL.search(code):
                return True
    return False
