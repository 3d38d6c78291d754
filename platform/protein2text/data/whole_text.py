"""Whether a text came whole: quotes and brackets close, and it does not end in the middle of an escape."""

_OPENING = {")": "(", "]": "[", "}": "{", "”": "“"}
_OPEN = frozenset(_OPENING.values())


def closes(text: str) -> bool:
    """Whether brackets and double quotes are balanced and no backslash ends the text."""
    waiting: list[str] = []
    for letter in text:
        if letter in _OPEN:
            waiting.append(letter)
        elif letter in _OPENING and not (waiting and waiting.pop() == _OPENING[letter]):
            return False
    return not waiting and text.count('"') % 2 == 0 and not text.endswith("\\")
