"""The HTTP side: routes, limits and server-sent events. It holds no model and asks one through ``Answerer``."""

import json
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any, Protocol

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response, StreamingResponse

from protein2text_serve import protocol, refusals
from protein2text_serve.guard import Admission, Guard
from protein2text_serve.limits import accept
from protein2text_serve.question import ModelCard, Piece, Question
from protein2text_serve.refusals import Refused
from protein2text_serve.settings import ServiceConfig

CHAT_PATH = "/v1/chat/completions"


class Answerer(Protocol):
    """What answers questions: model replicas on a cluster. Every method raises ``Refused`` when it cannot."""

    async def answer(self, question: Question) -> Piece:
        """The whole answer at once."""

    def stream(self, question: Question) -> AsyncIterator[Piece]:
        """The answer as it is made; the last piece says how it ended. Closing the stream stops the decoding."""

    async def ready(self) -> None:
        """Return when a replica can answer."""


def create_app(config: ServiceConfig, card: ModelCard, model: Answerer) -> FastAPI:
    """Routes over one model; the pages of documentation that load scripts from elsewhere are off."""
    app = FastAPI(title="Protein2Text", docs_url=None, redoc_url=None)
    refusals.install(app)
    app.add_middleware(Admission, path=CHAT_PATH, max_in_flight=config.max_in_flight)
    app.add_middleware(Guard, allowed_hosts=config.allowed_hosts, max_body_bytes=config.max_body_bytes)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The gateway runs."""
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> dict[str, Any]:
        """A model replica answers too."""
        await model.ready()
        return {"status": "ready", "model": card.describe()}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        details = {**card.describe(), "max_residues": card.max_residues, "max_proteins": config.max_proteins}
        entry = {
            "id": card.name,
            "object": "model",
            "created": card.created,
            "owned_by": "protein2text",
            "protein2text": details,
        }
        return {"object": "list", "data": [entry]}

    @app.post(CHAT_PATH)
    async def chat(request: protocol.ChatRequest) -> Response:
        question = accept(request, f"chatcmpl-{uuid.uuid4().hex}", config, card)
        created = int(time.time())
        if not request.stream:
            last = await model.answer(question)
            assert last.finish is not None, "an answer has ended"
            counts = protocol.usage(last.num_prompt_tokens, last.num_tokens)
            body = protocol.completion(question.id, created, card.name, last.text, last.finish, counts)
            return JSONResponse({**body, "protein2text": question.extras(card, last.details)})
        pieces = model.stream(question)
        first = await anext(pieces)  # a refusal still gets its own status
        events = _events(question, card, created, first, pieces, request.stream_options.include_usage)
        return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    return app


async def _events(
    question: Question,
    card: ModelCard,
    created: int,
    first: Piece,
    rest: AsyncIterator[Piece],
    include_usage: bool,
) -> AsyncIterator[str]:
    """Server-sent events of one answer: role and provenance, text, the reason of its end with its facts, ``[DONE]``."""
    opening = protocol.chunk(question.id, created, card.name, {"role": "assistant", "content": ""})
    yield _event({**opening, "protein2text": question.extras(card)})
    last = first
    try:
        async for last in _chain(first, rest):
            if last.text:
                yield _event(protocol.chunk(question.id, created, card.name, {"content": last.text}))
    except Refused as refused:  # the status is sent already, so the error is an event and [DONE] stays away
        yield _event(refused.body())
        return
    ending = protocol.chunk(question.id, created, card.name, {}, last.finish)
    yield _event({**ending, "protein2text": question.extras(card, last.details)} if last.details else ending)
    if include_usage:
        counts = protocol.usage(last.num_prompt_tokens, last.num_tokens)
        closing = protocol.chunk(question.id, created, card.name, {})
        yield _event({**closing, "choices": [], "usage": counts})
    yield "data: [DONE]\n\n"


async def _chain(first: Piece, rest: AsyncIterator[Piece]) -> AsyncIterator[Piece]:
    yield first
    async for piece in rest:
        yield piece


def _event(body: dict[str, Any]) -> str:
    """One event. ASCII, since many clients take U+2028 and its kin, which a model may well write, for line ends."""
    return f"data: {json.dumps(body)}\n\n"
