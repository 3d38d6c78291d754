"""The default engine: a transformers decoder with a KV cache, tokens as they are made. Legend in ``running_batch``."""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from protein2text.generate.engine import Answer, EngineFailed, EngineStats, Finish, Prompt, Token
from protein2text.generate.running_batch import Row, RunningBatch, prefill_batch
from protein2text.generate.sampling import Draw, choose
from protein2text.models.generation import stop_ids
from protein2text.models.protein_to_text import ProteinToText

REFILL_SHARE = 0.25
"""New answers join when this share of the rows has ended; joining copies the cache, so not at every end."""


class TransformersEngine:
    """Decodes batches. A row that ends or is cancelled leaves the batch, and its cache goes with it.

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
        self._counts = dict.fromkeys(("num_requests", "num_tokens", "num_steps", "num_cached", "num_padded"), 0)
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
        for step in self._run(prompts, None):
            tokens: list[Token | None] = [None] * len(prompts)
            for row, token in step:
                tokens[row.number] = token
            yield tokens

    def answer(self, prompts: Iterable[Prompt], max_tokens: int) -> Iterator[list[Answer]]:
        """Decode any number of prompts, see ``Engine.answer``; one above ``max_tokens`` is decoded alone."""
        for step in self._run(prompts, max_tokens):
            ended = [(row, token.finish) for row, token in step if token.finish is not None]
            yield [
                Answer(row.prompt.id, row.ids[:-1] if finish == "stop" else row.ids, finish) for row, finish in ended
            ]

    def _run(self, prompts: Iterable[Prompt], max_tokens: int | None) -> Iterator[list[tuple[Row, Token]]]:
        """The next token of rows under way, until all prompts are answered."""
        waiting = _Waiting(prompts, max_tokens)
        batch = RunningBatch([], torch.empty(0), torch.empty(0))
        under_way: set[str] = set()
        num_full = 0
        try:
            while batch.rows or not waiting.empty:
                admitted = waiting.admit(batch.rows) if len(batch.rows) <= (1 - REFILL_SHARE) * num_full else []
                if admitted:
                    under_way |= {row.prompt.id for row in admitted}
                    self._begin(admitted)
                    fresh = self._timed(self._read, admitted)
                    step = self._timed(self._step, fresh)
                    if batch.rows:
                        self._timed(batch.join, fresh)
                    else:
                        batch = fresh
                    num_full = len(batch.rows)
                else:
                    step = self._timed(self._step, batch)
                yield step
                ended = {row.prompt.id for row, token in step if token.finish is not None}
                under_way -= ended
                self._end(ended)
        finally:
            self._end(under_way)

    def cancel(self, id: str) -> None:
        """Stop an answer before its next token."""
        with self._lock:
            if id in self._active:
                self._cancelled.add(id)

    def stats(self) -> EngineStats:
        """Counters since the start."""
        with self._lock:
            return EngineStats(len(self._active), **self._counts)

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

    def _begin(self, rows: Sequence[Row]) -> None:
        with self._lock:
            self._active |= {row.prompt.id for row in rows}
            self._counts["num_requests"] += len(rows)

    def _end(self, ids: set[str]) -> None:
        """From now on these are unknown to ``cancel``."""
        if ids:
            with self._lock:
                self._active -= ids
                self._cancelled -= ids

    def _read(self, rows: Sequence[Row]) -> RunningBatch:
        """Embed the prompts of new rows."""
        return prefill_batch(rows, [self.model.embed_prompt(row.prompt.ids, row.prompt.latents) for row in rows])

    def _step(self, batch: RunningBatch) -> list[tuple[Row, Token]]:
        """One token for every row; changes ``batch`` into the input of the next step."""
        cancelled = self._drop_cancelled(batch)
        if not batch.rows:
            return cancelled
        self._count(batch)
        positions_NT = (batch.mask_NT.cumsum(-1) - 1).clamp_min(0)[:, -batch.inputs_NTD.shape[1] :]
        output = self.model.decoder.language_model(
            inputs_embeds=batch.inputs_NTD,
            attention_mask=batch.mask_NT,
            position_ids=positions_NT,
            past_key_values=batch.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        emitted = self._choose(batch.rows, output.logits[:, -1])
        ids_N1 = torch.tensor([[token.id] for _, token in emitted], device=batch.inputs_NTD.device)
        batch.inputs_NTD = self.model.decoder.language_model.get_input_embeddings()(ids_N1)
        batch.mask_NT = torch.cat([batch.mask_NT, torch.ones_like(ids_N1)], dim=1)
        batch.keep([place for place, (_, token) in enumerate(emitted) if token.finish is None])
        return cancelled + emitted

    def _choose(self, rows: Sequence[Row], logits_NV: Tensor) -> list[tuple[Row, Token]]:
        """Draw a token for each row and write it down."""
        ids = choose(logits_NV, [Draw(row.prompt.decoding, len(row.ids)) for row in rows])
        emitted = []
        for row, id in zip(rows, ids, strict=True):
            row.ids.append(id)
            row.num_columns += 1
            finish: Finish | None = "length" if len(row.ids) == row.prompt.decoding.max_new_tokens else None
            emitted.append((row, Token(id, "stop" if id in self._stops else finish)))
        return emitted

    def _count(self, batch: RunningBatch) -> None:
        with self._lock:
            self._counts["num_steps"] += 1
            self._counts["num_tokens"] += len(batch.rows)
            self._counts["num_cached"] += sum(row.num_columns for row in batch.rows)
            self._counts["num_padded"] += batch.mask_NT.numel()

    def _drop_cancelled(self, batch: RunningBatch) -> list[tuple[Row, Token]]:
        with self._lock:
            cancelled = set(self._cancelled)
        gone = [row for row in batch.rows if row.prompt.id in cancelled]
        batch.keep([place for place, row in enumerate(batch.rows) if row.prompt.id not in cancelled])
        return [(row, Token(-1, "cancelled")) for row in gone]


class _Waiting:
    """Prompts that wait for room, taken one ahead of need.

    Args:
        prompts: made as they are taken.
        max_tokens: columns that rows under way may hold together; no limit when None.
    """

    def __init__(self, prompts: Iterable[Prompt], max_tokens: int | None) -> None:
        self._prompts, self._max_tokens = iter(prompts), max_tokens
        self._next = next(self._prompts, None)
        self._num_admitted = 0

    @property
    def empty(self) -> bool:
        return self._next is None

    def admit(self, under_way: Sequence[Row]) -> list[Row]:
        """Rows for which there is room beside those under way; at least one when nothing is."""
        admitted: list[Row] = []
        num_rows = len(under_way)
        longest = max((row.num_reserved for row in under_way), default=0)
        while self._next is not None:
            prompt = self._next
            num_columns = len(prompt.ids) + sum(len(latents) - 1 for latents in prompt.latents)
            row = Row(self._num_admitted, prompt, num_columns)
            longest = max(longest, row.num_reserved)
            num_rows += 1
            if num_rows > 1 and self._max_tokens is not None and num_rows * longest > self._max_tokens:
                break
            admitted.append(row)
            self._num_admitted += 1
            self._next = next(self._prompts, None)
        return admitted
