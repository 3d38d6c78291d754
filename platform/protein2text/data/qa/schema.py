"""What a generator must write: JSON of this schema, which constrained decoding enforces and the checks read back."""

from typing import Any

MAX_PAIRS = 10
"""Most pairs about one passage, as the paper has it."""
MAX_QUESTION_CHARS = 300
MAX_ANSWER_CHARS = 600
"""Bounds of the strings: without them a constrained decoder may fill its budget with blanks."""


def _text(max_chars: int) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": max_chars}


_PAIR = {
    "type": "object",
    "properties": {"question": _text(MAX_QUESTION_CHARS), "answer": _text(MAX_ANSWER_CHARS)},
    "required": ["question", "answer"],
    "additionalProperties": False,
}
QA_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"pairs": {"type": "array", "items": _PAIR, "maxItems": MAX_PAIRS}},
    "required": ["pairs"],
    "additionalProperties": False,
}
"""``{"pairs": [{"question": str, "answer": str}, ...]}``; an empty list says that the passage gives no question."""
