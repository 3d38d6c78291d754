"""A small client: one question about one or more proteins, over HTTP. Needs only httpx."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from protein2text.errors import ServiceError


@dataclass(frozen=True)
class Answer:
    """An answer and where it came from."""

    text: str
    finish: str
    """``stop`` for a complete answer, ``length`` for one cut at ``max_tokens``."""
    provenance: dict[str, Any]
    """The service's ``protein2text`` object: model, version, weights, proteins, decoding."""
    usage: dict[str, int]


def ask(
    url: str,
    sequences: str | Sequence[str],
    question: str,
    *,
    max_tokens: int | None = None,
    temperature: float = 0.0,
    seed: int | None = None,
    timeout_s: float = 120.0,
) -> Answer:
    """Ask a running service.

    Args:
        url: of the service, such as ``http://127.0.0.1:8000``.
        sequences: one protein or several, each raw residues or one FASTA record.
        question: plain text.
        max_tokens: longest answer; the service's default when None.
        temperature: 0 is greedy.
        seed: repeats a sampled answer.
        timeout_s: for the whole answer.

    Raises:
        ServiceError: no service there, or it refused; its own message says the value, the limit and the remedy.
    """
    body = _body(sequences, question, max_tokens, temperature, seed)
    with _service_errors(url), httpx.Client(timeout=timeout_s) as client:
        response = client.post(_chat(url), json=body)
        _check(url, response)
        answer = response.json()
        choice = answer["choices"][0]
        text, finish = choice["message"]["content"], choice["finish_reason"]
        return Answer(text, finish, answer["protein2text"], answer["usage"])


def ask_stream(
    url: str,
    sequences: str | Sequence[str],
    question: str,
    *,
    max_tokens: int | None = None,
    temperature: float = 0.0,
    seed: int | None = None,
    timeout_s: float = 120.0,
) -> Iterator[str]:
    """Like ``ask``, piece by piece.

    Raises:
        ServiceError: as ``ask``, or the service failed in the middle of the answer.
    """
    body = {**_body(sequences, question, max_tokens, temperature, seed), "stream": True}
    with (
        _service_errors(url),
        httpx.Client(timeout=timeout_s) as client,
        client.stream("POST", _chat(url), json=body) as response,
    ):
        if response.is_error:
            response.read()
        _check(url, response)
        for line in response.iter_lines():
            if line == "data: [DONE]":
                return
            if line.startswith("data: "):
                event = json.loads(line.removeprefix("data: "))
                if "error" in event:
                    raise ServiceError(url, event["error"]["message"], "Ask again.")
                yield from (choice["delta"]["content"] for choice in event["choices"] if choice["delta"].get("content"))
    raise ServiceError(url, "the answer broke off before its end", "Ask again; its log holds the cause.")


def _body(
    sequences: str | Sequence[str], question: str, max_tokens: int | None, temperature: float, seed: int | None
) -> dict[str, Any]:
    texts = [sequences] if isinstance(sequences, str) else list(sequences)
    proteins = [{"fasta" if ">" in text else "sequence": text} for text in texts]
    content = [*({"type": "protein", "protein": protein} for protein in proteins), {"type": "text", "text": question}]
    options = {"max_tokens": max_tokens, "seed": seed}
    given = {key: value for key, value in options.items() if value is not None}
    return {"messages": [{"role": "user", "content": content}], "temperature": temperature, **given}


def _chat(url: str) -> str:
    return f"{url.rstrip('/')}/v1/chat/completions"


@contextmanager
def _service_errors(url: str) -> Iterator[None]:
    try:
        yield
    except httpx.TimeoutException as error:
        raise ServiceError(
            url, f"no answer in time ({type(error).__name__})", "Raise the timeout or ask less."
        ) from error
    except httpx.InvalidURL as error:
        raise ServiceError(url, f"not a URL ({error})", "Write http://HOST:PORT.") from error
    except httpx.HTTPError as error:
        remedy = "Start the service (`protein2text serve`) or check the address."
        raise ServiceError(url, f"not reached ({type(error).__name__}: {error})", remedy) from error
    except (json.JSONDecodeError, KeyError, IndexError, TypeError) as error:
        problem = f"an answer that is not a chat completion ({type(error).__name__}: {error})"
        raise ServiceError(url, problem, "Check that the address is that of a Protein2Text service.") from error


def _check(url: str, response: httpx.Response) -> None:
    """Raise the service's own words for anything but success."""
    if response.is_success:
        return
    retry = response.headers.get("retry-after")
    remedy = f"The service asks for {retry} s of patience." if retry else "The service refused the request."
    try:
        message = str(response.json()["error"]["message"])
    except (json.JSONDecodeError, KeyError, TypeError):
        message = response.text[:200]
    raise ServiceError(url, f"{response.status_code}: {message.rstrip('.')}", remedy)
