"""An index of neighbours behind the interface of answerers. It loads no torch but to show remote neighbours."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from protein2text.answerers import Query, Reply
from protein2text.models.long_proteins import EXACT, Reading
from protein2text.neighbours.answerer import NeighbourAnswerer
from protein2text.neighbours.index_folder import NeighbourIndex
from protein2text.neighbours.remote import RemoteSearch, open_remote

QUERIES_AT_ONCE = 2000
"""Questions of one search: it bounds memory, and what a killed prediction answers again."""
NO_PROTEIN = "there is no protein to look up"
"""The answer to a question without one."""


def open_index(folder: Path, *, remote: bool = False) -> "IndexAnswerer":
    """The index in a folder.

    Args:
        remote: show what lies near in the space of its encoder, if it was embedded, where there is no homologue.

    Raises:
        ConfigError: of another version, or faiss is needed and not installed.
        MissingFile: no finished index there.
        CorruptCheckpoint: it differs from its manifest.
    """
    index = NeighbourIndex.open(folder)
    return IndexAnswerer(index, open_remote(index) if remote else None)


class IndexAnswerer:
    """An index that answers questions in batches, one search for each batch."""

    def __init__(self, index: NeighbourIndex, remote: RemoteSearch | None = None) -> None:
        self.index = index
        self._neighbours = NeighbourAnswerer(index, remote)
        self._num_searches = self._num_answered = self._num_own = 0

    @property
    def identity(self) -> dict[str, Any]:
        return {**self.index.identity, "release": self.index.release}

    @property
    def settings(self) -> dict[str, Any]:
        return {}

    @property
    def reading(self) -> Reading:
        return EXACT

    def check(self, query: Query) -> None:
        """Every question gets an answer, if only that it has none."""

    def answer(self, queries: Sequence[Query]) -> Iterator[list[Reply]]:
        """See ``Answerer``; questions about one protein share a search."""
        ordered = sorted(queries, key=_sequences)
        for begin in range(0, len(ordered), QUERIES_AT_ONCE):
            chosen = ordered[begin : begin + QUERIES_AT_ONCE]
            asked = [query for query in chosen if query.proteins]
            without = {number: query.without for number, query in enumerate(asked) if query.without}
            answers = self._neighbours.answer([(query.question, query.proteins) for query in asked], without=without)
            self._num_searches += bool(asked)
            replies = [
                Reply(query.id, NO_PROTEIN, self._refusal(), claims="") for query in chosen if not query.proteins
            ]
            for query, answer in zip(asked, answers, strict=True):
                self._num_answered += answer.status == "answered"
                accessions = {protein.accession for protein in query.proteins}
                is_own = any(source.entry.accession in accessions for fact in answer.facts for source in fact.sources)
                self._num_own += is_own
                told = {**answer.as_dict(), "own_entry": is_own}
                replies.append(Reply(query.id, answer.text, {"neighbours": told}, answer.claims))
            yield replies

    def entries(self) -> Iterator[tuple[str, str]]:
        """Accession and checksum of every entry, a few at a time in memory."""
        for table in self.index.tables(["accession", "checksum"]):
            yield from zip(table["accession"].to_pylist(), table["checksum"].to_pylist(), strict=True)

    def work(self) -> dict[str, float]:
        """See ``Answerer``."""
        return {
            "searches": self._num_searches,
            "with_an_answer": self._num_answered,
            "from_own_entry": self._num_own,
        }

    def _refusal(self) -> dict[str, Any]:
        told = {"status": "no_protein", "release": self.index.release, "facts": [], "domain_hits": [], "notes": []}
        return {"neighbours": told}


def _sequences(query: Query) -> list[str]:
    return [protein.sequence for protein in query.proteins]
