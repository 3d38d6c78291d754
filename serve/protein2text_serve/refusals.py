"""Errors over HTTP: OpenAI's error object, whose message says the value, the place, the limit and the remedy."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

KINDS = {429: "rate_limit_error", 500: "server_error", 503: "service_unavailable_error"}


class Refused(HTTPException):
    """A request that is not answered.

    Args:
        status: 400 unreadable, 403 foreign Host, 404 no such model, 413 body too large, 422 outside a limit,
            429 too many at once, 503 no replica.
        message: the whole story for a person.
        param: dotted path of the offending value, as in OpenAI's errors.
        code: short word for a program.
    """

    def __init__(
        self, status: int, message: str, *, code: str, param: str | None = None, retry_after_s: int | None = None
    ) -> None:
        headers = None if retry_after_s is None else {"Retry-After": str(retry_after_s)}
        super().__init__(status, detail=message, headers=headers)
        self.param, self.code = param, code

    def body(self) -> dict[str, Any]:
        """OpenAI's error object."""
        return error_body(self.status_code, str(self.detail), self.code, self.param)

    def response(self) -> JSONResponse:
        return JSONResponse(self.body(), self.status_code, headers=self.headers)


def error_body(status: int, message: str, code: str, param: str | None = None) -> dict[str, Any]:
    """OpenAI's error object."""
    kind = KINDS.get(status, "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def install(app: FastAPI) -> None:
    """Answer every error of ``app`` in OpenAI's shape."""

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        if not isinstance(error, Refused):
            error = _framework_refusal(error)
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def shape(_: Request, error: RequestValidationError) -> JSONResponse:
        return _shape_refusal(error).response()

    @app.exception_handler(Exception)
    async def defect(_: Request, error: Exception) -> JSONResponse:
        message = f"The service failed ({type(error).__name__}); the request may be repeated. Its log holds the cause."
        return JSONResponse(error_body(500, message, "internal_error"), 500)


def _framework_refusal(error: HTTPException) -> Refused:
    """What FastAPI itself refuses: unknown paths and methods, and bodies that its JSON reader gives up on."""
    if error.status_code == 400:
        return Refused(400, "The body could not be read as JSON. Send one JSON object.", code="invalid_json")
    code = "not_found" if error.status_code == 404 else "bad_request"
    return Refused(error.status_code, f"{error.detail}. See /v1/models and /v1/chat/completions.", code=code)


def _place(path: tuple[int | str, ...]) -> str:
    """``messages[0].content[1].protein``; the kind of a part, which pydantic puts after its number, is left out."""
    text = ""
    for before, part in zip((None, *path), path, strict=False):
        if isinstance(part, int):
            text += f"[{part}]"
        elif not (isinstance(before, int) and part in {"text", "protein"}):
            text += f".{part}"
    return text.removeprefix(".")


def _shape_refusal(error: RequestValidationError) -> Refused:
    """The first shape error as one sentence. Pydantic's own text, because it names what would fit."""
    first = error.errors()[0]
    place = _place(first["loc"][1:])
    if first["type"] == "json_invalid":
        reason = first.get("ctx", {}).get("error", "")
        return Refused(400, f"The body is not JSON: {reason}. Send one JSON object.", code="invalid_json")
    if not place and isinstance(first.get("input"), dict):
        return Refused(400, f"{_message(first)}", code="invalid_value")
    if not place:
        message = "The body must be one JSON object, sent with Content-Type: application/json."
        return Refused(400, f"{message} ({_message(first)})", code="invalid_body")
    value = first.get("input")
    shown = f" (value: {value!r})" if isinstance(value, (bool, int, float)) or value is None else ""
    return Refused(400, f"{place}: {_message(first)}{shown}", param=place, code="invalid_value")


def _message(first: dict[str, Any]) -> str:
    return str(first["msg"]).removeprefix("Value error, ")
