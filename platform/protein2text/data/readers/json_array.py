"""JSON files of many entries: a list, UniProt's ``{"results": [...]}``, or one object after another (JSON lines)."""

import json
import re
from collections.abc import Iterator
from typing import TextIO

from protein2text.data.readers.entries import Entry

_OPENING = re.compile(r'\s*(?:\{\s*"results"\s*:\s*\[|\[)?')
_BETWEEN = re.compile(r"[\s,]*")
_DECODER = json.JSONDecoder()


def split(stream: TextIO) -> Iterator[Entry]:
    """Each element's own text; where the syntax breaks, one last entry says at which line and why."""
    text = stream.read()
    opening = _OPENING.match(text)
    position = opening.end() if opening else 0
    listed = bool(opening and opening.group().strip())
    line, counted, number = 1, 0, 0
    while True:
        gap = _BETWEEN.match(text, position)
        position = gap.end() if gap else position
        line += text.count("\n", counted, position)
        counted = position
        if position >= len(text):
            if listed:
                yield Entry(f"entry {number}, line {line}", "", "the list is not closed: the file was cut here")
            return
        if listed and text[position] == "]":
            return
        try:
            _, end = _DECODER.raw_decode(text, position)
        except json.JSONDecodeError as error:
            problem = f"{error.msg} at line {error.lineno}, column {error.colno}; nothing after it can be read"
            yield Entry(f"entry {number}, line {line}", text[position : position + 200], problem)
            return
        yield Entry(f"entry {number}, line {line}", text[position:end])
        position, number = end, number + 1
