"""JSON files of many entries: a list, UniProt's ``{"results": [...]}``, or one object after another (JSON lines)."""

import codecs
import json
import re
from collections.abc import Iterator
from itertools import chain

from protein2text.data.readers.entries import (
    LINE_END,
    MAX_ENTRY_BYTES,
    SHOWN,
    Entry,
    Piece,
    cut_after,
    damage_piece,
    numbered_lines,
    what_failed,
)
from protein2text.data.sources import CUT_SHORT, DamagedSource

_LINES = "lines"
"""Context of pieces in which every line is an entry: a broken one costs only itself."""
_OPENING = re.compile(r'\s*(?:\{\s*"results"\s*:\s*\[|\[)?')
_BETWEEN = re.compile(r"[\s,]*")
_CLOSING = '}]"'
_REST_OF_NUMBER = re.compile(r"[\w.+-]*")
_AFTER_LIST = re.compile(r"[\s}]*")
_DECODER = json.JSONDecoder()


def cut(chunks: Iterator[bytes]) -> Iterator[Piece]:
    """Pieces of whole values; where the syntax breaks, one last problem says at which line and why."""
    first = next(chunks, b"")
    chunks = chain([first], chunks)
    if _are_lines(first.decode("utf-8", "replace")):
        for piece in cut_after(LINE_END, chunks):
            yield piece._replace(context=_LINES)
    else:
        yield from _cut_values(chunks)


def split(text: str, line: int, context: str) -> Iterator[Entry]:
    """Each value's own text."""
    if context == _LINES:
        for number, row in numbered_lines(text, line):
            yield Entry(f"line {number}", row)
        return
    counted = 0
    for number, (start, end) in enumerate(_values(text), start=int(context)):
        line += text.count("\n", counted, start)
        counted = start
        yield Entry(f"entry {number}, line {line}", text[start:end])


def _are_lines(head: str) -> bool:
    """Whether every line is a value: the first is one, or the second begins like one."""
    first, _, rest = head.lstrip().partition("\n")
    opening = _OPENING.match(first)
    if not first.startswith("{") or (opening and opening.end()):
        return False
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return rest.lstrip().startswith("{")
    return True


def _cut_values(chunks: Iterator[bytes]) -> Iterator[Piece]:
    """Take values from the front of a stream, holding little more than one at a time."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text, line, number, ended = "", 1, 0, False
    listed: bool | None = None
    damage: DamagedSource | None = None
    while not ended:
        wanted = 2 * len(text) + 1  # what is left is the beginning of a value: see twice as much of it
        while not ended and len(text) < wanted:
            try:
                chunk = next(chunks, None)
            except DamagedSource as error:
                chunk, damage = None, error
            ended = chunk is None
            text += decoder.decode(chunk or b"", final=ended)
        if listed is None:
            opening = _after(_OPENING, text, 0)
            listed = bool(text[:opening].strip())
            line, text = line + text.count("\n", 0, opening), text[opening:]
        whole, count, problem = _whole_values(text, ended and damage is None)
        if count:
            yield Piece(line, text[:whole].encode(), str(number))
        gap = _after(_BETWEEN, text, whole)
        line, number, text = line + text.count("\n", 0, gap), number + count, text[gap:]
        if listed and text.startswith("]") and damage is None:
            rest = (decoder.decode(chunk or b"", final=chunk is None) for chunk in chain(chunks, [None]))
            yield from _beyond(chain([text[1:]], rest), line)
            return
        ended = ended or len(text) > MAX_ENTRY_BYTES
    if damage is not None:
        yield damage_piece(damage, line, text.encode())
    elif text or listed:
        remedy = "Correct this place, or fetch the file again."
        problem = (
            f"{problem or 'no value'}; nothing after it can be read" if text else "the list is not closed: cut here"
        )
        yield Piece(line, text[:SHOWN].encode(), "", f"{problem}. {remedy}", CUT_SHORT)


def _beyond(texts: Iterator[str], line: int) -> Iterator[Piece]:
    """A problem if anything stands after the end of the list."""
    for more in texts:
        end = _after(_AFTER_LIST, more, 0)
        line += more.count("\n", 0, end)
        if end < len(more):
            yield Piece(
                line,
                more[end : end + SHOWN].encode(),
                "",
                "text after the end of the list is not read. Put it into the list.",
                CUT_SHORT,
            )
            return


def _whole_values(text: str, ended: bool) -> tuple[int, int, str | None]:
    """Where the last whole value ends, how many there are, and why the next is none.

    Args:
        text: begins with a value or what stands between them.
        ended: nothing comes after the text; else a number that reaches its end may go on.
    """
    whole = count = 0
    try:
        for _, end in _values(text):
            if not ended and text[end - 1] not in _CLOSING and _REST_OF_NUMBER.fullmatch(text, end):
                break
            whole, count = end, count + 1
    except (ValueError, RecursionError) as error:
        return whole, count, what_failed(error).split(": line", 1)[0]
    return whole, count, None


def _values(text: str) -> Iterator[tuple[int, int]]:
    """Where the values of a text begin and end, up to the end of their list.

    Raises:
        ValueError: at the first that is none.
        RecursionError: at one that is nested too deep.
    """
    position = 0
    while (start := _after(_BETWEEN, text, position)) < len(text) and text[start] != "]":
        _, position = _DECODER.raw_decode(text, start)
        yield start, position


def _after(pattern: re.Pattern[str], text: str, position: int) -> int:
    found = pattern.match(text, position)
    return found.end() if found else position
