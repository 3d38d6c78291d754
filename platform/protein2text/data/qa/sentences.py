"""Where the sentences of an abstract begin and end: grounding is stored as these offsets."""

import re

_END = re.compile(r"""[.!?]+["'”’)\]]*(?=\s)|\n""")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|vs|cf|al|figs?|eq|dr|st|no|nos|ca|approx|resp|sp|spp|subsp|var|str|vol)|\b[A-Za-z])\.$",
    re.IGNORECASE,
)
_LONGEST_ABBREVIATION = 8
_OPENING = re.compile(r"""\s*["'“‘(\[]*[a-z]""")


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Offsets (start, end) of each sentence, without the white space around it.

    A line break always ends one. A full stop does not after an abbreviation, a single letter (``E. coli``) or before a
    lower-case word; so a sentence may be two, but none is cut in the middle.
    """
    spans, start = [], 0
    for end in _END.finditer(text):
        if end.group() != "\n":
            before = text[max(start, end.start() - _LONGEST_ABBREVIATION) : end.start() + 1]
            if _ABBREVIATION.search(before) or _OPENING.match(text, end.end()):
                continue
        spans.append((start, end.end()))
        start = end.end()
    spans.append((start, len(text)))
    return [span for span in (_trimmed(text, *span) for span in spans) if span[0] < span[1]]


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    inside = text[start:end]
    return start + len(inside) - len(inside.lstrip()), end - len(inside) + len(inside.rstrip())
