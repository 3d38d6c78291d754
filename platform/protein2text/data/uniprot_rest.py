"""Downloads the answer to a UniProtKB query page by page: https://www.uniprot.org/help/api_queries."""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from protein2text.data.patient_http import Patience, send
from protein2text.data.records import write_json
from protein2text.data.sources import ORIGIN_SUFFIX
from protein2text.errors import ServiceError

logger = logging.getLogger(__name__)

SEARCH_URL = "https://rest.uniprot.org/uniprotkb/search"
FIELDS = "accession,id,protein_name,gene_names,organism_name,length,date_created,cc_function,ec,sequence"
PAGE_SIZE = 500
"""Entries a page; the service allows no more."""
LICENCE = "CC BY 4.0"
REMEDY = "Correct the query: www.uniprot.org/help/query-fields."


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
        folder: receives ``uniprot.tsv`` and its origin, both only when complete; a complete one of the same query
            to the same service is used again.
        url: the search service.
        patience: for failures that may pass.
        progress: told the entries so far and their total after each page.

    Raises:
        ServiceError: refused, unreachable after all attempts, or an answer that is not whole: fewer entries than
            announced, or two releases in one answer.
    """
    table = Path(folder) / "uniprot.tsv"
    origin_path = table.with_name(table.name + ORIGIN_SUFFIX)
    if table.is_file() and origin_path.is_file():
        origin_before = json.loads(origin_path.read_text())
        if (origin_before["query"], origin_before["url"]) == (query, url):
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
        answer = send(client, client.build_request("GET", page), patience, remedy=REMEDY)
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
