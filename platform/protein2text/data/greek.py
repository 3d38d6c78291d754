"""Greek letters and their names: ``TNF-α`` and ``TNF-alpha`` are one protein."""

import unicodedata

GREEK = {
    chr(code): unicodedata.name(chr(code)).rsplit(" ", 1)[-1].lower().replace("lamda", "lambda")
    for start in (0x391, 0x3B1)
    for code in range(start, start + 25)
    if unicodedata.name(chr(code), "").count(" ") == 3  # the final sigma has a longer name
} | {"µ": "mu"}
"""Greek letter to its name."""
GREEK_NAMES = frozenset(GREEK.values())
