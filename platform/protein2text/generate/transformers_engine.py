"""The default engine: a transformers decoder with a KV cache, one batch at a time, tokens as they are made.

Legend: N answers under way, T prompt tokens of the longest, D decoder width, V vocabulary.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from protein2text.generate.engine import EngineFailed, EngineStats, Finish, Prompt, Token
from protein2text.generate.sampling import choose
from protein2text.models.generation import stop_ids
from protein2text.models.protein_to_text import ProteinToText


@dataclass
class _Row:
    """One answer under way."""

    number: int
    prompt: Prompt
    num_tokens: int = 0


@dataclass
class _Batch:
    """What the decoder needs for the next step: one entry per row, in the same order."""

    rows: list[_Row]
    inputs_NTD: Tensor
    mask_NT: Tensor
    cache: Any = field(default_factory=DynamicCache)


class TransformersEngine:
    """Decodes static batches. A row that ends or is cancelled leaves the batch, and its cache goes with it.

    Greedy answers are those of ``ProteinToText.generate``; sampled ones depend on the request alone (``sampling``).

    Args:
        model: loaded, in evaluation mode.
        stall_timeout_s: a step that runs for longer is reported by ``health``.
    """

    def __init__(self, model: ProteinToText, *, stall_timeout_s: float = 120.0) -> None:
        self.model, self.stall_timeout_s = model, stall_timeout_s
        self._stops = frozenset(stop_ids(model.decoder))
        self._lock = threading.Lock()
        self._active: set[str] = set()
        self._cancelled: set[str] = set()
        self._num_requests = self._num_tokens = self._num_steps = 0
        self._step_began: float | None = None
        self._failure: str | None = None

    @torch.inference_mode()
    def start(self) -> None:
        """One step on the start of a prompt: what is going to fail fails here, before any request."""
        embeddings = self.model.decoder.language_model.get_input_embeddings()
        token = torch.tensor([[self.model.tokenizer.eos_token_id]], device=self.model.device)
        self.model.decoder.language_model(inputs_embeds=embeddings(token), use_cache=False)

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[list[Token | None]]:
        """Decode a batch, see ``Engine.generate``."""
        with self._lock:
            self._active |= {prompt.id for prompt in prompts}
            self._num_requests += len(prompts)
        try:
            batch = self._timed(self._prefill, prompts)
            while batch.rows:
                tokens: list[Token | None] = [None] * len(prompts)
                for number, token in self._timed(self._step, batch):
                    tokens[number] = token
                yield tokens
        finally:
            with self._lock:
                self._active -= {prompt.id for prompt in prompts}
                self._cancelled &= self._active

    def cancel(self, id: str) -> None:
        """Stop an answer before its next token."""
        with self._lock:
            if id in self._active:
                self._cancelled.add(id)

    def stats(self) -> EngineStats:
        """Counters since the start."""
        with self._lock:
            return EngineStats(len(self._active), self._num_requests, self._num_tokens, self._num_steps)

    def health(self) -> None:
        """Raise ``EngineFailed`` when a step failed or hangs."""
        if self._failure is not None:
            raise EngineFailed(f"a decoding step failed: {self._failure}")
        began = self._step_began
        if began is not None and time.monotonic() - began > self.stall_timeout_s:
            raise EngineFailed(f"a decoding step has run for more than {self.stall_timeout_s:g} s")

    def _timed(self, work: Any, argument: Any) -> Any:
        """Run a piece of work under the eye of ``health``; a failure of the decoder is not survived."""
        self._step_began = time.monotonic()
        try:
            with torch.inference_mode():
                return work(argument)
        except RuntimeError as error:  # running out of memory is one
            self._failure = f"{type(error).__name__}: {error}"
            raise EngineFailed(self._failure) from error
        finally:
            self._step_began = None

    def _prefill(self, prompts: Sequence[Prompt]) -> _Batch:
        """Embed the prompts, padded on the left so that all answers begin in the same column."""
        embedded = [self.model.embed_prompt(prompt.ids, prompt.latents) for prompt in prompts]
        longest = max(len(prompt) for prompt in embedded)
        inputs_NTD = embedded[0].new_zeros(len(prompts), longest, embedded[0].shape[1])
        mask_NT = torch.zeros(len(prompts), longest, dtype=torch.long, device=inputs_NTD.device)
        for number, prompt_TD in enumerate(embedded):
            inputs_NTD[number, longest - len(prompt_TD) :] = prompt_TD
            mask_NT[number, longest - len(prompt_TD) :] = 1
        return _Batch([_Row(number, prompt) for number, prompt in enumerate(prompts)], inputs_NTD, mask_NT)

    def _step(self, batch: _Batch) -> list[tuple[int, Token]]:
        """One token for every row; changes ``batch`` into the input of the next step."""
        cancelled = self._drop_cancelled(batch)
        if not batch.rows:
            return cancelled
        positions_NT = (batch.mask_NT.cumsum(-1) - 1).clamp_min(0)[:, -batch.inputs_NTD.shape[1] :]
        output = self.model.decoder.language_model(
            inputs_embeds=batch.inputs_NTD,
            attention_mask=batch.mask_NT,
            position_ids=positions_NT,
            past_key_values=batch.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        tokens = [self._choose(row, logits_V) for row, logits_V in zip(batch.rows, output.logits[:, -1], strict=True)]
        emitted = [(row.number, token) for row, token in zip(batch.rows, tokens, strict=True)]
        going = [place for place, token in enumerate(tokens) if token.finish is None]
        ids_N1 = torch.tensor([[token.id] for token in tokens], device=batch.inputs_NTD.device)
        batch.inputs_NTD = self.model.decoder.language_model.get_input_embeddings()(ids_N1)
        batch.mask_NT = torch.cat([batch.mask_NT, torch.ones_like(ids_N1)], dim=1)
        self._keep(batch, going)
        with self._lock:
            self._num_steps += 1
            self._num_tokens += len(tokens)
        return cancelled + emitted

    def _choose(self, row: _Row, logits_V: Tensor) -> Token:
        settings = row.prompt.decoding
        id = choose(
            logits_V,
            temperature=settings.temperature,
            top_p=settings.top_p,
            seed=settings.seed,
            position=row.num_tokens,
        )
        row.num_tokens += 1
        finish: Finish | None = "length" if row.num_tokens == settings.max_new_tokens else None
        return Token(id, "stop" if id in self._stops else finish)

    def _drop_cancelled(self, batch: _Batch) -> list[tuple[int, Token]]:
        with self._lock:
            cancelled = set(self._cancelled)
        gone = [row for row in batch.rows if row.prompt.id in cancelled]
        if gone:
            self._keep(batch, [place for place, row in enumerate(batch.rows) if row.prompt.id not in cancelled])
        return [(row.number, Token(-1, "cancelled")) for row in gone]

    def _keep(self, batch: _Batch, places: list[int]) -> None:
        """Shrink the batch to the rows at ``places``."""
        if len(places) == len(batch.rows):
            return
        batch.rows = [batch.rows[place] for place in places]
        chosen = torch.tensor(places, dtype=torch.long, device=batch.inputs_NTD.device)
        batch.inputs_NTD, batch.mask_NT = batch.inputs_NTD[chosen], batch.mask_NT[chosen]
        if batch.cache.get_seq_length() > 0:
            batch.cache.batch_select_indices(chosen)
