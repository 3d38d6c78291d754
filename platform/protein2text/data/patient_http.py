"""HTTP requests to other people's services: at the pace they allow, and again while a failure may pass."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from protein2text.errors import ServiceError

logger = logging.getLogger(__name__)

RETRIED = frozenset({429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Patience:
    """How often and how long a request is tried again; each wait doubles the one before."""

    attempts: int = 6
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    timeout_s: float = 60.0

    def wait_s(self, attempt: int, asked_s: float | None) -> float:
        """Pause after a failed attempt (counted from 0): what the service asked for, else the doubled wait."""
        return min(self.longest_wait_s, asked_s if asked_s is not None else self.first_wait_s * 2**attempt)


class Pace:
    """Holds requests of one process to a rate."""

    def __init__(self, per_s: float) -> None:
        self._interval_s, self._next = 1.0 / per_s, 0.0

    def wait(self) -> None:
        """Return when the next request may leave."""
        pause_s = self._next - time.monotonic()
        if pause_s > 0:
            time.sleep(pause_s)
        self._next = time.monotonic() + self._interval_s


def send(
    client: httpx.Client,
    request: httpx.Request,
    patience: Patience,
    *,
    remedy: str,
    accepted: frozenset[int] = frozenset(),
    problem_in: Callable[[httpx.Response], str | None] = lambda answer: None,
    pace: Pace | None = None,
) -> httpx.Response:
    """One answer, asked for again while the failure may pass.

    Args:
        client: carries the time limit.
        request: with a body that can be sent twice.
        patience: how often.
        remedy: what the user can do about a refusal, in the error.
        accepted: statuses beside success that the caller understands, e.g. 404.
        problem_in: what is wrong with a successful answer, where a service reports passing failures in its text.
        pace: waited for before every attempt.

    Raises:
        ServiceError: refused, or failing after all attempts.
    """
    problem, url = "", str(request.url)
    for attempt in range(patience.attempts):
        asked_s = None
        if pace is not None:
            pace.wait()
        try:
            answer = client.send(request)
        except httpx.RequestError as error:
            problem = f"{type(error).__name__}: {error}"
        else:
            if answer.status_code in accepted:
                return answer
            if answer.is_success:
                if (fault := problem_in(answer)) is None:
                    return answer
                problem = fault
            else:
                problem = f"HTTP {answer.status_code}: {' '.join(answer.text.split())[:200]}"
                if answer.status_code not in RETRIED:
                    raise ServiceError(url, problem, remedy)
                asked_s = retry_after_s(answer.headers.get("retry-after", ""))
        if attempt + 1 < patience.attempts:
            pause_s = patience.wait_s(attempt, asked_s)
            logger.warning("%s; attempt %d of %d, again in %.1f s", problem, attempt + 1, patience.attempts, pause_s)
            time.sleep(pause_s)
    raise ServiceError(url, f"{problem}, {patience.attempts} times", "Check the network, or try again later.")


def retry_after_s(header: str) -> float | None:
    """Seconds that a ``Retry-After`` header asks for, as a number or as a date (RFC 9110, section 10.2.3)."""
    if header.strip().isdecimal():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
