"""Writes texts through an OpenAI-compatible service, such as vLLM's, a bounded number of requests at a time."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx

from protein2text.data.patient_http import RETRIED, Patience, send
from protein2text.data.qa.generator import FAILED, Request, Written
from protein2text.data.qa.generator_config import GeneratorConfig
from protein2text.data.qa.schema import QA_SCHEMA
from protein2text.errors import ServiceError

PATIENCE = Patience(timeout_s=600.0)
"""A long text on a busy service takes minutes."""
HOPELESS = {401, 403, 404, 405}
"""Answers that say that no request of this run will be served: a wrong key, a wrong address, an unknown model."""
_FINAL = frozenset(range(400, 600)) - RETRIED
"""Refusals that asking again does not change."""
_REMEDY = "Check --url, the model's name there and OPENAI_API_KEY; what was generated is kept."
_SHOWN = 300
"""Letters of a service's own words that a message quotes."""


class OpenAiGenerator:
    """A client of one service and one model."""

    def __init__(
        self, config: GeneratorConfig, *, concurrency: int, api_key: str | None, patience: Patience = PATIENCE
    ) -> None:
        self._config, self._patience = config, patience
        self._url = f"{str(config.url).rstrip('/')}/chat/completions"
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._concurrency = concurrency

    def write(self, requests: Sequence[Request]) -> list[Written]:
        """See ``Generator.write``."""
        with (
            httpx.Client(headers=self._headers, timeout=self._patience.timeout_s) as client,
            ThreadPoolExecutor(max_workers=self._concurrency) as pool,
        ):
            return list(pool.map(partial(self._one, client), requests))

    def _one(self, client: httpx.Client, request: Request) -> Written:
        """One text, asked for again while the failure may pass."""
        sent = client.build_request("POST", self._url, json=self._body(request))
        try:
            answer = send(client, sent, self._patience, remedy=_REMEDY, accepted=_FINAL)
        except ServiceError as error:
            return Written(None, reason=FAILED, message=error.problem)
        if answer.is_success:
            return _read(answer)
        problem = f"HTTP {answer.status_code}: {' '.join(answer.text.split())[:_SHOWN]}"
        if answer.status_code in HOPELESS:
            raise ServiceError(self._url, problem, _REMEDY)
        return Written(None, reason=FAILED, message=problem)

    def _body(self, request: Request) -> dict[str, Any]:
        config = self._config
        return {
            "model": config.model,
            "messages": request.messages,
            "max_tokens": config.max_new_tokens,
            "temperature": config.temperature,
            "top_p": config.top_p,
            "seed": request.seed,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "pairs", "strict": True, "schema": QA_SCHEMA},
            },
        }


def _read(answer: httpx.Response) -> Written:
    """The text in a service's answer; anything else than the protocol's form is that passage's failure."""
    try:
        choice = answer.json()["choices"][0]
        text, finish = choice["message"]["content"], choice.get("finish_reason")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        shown = " ".join(answer.text.split())[:_SHOWN]
        return Written(None, reason=FAILED, message=f"no chat completion ({type(error).__name__}): {shown}")
    if not isinstance(text, str):
        return Written(None, reason=FAILED, message=f"the service gave no text (finish_reason {finish!r})")
    storable = text.encode("utf-8", "backslashreplace").decode()  # half of a surrogate pair cannot be encoded
    return Written(storable, finish="length" if finish == "length" else "stop")
