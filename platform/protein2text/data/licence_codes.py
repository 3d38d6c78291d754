"""Licences of articles: one spelling for each, and which of them let a question be made of an abstract."""

import re

from protein2text.errors import ConfigError

REUSABLE = ("CC0", "CC BY", "CC BY-SA")
"""Accepted unless told otherwise: whoever keeps to them may change and pass on the text, for any purpose."""

_URL = re.compile(r"creativecommons\.org/(licenses|publicdomain)/([a-z-]+)", re.IGNORECASE)
_CODE = re.compile(r"\bCC[ -]BY(?:-(?:NC|ND|SA))*\b|\bCC0\b", re.IGNORECASE)
_NAMED = re.compile(r"Creative Commons\W+Attribution(.{0,60}?)\b(?:Licen[cs]e|\d\.\d)", re.IGNORECASE)
_FREE = re.compile(r"Creative Commons (?:CC0|Zero|Public Domain)|\bCC0\b", re.IGNORECASE)
_TERMS = (("NC", r"non-?\s?commercial"), ("ND", r"no-?\s?deriv"), ("SA", r"share-?\s?alike"))
_PUBLIC_DOMAIN = "PUBLIC DOMAIN"


def accepted_code(text: str) -> str:
    """The licence that a user names as one to accept.

    Raises:
        ConfigError: no known licence, which no article could have.
    """
    code = _PUBLIC_DOMAIN if text.strip().upper() == _PUBLIC_DOMAIN else licence_code(text)
    if code is None:
        known = "CC0, PUBLIC DOMAIN, CC BY, and CC BY-NC, CC BY-ND, CC BY-SA, CC BY-NC-ND, CC BY-NC-SA"
        raise ConfigError(
            "data literature", "licence", f"{text!r} is no licence that articles state; known are {known}"
        )
    return code


def licence_code(text: str) -> str | None:
    """The licence that a code, an address or a sentence names: ``CC BY-NC``, or None where it names none we know."""
    text = " ".join(text.split())
    if url := _URL.search(text):
        kind, name = url[1].lower(), url[2].lower()
        if kind == "licenses":
            return f"CC {name.upper()}"
        return "CC0" if name == "zero" else _PUBLIC_DOMAIN
    if _FREE.search(text):
        return "CC0"
    if code := _CODE.search(text):
        return code.group().upper().replace("CC-", "CC ")
    if named := _NAMED.search(text):
        return "-".join(["CC BY", *(code for code, words in _TERMS if re.search(words, named[1], re.IGNORECASE))])
    return None
