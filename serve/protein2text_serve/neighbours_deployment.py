"""An index of neighbours as a Ray Serve deployment: questions that arrive together are searched together. No torch."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray import serve

from protein2text.answerers import Query
from protein2text.errors import CorruptCheckpoint
from protein2text.models.chat import question_of
from protein2text.neighbours.index_answerer import open_index
from protein2text.proteins import Protein
from protein2text_serve.question import ModelCard, Piece, Question
from protein2text_serve.settings import ServiceConfig

logger = logging.getLogger(__name__)


class Neighbours:
    """One open index."""

    def __init__(self, config: ServiceConfig, card: ModelCard) -> None:
        self.answerer = open_index(Path(card.folder))
        check_index(card.folder, self.answerer.identity["manifest_sha256"], card.weights)
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="search")
        batched: Any = serve.batch(max_batch_size=config.batch_size, batch_wait_timeout_s=config.batch_wait_s)
        self.look_up = batched(self.look_up_batch)
        logger.info("opened %s, release %s, index %s", card.name, card.release, card.weights[:12])

    async def answer(self, question: Question) -> Piece:
        """The whole answer, with its facts and their sources."""
        piece: Piece = await self.look_up(question)
        return piece

    async def stream(self, question: Question) -> AsyncGenerator[Piece]:
        """The answer line by line; its facts come with the last one."""
        whole = await self.answer(question)
        lines = whole.text.splitlines(keepends=True) or [""]
        for line in lines[:-1]:
            yield Piece(line)
        yield replace(whole, text=lines[-1])

    async def look_up_batch(self, batch: list[Question]) -> list[Piece]:
        """One search for a batch."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, self.answer_batch, batch)

    async def ready(self) -> None:
        """Return at once: an index that is open can answer."""

    def answer_batch(self, batch: list[Question]) -> list[Piece]:
        """Answers to a batch, in its order."""
        queries = [query_of(question, str(number)) for number, question in enumerate(batch)]
        replies = {reply.id: reply for replies in self.answerer.answer(queries) for reply in replies}
        return [Piece(replies[query.id].text, "stop", details=replies[query.id].details) for query in queries]


def query_of(question: Question, id: str) -> Query:
    """A question of the service, as every answerer takes it; what the caller calls a protein is left out."""
    proteins = tuple(Protein("", sequence) for sequence in question.proteins)
    return Query(id, question.id, question_of(question.messages), proteins)


def check_index(folder: str, found: str, pinned: str) -> None:
    """Hold an index against the one that the service started with.

    Raises:
        CorruptCheckpoint: it is another one.
    """
    if found != pinned:
        problem = f"index {found[:12]}, the service started with {pinned[:12]}"
        raise CorruptCheckpoint(folder, "index.json", problem, "Start the service again.")
