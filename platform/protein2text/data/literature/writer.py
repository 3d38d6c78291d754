"""Writes a literature folder: articles, passages, what was refused, and last the card that makes it one."""

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa

from protein2text.data.corpus_writer import SHARD_BYTES
from protein2text.data.even_shards import EvenShards
from protein2text.data.literature.article import ARTICLE_SCHEMA
from protein2text.data.passages import PASSAGE_SCHEMA
from protein2text.data.records import QUARANTINE_SCHEMA, row_bytes, write_json
from protein2text.data.tallies import funnel

LITERATURE_VERSION = 1
STEPS: dict[str, tuple[str, ...]] = {
    "held by the source": ("not_in_bucket", "no_metadata", "bad_metadata", "no_xml"),
    "licence accepted": ("licence",),
    "not retracted": ("retracted",),
    "md5 ok": ("wrong_md5",),
    "readable": (
        "unreadable", "too_large", "entity", "not_jats", "wrong_article", "no_id", "duplicate_article",
    ),
    "has abstract": ("no_abstract",),
    "names a protein": ("names_no_protein",),
    "unambiguous": ("ambiguous",),
}  # fmt: skip
"""Steps of the articles' funnel, and the reasons for which articles are lost at each."""
KINDS = {"articles": ARTICLE_SCHEMA, "passages": PASSAGE_SCHEMA, "quarantine": QUARANTINE_SCHEMA}


class LiteratureWriter:
    """Takes outcomes in order, refuses doubled articles, counts everything, and writes it."""

    def __init__(self, folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
        self.folder = folder
        self.num_found = self.num_articles = self.num_passages = self.num_refused = self.num_ambiguous = 0
        self.reasons: Counter[str] = Counter()
        self._shards = {kind: EvenShards(folder / kind, schema, shard_bytes) for kind, schema in KINDS.items()}
        self._first_place: dict[str, str] = {}
        self._licences: Counter[str] = Counter()
        self._licences_refused: Counter[str] = Counter()
        self._years: Counter[str] = Counter()
        self._proteins: Counter[str] = Counter()
        self._digest = hashlib.sha256()

    def add(self, outcomes: pa.Table) -> None:
        """Take one block of outcomes (``gather.OUTCOME_SCHEMA``)."""
        rows: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
        for outcome in outcomes.to_pylist():
            self.num_found += 1
            self.num_ambiguous += outcome["num_ambiguous"]
            refusal = outcome["refusal"] or self._doubled(outcome["article"])
            if refusal is not None:
                rows["quarantine"].append(refusal)
                continue
            rows["articles"].append(outcome["article"])
            rows["passages"] += outcome["passages"]
        self._count(rows["articles"], rows["passages"])
        self.refuse(rows.pop("quarantine"))
        for kind, kept in rows.items():
            self._put(kind, kept)

    def refuse(self, rows: list[dict[str, Any]]) -> None:
        """Keep refusals (``QUARANTINE_SCHEMA``) of articles, proteins or searches."""
        self.num_refused += len(rows)
        self.reasons.update(row["reason"] for row in rows)
        self._licences_refused.update(row["value"] for row in rows if row["reason"] == "licence")
        self._put("quarantine", rows)

    def finish(self, about: dict[str, Any]) -> dict[str, Any]:
        """Write what is waiting and the card, and return the card.

        Args:
            about: what the card says beside the counts: inputs, limits, names, proteins.
        """
        card = {
            "version": LITERATURE_VERSION,
            **about,
            "counts": {
                **about["counts"],
                "articles_found": self.num_found,
                "articles": self.num_articles,
                "passages": self.num_passages,
                "proteins_with_passages": len(self._proteins),
                "ambiguous_mentions": self.num_ambiguous,
                "quarantined": self.num_refused,
            },
            "funnel": funnel("found", self.num_found, STEPS, self.reasons),
            "reasons": dict(self.reasons.most_common()),
            "licences": dict(self._licences.most_common()),
            "licences_refused": dict(self._licences_refused.most_common()),
            "articles_per_year": dict(sorted(self._years.items())),
            "passages_per_protein": dict(self._proteins.most_common()),
            "shards": {kind: shards.finish() for kind, shards in self._shards.items()},
            "checksum": self._digest.hexdigest(),
        }
        write_json(card, self.folder / "card.json")
        return card

    def _doubled(self, article: dict[str, Any]) -> dict[str, str] | None:
        """The refusal of an article that was taken before, in this version or in another."""
        article_id = article["pmcid"] or article["article_id"]
        place = f"{article['article_id']}, {article['provenance']}"
        if article_id not in self._first_place:
            self._first_place[article_id] = place
            return None
        first = self._first_place[article_id]
        message = f"{article_id}, article: it was taken already from {first}; an article is used once. Leave it out."
        return {
            "source": article["article_id"], "place": "article", "record": article_id, "reason": "duplicate_article",
            "value": place[:200], "message": message,
        }  # fmt: skip

    def _count(self, articles: list[dict[str, Any]], passages: list[dict[str, Any]]) -> None:
        self.num_articles += len(articles)
        self.num_passages += len(passages)
        for article in articles:
            self._licences[article["licence"]] += 1
            self._years[str(article["year"] or "not stated")] += 1
        for passage in passages:
            self._digest.update(row_bytes(passage))
            self._proteins[passage["protein"]["accession"]] += 1

    def _put(self, kind: str, rows: list[dict[str, Any]]) -> None:
        self._shards[kind].add(pa.Table.from_pylist(rows, schema=KINDS[kind]))
