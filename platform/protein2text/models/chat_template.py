"""The decoder's own chat template, applied so that only the template writes control tokens.

Messages never pass through the template: it is rendered around marks, and what it put between them is read for control
tokens. Message texts then take the marks' places as plain text. Plain text of template and message that meets is
tokenized together, as the library would.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError

from protein2text.errors import RecordError

PLACEHOLDER = "<protein_sequence>"
"""Stands for one protein in a message, as in the published data."""

PROTEIN_ID = -200
"""Stands for one protein among token ids; replaced by its decoder rows."""

SAME_DAY = (
    "{%- macro strftime_now(format) -%}{{ format | replace('%d', '26') | replace('%m', '07') | replace('%b', 'Jul') "
    "| replace('%B', 'July') | replace('%Y', '2024') }}{%- endmacro %}{{ '' }}"
)
"""Put before a template, so that one that writes today's date writes the day in Llama 3.1's: prompts must not age."""

Message = dict[str, str]
Tokenizer = Any
"""A transformers fast tokenizer; the library ships no usable types."""

EDGE = "\u2003"
"""White space around a mark: where it is gone, the template trims messages."""
MARK = re.compile(f"({EDGE}?)\ue000(\\d+)\ue001({EDGE}?)")

Part = str | int
"""Plain text, a control token's id or ``PROTEIN_ID``."""


@dataclass(frozen=True)
class ControlTokens:
    """Added tokens that steer a decoder: special ones, and any other that is more than white space or a character."""

    ids: dict[str, int]
    anywhere: re.Pattern[str]
    """Any of them, in one group, with the white space that it swallows."""
    not_special: re.Pattern[str]
    """Those that the library finds in plain text even when told to split special tokens."""
    forbidden: frozenset[int]
    """Ids that plain text never has; the token for the unknown is none of them."""


@lru_cache(maxsize=8)
def control_tokens(tokenizer: Tokenizer) -> ControlTokens:
    """The control tokens of a tokenizer."""
    added = {
        number: token
        for number, token in tokenizer.added_tokens_decoder.items()
        if token.special or len(token.content.strip()) > 1
    }
    longest_first = sorted(added.values(), key=lambda token: -len(token.content))
    swallowing = [
        (r"\s*" if token.lstrip else "") + re.escape(token.content) + (r"\s*" if token.rstrip else "")
        for token in longest_first
    ]
    plain = [re.escape(token.content) for token in longest_first if not token.special]
    return ControlTokens(
        {token.content.strip(): number for number, token in added.items()},
        re.compile(f"({'|'.join(swallowing) or '(?!)'})"),
        re.compile("|".join(plain) or "(?!)"),
        frozenset(added) - {tokenizer.unk_token_id},
    )


def encode_text(tokenizer: Tokenizer, text: str) -> list[int]:
    """Plain text to ids; a control token spelled out in the text stays text.

    Raises:
        RecordError: the tokenizer makes a control token of the text all the same.
    """
    control = control_tokens(tokenizer)
    ids: list[int] = []
    begin = 0
    while match := control.not_special.search(text, begin):
        ids += tokenizer(text[begin : match.start() + 1], add_special_tokens=False, split_special_tokens=True).input_ids
        begin = match.start() + 1
    if text[begin:]:
        ids += tokenizer(text[begin:], add_special_tokens=False, split_special_tokens=True).input_ids
    if forged := control.forbidden.intersection(ids):
        name = tokenizer.convert_ids_to_tokens(min(forged))
        raise RecordError(
            "text", "control token", repr(name), "only the chat template writes these", "Remove it from the text."
        )
    return ids


def encode_turns(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """Ids of messages in the template, up to where the assistant begins to answer.

    Raises:
        RecordError: the template refuses the messages, or leaves one out.
    """
    parts: list[Part] = []
    for piece in _render(tokenizer, messages, add_generation_prompt=True):
        if isinstance(piece, str):
            parts += _template_parts(tokenizer, piece)
        else:
            parts += _message_parts(messages[piece.number], piece)
    return _encode_parts(tokenizer, parts)


@lru_cache(maxsize=8)
def answer_frame(tokenizer: Tokenizer) -> tuple[str, int]:
    """What the template puts before an answer, beyond the prompt, and the control token with which it ends one."""
    turns = [{"role": "user", "content": ""}, {"role": "assistant", "content": ""}]
    asked, _, prompt_end = _render(tokenizer, turns[:1], add_generation_prompt=True)
    first, _, between, _, end = _render(tokenizer, turns, add_generation_prompt=False)
    assert isinstance(prompt_end, str), "a rendering ends with text of the template"
    assert isinstance(between, str), "the text between two marks"
    lead = between.removeprefix(prompt_end) if asked == first and between.startswith(prompt_end) else ""
    plain_lead = lead if not control_tokens(tokenizer).anywhere.search(lead) else ""
    ends = [part for part in _template_parts(tokenizer, str(end)) if isinstance(part, int)]
    return plain_lead, ends[0] if ends else tokenizer.eos_token_id


@dataclass(frozen=True)
class _Mark:
    """Where a message stands in a rendering, and which of its ends the template left as they were."""

    number: int
    keeps_left: bool
    keeps_right: bool


def _render(tokenizer: Tokenizer, messages: Sequence[Message], *, add_generation_prompt: bool) -> list[str | _Mark]:
    """The template's own text, and marks between, in the order in which it wrote them."""
    marked = [{**message, "content": f"{EDGE}\ue000{number}\ue001{EDGE}"} for number, message in enumerate(messages)]
    roles = ", ".join(message["role"] for message in messages)
    remedy = "Leave out the system message, and let user and assistant take turns."
    try:
        rendered: str = tokenizer.apply_chat_template(
            marked, chat_template=SAME_DAY + tokenizer.get_chat_template(), tokenize=False,
            add_generation_prompt=add_generation_prompt, enable_thinking=False,
        )  # fmt: skip
    except TemplateError as error:
        raise RecordError("prompt", "messages", f"roles {roles}", f"the chat template says: {error}", remedy) from None
    pieces: list[str | _Mark] = []
    begin = 0
    for match in MARK.finditer(rendered):
        pieces += [rendered[begin : match.start()], _Mark(int(match[2]), bool(match[1]), bool(match[3]))]
        begin = match.end()
    shown = sorted(piece.number for piece in pieces if isinstance(piece, _Mark))
    if shown != list(range(len(messages))):
        raise RecordError(
            "prompt", "messages", f"roles {roles}", f"the chat template shows of them only {shown}", remedy
        )
    return [*pieces, rendered[begin:]]


def _template_parts(tokenizer: Tokenizer, text: str) -> list[Part]:
    control = control_tokens(tokenizer)
    return [control.ids.get(piece.strip(), piece) for piece in control.anywhere.split(text) if piece]


def _message_parts(message: Message, mark: _Mark) -> list[Part]:
    content = message["content"] if mark.keeps_left else message["content"].lstrip()
    content = content if mark.keeps_right else content.rstrip()
    if message["role"] != "user":
        return [content]
    first, *rest = content.split(PLACEHOLDER)
    return [first, *(part for piece in rest for part in (PROTEIN_ID, piece))]


def _encode_parts(tokenizer: Tokenizer, parts: Sequence[Part]) -> list[int]:
    ids: list[int] = []
    plain = ""
    for part in parts:
        if isinstance(part, str):
            plain += part
        else:
            ids += [*encode_text(tokenizer, plain), part]
            plain = ""
    return ids + encode_text(tokenizer, plain)
