"""The model as a Ray Serve deployment: questions that arrive together are encoded and decoded together."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from ray import serve

from protein2text.generate.engine import EngineStats
from protein2text.generate.transformers_engine import TransformersEngine
from protein2text.models.protein_to_text import ProteinToText
from protein2text.neighbours.context import ContextFact, ContextIndex, open_context
from protein2text_serve.answering import Prepared, Step, answer_batch, prepare, prepare_with_facts
from protein2text_serve.card import open_model
from protein2text_serve.neighbours_deployment import check_index, query_of
from protein2text_serve.question import ModelCard, Piece, Question
from protein2text_serve.settings import ServiceConfig

logger = logging.getLogger(__name__)


class Model:
    """One copy of the model. Questions that arrive together are encoded and decoded together."""

    def __init__(self, config: ServiceConfig, card: ModelCard) -> None:
        folder = open_model(config, card)
        device = "cuda" if config.gpus_per_replica else "cpu"
        self.model = ProteinToText.from_pretrained(folder).to(device)
        self.engine = TransformersEngine(self.model, stall_timeout_s=config.stall_timeout_s)
        self.engine.start()
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="engine")
        batched: Any = serve.batch(max_batch_size=config.batch_size, batch_wait_timeout_s=config.batch_wait_s)
        self.decode = batched(self.decode_batch)
        self.context = _context(config, card)
        self.search_thread = ThreadPoolExecutor(1, thread_name_prefix="search")
        self.look_up = batched(self.look_up_batch)
        logger.info("loaded %s version %s, weights %s, on %s", card.name, card.version, card.weights[:12], device)

    async def answer(self, question: Question) -> Piece:
        """The whole answer; it goes the same way as a streamed one."""
        async with aclosing(self.stream(question)) as pieces:
            parts = [piece async for piece in pieces]
        return replace(parts[-1], text="".join(piece.text for piece in parts))

    async def stream(self, question: Question) -> AsyncGenerator[Piece]:
        """The answer as it is made. A caller that stops listening cancels its row."""
        prepared = await self._in_thread(prepare, self.model, question)
        if self.context is not None:
            facts = await self.look_up(question)
            prepared = await self._in_thread(prepare_with_facts, self.model, self.context, question, facts)
        try:
            async for piece in self.decode(prepared):
                yield piece
        finally:
            self.engine.cancel(question.id)

    async def decode_batch(self, batch: list[Prepared]) -> AsyncGenerator[Step]:
        """Decode a batch, step by step. Serve gives each caller of ``decode`` its own entry of every step."""
        steps = answer_batch(self.model, self.engine, batch)
        while (step := await self._in_thread(next, steps, None)) is not None:
            yield step

    async def look_up_batch(self, batch: list[Question]) -> list[list[ContextFact]]:
        """Facts about the proteins of a batch, from one search; decoding goes on meanwhile."""
        assert self.context is not None, "looked up only where an index was named"
        queries = [query_of(question, str(number)) for number, question in enumerate(batch)]
        return await asyncio.get_running_loop().run_in_executor(self.search_thread, self.context.about, queries)

    async def ready(self) -> None:
        """Return when the engine can answer."""
        self.engine.health()

    async def stats(self) -> EngineStats:
        """Counters of the engine, as they stand now."""
        return self.engine.stats()

    def check_health(self) -> None:
        """Serve replaces a replica whose engine has failed or hangs."""
        self.engine.health()

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Run work of the model on its one thread, so that health checks are answered meanwhile."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, work, *arguments)


def _context(config: ServiceConfig, card: ModelCard) -> ContextIndex | None:
    """The index whose facts stand in prompts, as it was when the service started."""
    if config.context is None or card.context is None:
        return None
    index = open_context(config.context, config.context_tokens)
    check_index(config.context, index.identity["manifest_sha256"], card.context["manifest_sha256"])
    return index
