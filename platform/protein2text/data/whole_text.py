"""Whether a text came whole: quotes and brackets close, and it does not end in the middle of an escape."""

import re

_OPENING = {")": "(", "]": "[", "}": "{", "”": "“"}
_BRACKET = re.compile("[][(){}“”]")


def closes(text: str) -> bool:
    """Whether brackets and double quotes are balanced and no backslash ends the text."""
    waiting: list[str] = []
    for bracket in _BRACKET.findall(text):
        if bracket not in _OPENING:
            waiting.append(bracket)
        elif not (waiting and waiting.pop() == _OPENING[bracket]):
            return False
    return not waiting and text.count('"') % 2 == 0 and not text.endswith("\\")
