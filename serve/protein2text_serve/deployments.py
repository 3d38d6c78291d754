"""The two Ray Serve deployments: the gateway that speaks HTTP, and the model replicas that decode in batches."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle

from protein2text.errors import RecordError
from protein2text.generate.transformers_engine import TransformersEngine
from protein2text.models.protein_to_text import ProteinToText
from protein2text_serve.answering import Prepared, Step, answer_batch, prepare
from protein2text_serve.card import open_model
from protein2text_serve.gateway import create_app
from protein2text_serve.question import ModelCard, Piece, Question
from protein2text_serve.refusals import Refused
from protein2text_serve.settings import ServiceConfig

logger = logging.getLogger(__name__)

READY_TIMEOUT_S = 5.0


@serve.deployment
@serve.ingress()
class Gateway:
    """HTTP in front of the model replicas. It holds no weights, so it starts at once and several are cheap."""

    def __init__(self, config: ServiceConfig, card: ModelCard, model: DeploymentHandle) -> None:
        self.config, self.card, self.model = config, card, Replicas(model)

    def __serve_build_asgi_app__(self) -> FastAPI:
        return create_app(self.config, self.card, self.model)


class Replicas:
    """The gateway's ``Answerer``: asks a model replica and turns what goes wrong there into a refusal."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self.handle = handle

    async def answer(self, question: Question) -> Piece:
        with _refusals():
            return await self.handle.answer.remote(question)

    async def stream(self, question: Question) -> AsyncIterator[Piece]:
        pieces = self.handle.options(stream=True).stream.remote(question)
        try:
            with _refusals():
                async for piece in pieces:
                    yield piece
        except (asyncio.CancelledError, GeneratorExit):  # the client went away: its row leaves the batch
            pieces.cancel()
            raise

    async def ready(self) -> None:
        try:
            with _refusals():
                await asyncio.wait_for(self.handle.ready.remote(), READY_TIMEOUT_S)
        except TimeoutError:
            raise _unavailable(f"no model replica answered within {READY_TIMEOUT_S:g} s") from None


@serve.deployment
class Model:
    """One copy of the model. Questions that arrive together are encoded and decoded together."""

    def __init__(self, config: ServiceConfig, card: ModelCard) -> None:
        folder = open_model(config, card)
        device = "cuda" if config.gpus_per_replica else "cpu"
        self.model = ProteinToText.from_pretrained(folder).to(device)
        self.engine = TransformersEngine(self.model, stall_timeout_s=config.stall_timeout_s)
        self.engine.start()
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._decode.set_max_batch_size(config.batch_size)
        self._decode.set_batch_wait_timeout_s(config.batch_wait_s)
        logger.info("loaded %s version %s, weights %s, on %s", card.name, card.version, card.weights[:12], device)

    async def answer(self, question: Question) -> Piece:
        """The whole answer; it goes the same way as a streamed one."""
        async with aclosing(self.stream(question)) as pieces:
            parts = [piece async for piece in pieces]
        return replace(parts[-1], text="".join(piece.text for piece in parts))

    async def stream(self, question: Question) -> AsyncIterator[Piece]:
        """The answer as it is made. A caller that stops listening cancels its row."""
        prepared = await self._in_thread(prepare, self.model, question)
        try:
            async for piece in self._decode(prepared):
                yield piece
        finally:
            self.engine.cancel(question.id)

    @serve.batch(max_batch_size=8)
    async def _decode(self, batch: list[Prepared]) -> AsyncIterator[Step]:
        steps = answer_batch(self.model, self.engine, batch)
        while (step := await self._in_thread(next, steps, None)) is not None:
            yield step

    async def ready(self) -> None:
        """Return when the engine can answer."""
        self.engine.health()

    def check_health(self) -> None:
        """Serve replaces a replica whose engine has failed or hangs."""
        self.engine.health()

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Run work of the model on its one thread, so that health checks are answered meanwhile."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, work, *arguments)


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except BackPressureError as error:
        raise Refused(429, f"{error} Repeat it shortly.", code="too_many_requests", retry_after_s=1) from None
    except RecordError as error:  # arrives as the replica raised it, wrapped by Ray in a class derived from both
        cause = getattr(error, "cause", error)
        raise Refused(422, str(cause), code="outside_limits", param="messages") from None
    except (RayError, RayServeException) as error:
        logger.warning("model replica failed: %s", type(error).__name__)
        raise _unavailable(f"the model replica failed ({type(error).__name__})") from None


def _unavailable(problem: str) -> Refused:
    return Refused(503, f"No answer: {problem}. Repeat the request shortly.", code="unavailable", retry_after_s=5)
