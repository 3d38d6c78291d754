"""The gateway in this process, over an answerer that says what a random model hardly ever would."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import httpx
import pytest

from protein2text_serve.gateway import create_app
from protein2text_serve.question import ModelCard, Piece, Question
from protein2text_serve.refusals import Refused
from protein2text_serve.settings import ServiceConfig

CARD = ModelCard("u", "f", "m", "1", "0" * 64, max_residues=64, trained_residues=64, created=0)
REQUEST: dict[str, Any] = {
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "protein", "protein": {"sequence": "MK"}},
                {"type": "text", "text": "Where?"},
            ],
        }
    ]
}


class Script:
    """Answers with given pieces; an exception among them is raised in its turn. Waits at ``gate`` if there is one."""

    def __init__(self, *pieces: Piece | Exception) -> None:
        self.pieces = pieces
        self.gate: anyio.Event | None = None

    async def answer(self, question: Question) -> Piece:
        parts = [piece async for piece in self.stream(question)]
        last = parts[-1]
        return Piece("".join(part.text for part in parts), last.finish, 3, len(parts), last.details)

    async def stream(self, question: Question) -> AsyncIterator[Piece]:
        for piece in self.pieces:
            if self.gate is not None:
                await self.gate.wait()
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def ready(self) -> None:
        return None


def talk(script: Script, work: Callable[[httpx.AsyncClient], Any], **limits: Any) -> Any:
    """Run ``work`` with a client of an application over ``script``."""

    async def main() -> Any:
        app = create_app(ServiceConfig(model="m", **limits), CARD, script)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await work(client)

    return anyio.run(main)


def ask(script: Script, **more: Any) -> httpx.Response:
    async def work(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post("/v1/chat/completions", json={**REQUEST, **more})

    response = talk(script, work)
    assert isinstance(response, httpx.Response)
    return response


@pytest.mark.parametrize("stream", [False, True])
def test_what_an_answer_rests_on_stands_beside_its_provenance(stream: bool) -> None:
    details = {"neighbours": {"status": "answered", "facts": [{"kind": "ec", "value": "3.2.1.4"}]}}
    response = ask(Script(Piece("It "), Piece("is.", "stop", details=details)), stream=stream)
    bodies = [
        json.loads(line.removeprefix("data: "))
        for line in response.text.splitlines()
        if line and line != "data: [DONE]"
    ]
    told = [body["protein2text"] for body in bodies if "protein2text" in body]
    assert told[-1]["neighbours"] == details["neighbours"]
    assert {**told[0], **details} == told[-1], "nothing that was said at first is taken back"
    assert len(told) == 1 + stream


@pytest.mark.parametrize("text", ["a\u2028b", "a\x85b", "a\x0bb\x0c", "a\n\ndata: [DONE]\n\nb", 'quote " and \\', "🧬"])
def test_no_text_of_an_answer_breaks_an_event(text: str) -> None:
    response = ask(Script(Piece(text), Piece("", "stop")), stream=True)
    lines = [line for line in response.text.splitlines() if line]
    assert lines[-1] == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == text


def test_a_refusal_before_the_first_piece_has_its_own_status() -> None:
    for stream in (False, True):
        response = ask(Script(Refused(503, "gone", code="unavailable", retry_after_s=5)), stream=stream)
        assert (response.status_code, response.headers["retry-after"]) == (503, "5")
        assert response.json()["error"]["message"] == "gone"


def test_a_refusal_in_the_middle_is_an_event_and_the_stream_is_not_done() -> None:
    response = ask(Script(Piece("begun"), Refused(503, "gone", code="unavailable")), stream=True)
    last = response.text.strip().splitlines()[-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "unavailable"
    assert "[DONE]" not in response.text
    assert "begun" in response.text


def test_a_defect_is_500_in_the_same_shape_and_tells_nothing_of_the_inside() -> None:
    response = ask(Script(KeyError("secret place")))
    assert response.status_code == 500
    assert "secret" not in response.text
    assert response.json()["error"]["type"] == "server_error"


@pytest.mark.parametrize("stream", [False, True])
def test_places_are_given_back_however_an_exchange_ends(stream: bool) -> None:
    script = Script(Piece("x"), Piece("", "stop"))

    async def work(client: httpx.AsyncClient) -> list[int]:
        async def post(body: dict[str, Any]) -> int:
            return (await client.post("/v1/chat/completions", json=body)).status_code

        statuses = []
        for outcome in (Piece("y"), Refused(503, "gone", code="unavailable"), ValueError("defect")):
            script.gate, script.pieces = anyio.Event(), (outcome, Piece("", "stop"))
            async with anyio.create_task_group() as group:
                for _ in range(2):
                    group.start_soon(post, {**REQUEST, "stream": stream})
                await anyio.wait_all_tasks_blocked()
                statuses.append(await post(REQUEST))  # the third is refused while two are held
                script.gate.set()
            with anyio.move_on_after(0.01):  # a client that leaves before its answer
                script.gate = anyio.Event()
                await post({**REQUEST, "stream": stream})
            script.gate, script.pieces = None, (Piece("z", "stop"),)
            statuses.append(await post(REQUEST))
            statuses.append(await post({}))  # refused, after it was let in
        return statuses

    assert talk(script, work, max_in_flight=2) == [429, 200, 400] * 3
