"""Draws the tokens of a batch so that every row stays within a grammar and depends on its own seed alone.

Legend: N rows of the batch, V vocabulary, T tokens so far.
"""

from collections.abc import Sequence

import torch
import xgrammar
from torch import Tensor
from transformers import LogitsProcessor

from protein2text.generate.sampling import Draw, choose
from protein2text.models.chat_template import Tokenizer, control_tokens
from protein2text.models.generation import Decoding

UNPRINTABLE = frozenset([*range(0x20), 0xED])
"""Bytes that no token drawn may hold: controls, and the first byte of surrogates. It begins Hangul from U+D000 too, of
which no protein's description is made."""


class TextGrammar:
    """The grammar of a JSON schema over a model's tokens, without free white space, which a model can write for ever.

    Within a string of bounded length xgrammar 0.2.8 takes control characters, which JSON forbids, surrogates, which
    UTF-8 forbids, and control tokens of the chat template, which to it are text. None of them is ever drawn.

    Args:
        schema: of the JSON.
        tokenizer: of the model.
        width: of the model's logits, which may exceed the tokenizer's vocabulary or fall short of it.
        stops: tokens that end a text; drawn only where the JSON is whole.
    """

    def __init__(self, schema: dict[str, object], tokenizer: Tokenizer, width: int, stops: Sequence[int]) -> None:
        self.stops, self.width = sorted(stops), width
        info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=width, stop_token_ids=self.stops)
        self.compiled = xgrammar.GrammarCompiler(info).compile_json_schema(schema, any_whitespace=False)
        unprintable = {token for token, letters in enumerate(info.decoded_vocab) if UNPRINTABLE.intersection(letters)}
        self.banned = sorted(
            token for token in unprintable | control_tokens(tokenizer).forbidden - {*stops} if token < width
        )


class ConstrainedDraw(LogitsProcessor):
    """Leaves one token to each row: for a greedy ``generate``, once.

    Args:
        grammar: of every row.
        settings: decoding of each row, with its seed.
    """

    def __init__(self, grammar: TextGrammar, settings: Sequence[Decoding]) -> None:
        self._grammar, self._settings = grammar, list(settings)
        self._matchers = [xgrammar.GrammarMatcher(grammar.compiled) for _ in settings]
        self._bitmask = xgrammar.allocate_token_bitmask(len(settings), grammar.width)
        self._position = 0

    def __call__(self, input_ids_NT: Tensor, scores_NV: Tensor) -> Tensor:
        """Scores with minus infinity for all but the token drawn.

        Raises:
            RuntimeError: no token of the vocabulary goes on with the grammar.
        """
        open_rows = [row for row, matcher in enumerate(self._matchers) if not matcher.is_terminated()]
        for row in open_rows:
            self._matchers[row].fill_next_token_bitmask(self._bitmask, row)
        scores_NV = scores_NV.float().clone()
        xgrammar.apply_token_bitmask_inplace(scores_NV, self._bitmask.to(scores_NV.device))
        scores_NV[:, self._grammar.banned] = -torch.inf
        if open_rows and bool((scores_NV[open_rows].amax(-1) == -torch.inf).any()):
            raise RuntimeError("no token of the vocabulary goes on with the JSON schema")
        drawn_NV = torch.full_like(scores_NV, -torch.inf)
        drawn = choose(scores_NV[open_rows], [Draw(self._settings[row], self._position) for row in open_rows])
        for row, token in zip(open_rows, drawn, strict=True):
            if not self._matchers[row].accept_token(token):
                raise RuntimeError(f"token {token} was allowed by the JSON schema and then refused")
            drawn_NV[row, token] = 0.0
        for row in set(range(len(self._matchers))) - set(open_rows):
            drawn_NV[row, self._grammar.stops[0]] = 0.0  # ended: generate puts padding here
        self._position += 1
        return drawn_NV
