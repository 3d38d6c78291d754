"""Downloads the answer to a UniProtKB query page by page: https://www.uniprot.org/help/api_queries."""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx

from protein2text.data.records import write_json
from protein2text.data.sources import ORIGIN_SUFFIX
from protein2text.errors import ServiceError

logger = logging.getLogger(__name__)

SEARCH_URL = "https://rest.uniprot.org/uniprotkb/search"
FIELDS = "accession,id,protein_name,gene_names,organism_name,length,cc_function,ec,sequence"
PAGE_SIZE = 500
"""Entries a page; the service allows no more."""
RETRIED = {429, 500, 502, 503, 504}
LICENCE = "CC BY 4.0"


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


def retry_after_s(header: str) -> float | None:
    """Seconds that a ``Retry-After`` header asks for, as a number or as a date (RFC 9110, section 10.2.3)."""
    if header.strip().isdecimal():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())


@dataclass(frozen=True)
class Origin:
    """Where a table came from; stored beside it and in every record's provenance."""

    query: str
    url: str
    release: str
    release_date: str
    entries: int
    licence: str = LICENCE


def fetch(
    query: str,
    folder: str | Path,
    *,
    url: str = SEARCH_URL,
    patience: Patience = Patience(),
    progress: Callable[[dict[str, Any]], None] | None = None,
) -> Path:
    """Download all entries that a query finds as one table, with its origin beside it.

    Args:
        query: in UniProt's language, e.g. ``reviewed:true AND cc_function:*``.
        folder: receives ``uniprot.tsv`` and its origin, both only when complete; a complete one of the same query is
            used again.
        url: the search service.
        patience: for failures that may pass.
        progress: told the entries so far and their total after each page.

    Raises:
        ServiceError: refused, unreachable after all attempts, or an answer that is not whole: fewer entries than
            announced, or two releases in one answer.
    """
    table = Path(folder) / "uniprot.tsv"
    origin_path = table.with_name(table.name + ORIGIN_SUFFIX)
    if table.is_file() and origin_path.is_file() and json.loads(origin_path.read_text())["query"] == query:
        logger.info("%s holds the answer to this query already", table)
        return table
    table.parent.mkdir(parents=True, exist_ok=True)
    part = table.with_name(table.name + ".tmp")
    with (
        httpx.Client(timeout=patience.timeout_s, follow_redirects=True) as client,
        part.open("w", encoding="utf-8", newline="\n") as file,
    ):
        origin = _pages(client, query, url, patience, file.write, progress)
    part.replace(table)
    write_json(asdict(origin), origin_path)
    logger.info("%d entries of UniProt release %s for %r", origin.entries, origin.release, query)
    return table


def _pages(
    client: httpx.Client,
    query: str,
    url: str,
    patience: Patience,
    write: Callable[[str], object],
    progress: Callable[[dict[str, Any]], None] | None,
) -> Origin:
    """Write every page's lines, the header once, and say where they came from."""
    parameters = {"query": query, "fields": FIELDS, "format": "tsv", "size": str(PAGE_SIZE)}
    page: httpx.URL | None = httpx.URL(url, params=parameters)
    header: list[str] = []
    origin: Origin | None = None
    num_entries = 0
    while page is not None:
        answer = _get(client, page, patience)
        lines = [line.removesuffix("\r") for line in answer.text.removesuffix("\n").split("\n")]
        now = _origin(query, url, answer)
        if origin is None:
            origin, header = now, lines[:1]
            write("".join(f"{line}\n" for line in header))
        if now != origin or lines[:1] != header:
            problem = (
                f"release, number of entries or columns changed between pages (release {origin.release} and "
                f"{origin.entries} entries, then {now.release} and {now.entries})"
            )
            raise ServiceError(str(page), problem, "Run the download again.")
        write("".join(f"{line}\n" for line in lines[1:]))
        num_entries += len(lines) - 1
        if progress is not None:
            progress({"stage": "download", "step": num_entries, "num_steps": origin.entries})
        following = answer.links.get("next", {}).get("url")
        page = answer.url.join(following) if following and num_entries <= origin.entries else None
    if origin is None or not origin.entries:
        raise ServiceError(url, f"no entry matches {query!r}", "Widen the query.")
    if num_entries != origin.entries:
        problem = f"{num_entries} entries came, {origin.entries} were announced"
        raise ServiceError(url, problem, "Run the download again; if it persists, narrow the query.")
    return origin


def _origin(query: str, url: str, answer: httpx.Response) -> Origin:
    """What a page says of the whole answer."""
    announced = answer.headers.get("x-total-results", "")
    if not announced.isdecimal():
        problem = f"it does not announce how many entries it found (X-Total-Results: {announced!r})"
        raise ServiceError(str(answer.url), problem, "Check that this is UniProt's search service.")
    release, date = (answer.headers.get(f"x-uniprot-release{part}", "not stated") for part in ("", "-date"))
    return Origin(query, url, release, date, int(announced))


def _get(client: httpx.Client, url: httpx.URL, patience: Patience) -> httpx.Response:
    """One page, tried again while the failure may pass."""
    problem = ""
    for attempt in range(patience.attempts):
        asked_s = None
        try:
            answer = client.get(url)
        except httpx.TransportError as error:
            problem = f"{type(error).__name__}: {error}"
        else:
            if answer.is_success:
                return answer
            problem = f"HTTP {answer.status_code}: {' '.join(answer.text.split())[:200]}"
            if answer.status_code not in RETRIED:
                raise ServiceError(str(url), problem, "Correct the query: www.uniprot.org/help/query-fields.")
            asked_s = retry_after_s(answer.headers.get("retry-after", ""))
        if attempt + 1 < patience.attempts:
            pause_s = patience.wait_s(attempt, asked_s)
            logger.warning("%s; attempt %d of %d, again in %.1f s", problem, attempt + 1, patience.attempts, pause_s)
            time.sleep(pause_s)
    raise ServiceError(str(url), f"{problem}, {patience.attempts} times", "Check the network, or try again later.")
