"""Searches PubMed Central through NCBI's E-utilities: https://www.ncbi.nlm.nih.gov/books/NBK25499.

A search is kept on NCBI's history server and its ids are fetched from there in pages. One that finds more than the
service hands out is split by date of publication until every part is small enough.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Self

import httpx

from protein2text.data.literature.jats import parse_xml
from protein2text.data.patient_http import Pace, Patience, send
from protein2text.errors import ConfigError, ServiceError, UnusableRecord

ENTREZ_URL = "https://eutils.ncbi.nlm.nih.gov/entrez/eutils"
API_KEY_VARIABLE = "NCBI_API_KEY"
TOOL = "protein2text"
REQUESTS_PER_S, REQUESTS_PER_S_WITH_KEY = 3.0, 10.0
MAX_HITS = 10_000
"""Most hits of one search that the service hands out."""
PAGE = 5_000
"""Ids fetched at once."""
FIRST_DAY = date(1700, 1, 1)
DAYS_AHEAD = 730
"""Journals date issues ahead."""

Judge = Callable[[httpx.Response], str | None]
"""Says what is wrong with an answer that may be right another time; None where nothing is."""

_SPECIAL = re.compile(r'["\[\]()]+')


@dataclass(frozen=True)
class Search:
    """What a query finds."""

    hits: int
    """As the service counts them."""
    pmcids: tuple[str, ...]
    """Sorted by number."""
    unreached: int
    """Hits that could not be had: more than the limit in a single day, or without a date in a search that was split."""


@dataclass(frozen=True)
class _Found:
    count: int
    web_env: str
    query_key: str


def query_of(names: Iterable[str]) -> str:
    """Articles of the open-access subset that hold one of the names in title or abstract."""
    quoted = dict.fromkeys(" ".join(_SPECIAL.sub(" ", name).split()) for name in names)
    terms = [f'"{name}"[{field}]' for name in quoted if name for field in ("Title", "Abstract")]
    return f"({' OR '.join(terms)}) AND open access[filter]"


class Entrez:
    """A client that keeps NCBI's rules: it says who asks, and no more often than allowed."""

    def __init__(
        self, email: str, *, api_key: str | None = None, url: str = ENTREZ_URL, patience: Patience = Patience()
    ) -> None:
        if "@" not in email:
            message = (
                f"{email!r} is no e-mail address; NCBI asks every program for one, to write before it blocks it. "
                f"Give --email you@example.org."
            )
            raise ConfigError("data literature", "email", message)
        self._url, self._patience = url.rstrip("/"), patience
        self._pace = Pace(REQUESTS_PER_S_WITH_KEY if api_key else REQUESTS_PER_S)
        self._who = {"db": "pmc", "tool": TOOL, "email": email, **({"api_key": api_key} if api_key else {})}
        self._client = httpx.Client(timeout=patience.timeout_s, follow_redirects=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._client.close()

    def search(self, query: str) -> Search:
        """All articles that a query finds.

        Raises:
            ServiceError: unreachable, a query that is not understood, or an answer that is not whole.
        """
        whole = self._find(query, None)
        if whole.count <= MAX_HITS:
            ids = set(self._ids(whole))
        else:
            last = datetime.now(UTC).date() + timedelta(days=DAYS_AHEAD)
            ids = set(self._split(query, FIRST_DAY, last))
        pmcids = tuple(f"PMC{number}" for number in sorted(ids))
        return Search(whole.count, pmcids, max(0, whole.count - len(pmcids)))

    def _split(self, query: str, first: date, last: date) -> Iterator[int]:
        """Ids of what was published from one day to another, both included."""
        found = self._find(query, (first, last))
        if found.count <= MAX_HITS:
            yield from self._ids(found)
        elif first < last:
            middle = first + (last - first) // 2
            yield from self._split(query, first, middle)
            yield from self._split(query, middle + timedelta(days=1), last)

    def _find(self, query: str, days: tuple[date, date] | None) -> _Found:
        form = {"term": query, "usehistory": "y", "retmax": "0"}
        if days is not None:
            first, last = (day.strftime("%Y/%m/%d") for day in days)
            form |= {"datetype": "pdat", "mindate": first, "maxdate": last}
        root = parse_xml(self._post("esearch.fcgi", form, _error_in).content, "esearch")
        if unknown := [node.text or "" for node in root.findall("ErrorList/FieldNotFound")]:
            raise ServiceError(self._url, f"unknown search field {unknown[0]!r}", "Report this as a bug.")
        count, web_env, key = (root.findtext(name) or "" for name in ("Count", "WebEnv", "QueryKey"))
        if not count.isdigit() or (int(count) and not (web_env and key)):
            raise ServiceError(self._url, "esearch answered without Count, WebEnv and QueryKey", "Try again later.")
        return _Found(int(count), web_env, key)

    def _ids(self, found: _Found) -> Iterator[int]:
        for start in range(0, found.count, PAGE):
            expected = min(PAGE, found.count - start)
            form = {
                "WebEnv": found.web_env, "query_key": found.query_key, "rettype": "uilist", "retmode": "text",
                "retstart": str(start), "retmax": str(expected),
            }  # fmt: skip
            answer = self._post("efetch.fcgi", form, partial(_not_ids, expected=expected))
            yield from map(int, answer.text.split())

    def _post(
        self, program: str, form: dict[str, str], problem_in: Callable[[httpx.Response], str | None]
    ) -> httpx.Response:
        """POST, since queries are long, and since an API key belongs in no address that is logged."""
        request = self._client.build_request("POST", f"{self._url}/{program}", data={**self._who, **form})
        remedy = f"Check the e-mail address and {API_KEY_VARIABLE}; see www.ncbi.nlm.nih.gov/books/NBK25497."
        return send(self._client, request, self._patience, remedy=remedy, problem_in=problem_in, pace=self._pace)


def _error_in(answer: httpx.Response) -> str | None:
    """NCBI reports passing failures of its back end inside an answer that claims success."""
    try:
        root = parse_xml(answer.content, "esearch")
    except UnusableRecord as refusal:
        return str(refusal)
    error = root.findtext("ERROR")
    return f"esearch: {error.strip()}" if error else None


def _not_ids(answer: httpx.Response, expected: int) -> str | None:
    ids = answer.text.split()
    if not all(number.isdigit() for number in ids):
        return f"efetch sent no list of ids: {' '.join(ids)[:120]}"
    return None if len(ids) == expected else f"efetch sent {len(ids)} ids, {expected} were announced"
