"""The gateway as a Ray Serve deployment, and its way to the model replicas. It imports no torch."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import BackPressureError, RayServeException

from protein2text.errors import RecordError
from protein2text_serve.gateway import create_app
from protein2text_serve.question import ModelCard, Piece, Question
from protein2text_serve.refusals import Refused
from protein2text_serve.settings import ServiceConfig

logger = logging.getLogger(__name__)

READY_TIMEOUT_S = 5.0

Handle = Any
"""Ray's ``DeploymentHandle`` of the model; its methods come by name, so it has no useful type."""


@serve.ingress()
class Gateway:
    """HTTP in front of the model replicas. It holds no weights, so it starts at once and several are cheap."""

    def __init__(self, config: ServiceConfig, card: ModelCard, model: Handle) -> None:
        self.config, self.card, self.model = config, card, Replicas(model)

    def __serve_build_asgi_app__(self) -> FastAPI:
        return create_app(self.config, self.card, self.model)


class Replicas:
    """The gateway's ``Answerer``: asks a model replica and turns what goes wrong there into a refusal."""

    def __init__(self, handle: Handle) -> None:
        self.handle = handle

    async def answer(self, question: Question) -> Piece:
        with _refusals():
            answer: Piece = await self.handle.answer.remote(question)
            return answer

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
