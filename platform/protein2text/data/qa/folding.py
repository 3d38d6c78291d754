"""One spelling for the many of the same letters: Greek and its names, dashes, quotes, look-alikes, hidden letters."""

import html
import re
import unicodedata
from functools import lru_cache

from protein2text.data.greek import GREEK

_SPELLED = GREEK | {"ς": "sigma"}
_PLAIN = {**dict.fromkeys("‐‑‒–—−", "-"), **dict.fromkeys("’‘′", "'"), **dict.fromkeys("“”″", '"')}
_LOOK_ALIKES = dict(
    zip(
        "аеорсухіјѕһԁԛԝкмтвнАЕОРСУХІЈЅКМТВНαεικνορτυχωΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
        "aeopcyxijshdqwkmtbhAEOPCYXIJSKMTBHaeiknoptuxwABEZHIKMNOPTYX",
        strict=True,
    )
)
_SPELLED_LETTERS, _PLAIN_LETTERS, _LOOK_ALIKE_LETTERS = (
    re.compile(f"[{''.join(table)}]") for table in (_SPELLED, _PLAIN, _LOOK_ALIKES)
)
RECENT = 64
"""Texts that are remembered: several rules look at the same one."""
_ACCENT = re.compile("[\u0300-\u036f]")
HIDDEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Letters that show nothing: zero-width, directional, tag and variation characters."""


@lru_cache(RECENT)
def plain(text: str) -> str:
    """Compatibility forms (NFKC) without hidden letters, one kind of dash and of quotes; Greek and case stay."""
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKC", HIDDEN.sub("", text))
    return _PLAIN_LETTERS.sub(lambda found: _PLAIN[found[0]], text)


def fold(text: str) -> str:
    """``plain`` with Greek letters by name: ``TNF-α`` becomes ``TNF-alpha``. Case stays: it tells symbols apart."""
    text = plain(text)
    return text if text.isascii() else _SPELLED_LETTERS.sub(lambda found: _SPELLED[found[0]], text)


@lru_cache(RECENT)
def skeleton(text: str) -> str:
    """What a reader takes the letters for, lower case: look-alikes become Latin letters, entities and accents go."""
    if "&" in text:
        text = html.unescape(text)
    if text.isascii():
        return text.lower()
    text = _LOOK_ALIKE_LETTERS.sub(lambda found: _LOOK_ALIKES[found[0]], plain(text))
    return _ACCENT.sub("", unicodedata.normalize("NFKD", text)).lower()
