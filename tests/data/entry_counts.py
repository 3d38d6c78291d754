"""How many entries a file holds, told without the product's readers: the oracle of the property tests."""

import json
import re
from collections.abc import Callable

STATED = ("primaryAccession", "conversations")


def flat(data: bytes) -> int:
    """One per ``//`` line, and one more where something follows the last."""
    count, begun = 0, False
    for line in data.decode("utf-8", "replace").split("\n"):
        if line.rstrip(" \t\r") == "//":
            count, begun = count + 1, False
        else:
            begun = begun or bool(line.strip())
    return count + begun


def table(data: bytes) -> int:
    """One per line that is not blank, less the header."""
    lines = data.split(b"\n")
    while lines and not lines[0].strip():
        lines.pop(0)
    return sum(bool(line.decode("utf-8", "replace").strip()) for line in lines[1:])


def fasta(data: bytes) -> int:
    """One per title, and one more where something stands before the first."""
    lines = [line.removesuffix("\r") for line in data.decode("utf-8", "replace").split("\n")]
    titles = [number for number, line in enumerate(lines) if line.startswith(">")]
    before = lines[: titles[0]] if titles else lines
    return len(titles) + any(line.strip() for line in before)


def xml(data: bytes) -> int:
    """One per opening tag, one per piece of other text outside of entries, and one for a frame that is not closed."""
    count, outside, inside = 0, "", False
    before: str | None = None
    for part in re.split(r"(<entry[\s>]|</entry\s*>)", data.decode("utf-8", "replace")):
        if part.startswith("<entry"):
            count += 1 + (not inside and _strange(outside))
            before = outside if before is None else before
            outside, inside = "", True
        elif re.fullmatch(r"</entry\s*>", part):
            count += not inside
            before = outside if before is None else before
            outside, inside = "", False
        elif not inside:
            outside += part
    framed = "<uniprot" in (outside if before is None else before)
    return count + (not inside and _strange(outside)) + (framed and not inside and "</uniprot" not in outside)


AROUND = (("<?xml", "?>"), ("<!--", "-->"), ("<uniprot", ">"), ("</uniprot", ">"), ("<copyright>", "</copyright>"))


def _strange(text: str) -> bool:
    """Whether more stands there than may stand around entries; no tag holds a ``<`` (XML 1.0, 3.1)."""
    kept = ""
    while text:
        stop = 0
        for begin, end in AROUND:
            inside, closed, _ = text.removeprefix(begin).partition(end)
            if text.startswith(begin) and closed and not ("uniprot" in begin and "<" in inside):
                stop = len(begin + inside + end)
        kept += "" if stop else text[0]
        text = text[stop or 1 :]
    return bool(kept.strip())


def json_values(data: bytes) -> int:
    """Values that ``json.loads`` reads one by one, and one more where it stops before the end."""
    text = data.decode("utf-8", "replace")
    body = text.lstrip()
    if _is_lines(body):
        return sum(bool(line.strip()) for line in text.split("\n"))
    opening = re.match(r'\{\s*"results"\s*:\s*\[|\[', body)
    rest, count = body[opening.end() :] if opening else body, 0
    while True:
        rest = re.sub(r"\A[\s,]+", "", rest)
        if opening and rest.startswith("]"):
            return count + bool(rest[1:].translate({ord("}"): None}).strip())
        if not rest:
            return count + bool(opening)
        end = _value_end(rest)
        if end is None:
            return count + 1
        rest, count = rest[end:], count + 1


def _is_lines(body: str) -> bool:
    first, _, others = body.partition("\n")
    if not first.startswith("{") or re.match(r'\{\s*"results"\s*:\s*\[', first):
        return False
    return _loads(first) or others.lstrip().startswith("{")


def _value_end(text: str) -> int | None:
    """Where the value ends that the text begins with: the first place up to which it is JSON."""
    if number := re.match(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?|true|false|null|NaN|-?Infinity", text, re.ASCII):
        return number.end()
    closing = {"{": "}", "[": "]", '"': '"'}.get(text[0])
    ends = (found.end() for found in re.finditer(re.escape(closing), text)) if closing else ()
    return next((end for end in ends if end > 1 and _loads(text[:end])), None)


def _loads(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


COUNTS: dict[str, Callable[[bytes], int]] = {
    "fasta": fasta,
    "json": json_values,
    "uniprot-flat": flat,
    "uniprot-tsv": table,
    "uniprot-xml": xml,
}
