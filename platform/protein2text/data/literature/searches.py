"""Searches that were made, kept line by line as they come, so that a killed run makes none of them twice."""

import json
import logging
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from protein2text.data.literature.entrez import Search

logger = logging.getLogger(__name__)


class Searches:
    """A file of finished searches, opened for more; a line that a kill cut short is dropped."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes() if path.is_file() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(path, len(whole))
        rows = [json.loads(line) for line in whole.splitlines()]
        self._done = {row["query"]: Search(row["hits"], tuple(row["pmcids"]), row["unreached"]) for row in rows}
        self._file = path.open("a", encoding="utf-8")
        if rows:
            logger.info("%s holds %d searches already", path, len(rows))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._file.close()

    def get(self, query: str) -> Search | None:
        """A search that was made before."""
        return self._done.get(query)

    def keep(self, query: str, search: Search) -> None:
        """Keep a search for the next run."""
        self._done[query] = search
        row = {"query": query, "hits": search.hits, "unreached": search.unreached, "pmcids": search.pmcids}
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._file.flush()
