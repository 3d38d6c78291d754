"""From token ids to text as they come, so that the parts joined are the text of the whole answer."""

from typing import Any


class TextStream:
    """Turns the tokens of one answer into pieces of text that are final.

    A token may end inside a UTF-8 character, and white space at either end of an answer is dropped; both are held
    back until the next token settles them. The answer is decoded from its start at every token: quadratic, but an
    answer is short beside the decoder's own work.

    Args:
        tokenizer: of the decoder; special tokens are skipped.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.ids: list[int] = []
        self.num_sent = 0

    def push(self, token_id: int) -> str:
        """Text that became final with this token, often empty."""
        self.ids.append(token_id)
        return self._send(self._text().rstrip("\N{REPLACEMENT CHARACTER}").rstrip())

    def close(self) -> str:
        """What was held back and belongs to the answer after all."""
        return self._send(self._text())

    def _text(self) -> str:
        return str(self.tokenizer.decode(self.ids, skip_special_tokens=True)).strip()

    def _send(self, text: str) -> str:
        final, self.num_sent = text[self.num_sent :], max(self.num_sent, len(text))
        return final
