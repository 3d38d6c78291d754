"""From one article to its passages: fetch or open it, pass the gates, read it, find the proteins that it names.

This is what Ray's workers do; each holds the names of all proteins.
"""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray

from protein2text.data.literature.article import ARTICLE_SCHEMA, Article, Gates
from protein2text.data.literature.bucket import Bucket, Metadata
from protein2text.data.literature.jats import Jats, read_jats
from protein2text.data.literature.lexicon import Found, Lexicon
from protein2text.data.literature.local_articles import mirrored_metadata, read_article
from protein2text.data.passages import PASSAGE_SCHEMA, Passage
from protein2text.data.patient_http import Patience
from protein2text.data.protein_names import NamedProtein
from protein2text.data.records import QUARANTINE_SCHEMA, protein_entry
from protein2text.errors import RecordError, UnusableRecord

DOWNLOADS_AT_ONCE = 8
"""Per worker: the bucket answers slower than articles are read."""
ARTICLES_PER_BLOCK = 64

OUTCOME_SCHEMA = pa.schema(
    [
        ("article", pa.struct(list(ARTICLE_SCHEMA))),
        ("passages", pa.list_(pa.struct(list(PASSAGE_SCHEMA)))),
        ("refusal", pa.struct(list(QUARANTINE_SCHEMA))),
        ("num_ambiguous", pa.int32()),
    ]
)
"""One row per article: it and its passages, or why it is not used; and how many ambiguous names its abstract holds."""


@dataclass(frozen=True)
class Knowledge:
    """What every worker needs to know."""

    lexicon: Lexicon
    proteins: list[NamedProtein]
    gates: Gates
    bucket_url: str
    download: Path
    """Where fetched articles lie."""
    patience: Patience


@dataclass(frozen=True)
class _Opened:
    """An article's bytes, what is known about it from outside, and where it came from."""

    content: bytes
    metadata: Metadata | None
    origin: dict[str, Any]


def gather_articles(batch: pa.Table, *, knowledge: "ray.ObjectRef[Knowledge]") -> pa.Table:
    """Turn tasks (columns ``pmcid`` and ``path``, one of them null) into outcomes, row for row, in order."""
    return _gatherer(knowledge)(batch)


@lru_cache(maxsize=1)
def _gatherer(knowledge: "ray.ObjectRef[Knowledge]") -> "_Gatherer":
    """Made once in each worker process, which outlives the tasks that it works on."""
    return _Gatherer(ray.get(knowledge))


class _Gatherer:
    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._bucket = Bucket(
            self._knowledge.download, url=self._knowledge.bucket_url, patience=self._knowledge.patience
        )

    def __call__(self, batch: pa.Table) -> pa.Table:
        with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
            opened = pool.map(self._opened, batch.to_pylist())
            outcomes = [self._outcome(*pair) for pair in opened]
        return pa.Table.from_pylist(outcomes, schema=OUTCOME_SCHEMA)

    def _opened(self, task: dict[str, str]) -> tuple[str, "_Opened | RecordError"]:
        """An article that passed the gates that need no reading, or its refusal."""
        record = task["pmcid"] or Path(task["path"]).name
        try:
            return record, self._fetched(record) if task["pmcid"] else self._local(Path(task["path"]))
        except RecordError as refusal:
            return record, refusal

    def _fetched(self, pmcid: str) -> _Opened:
        held = self._bucket.fetch(pmcid, self._knowledge.gates)
        origin = {"url": held.url, "retrieved": held.retrieved}
        return _Opened(held.path.read_bytes(), held.metadata, origin)

    def _local(self, path: Path) -> _Opened:
        content, origin = read_article(path), {"file": path.name}
        stated = mirrored_metadata(path)
        if stated is None:
            return _Opened(content, None, origin)
        metadata = Metadata.of(stated, str(stated.get("pmcid")))
        self._knowledge.gates.check(path.name, metadata.licence, metadata.retracted)
        if metadata.md5 != (seen := _md5(content)):
            limit, remedy = f"the metadata states {metadata.md5}", "Fetch the file again."
            raise UnusableRecord("wrong_md5", path.name, "file", f"MD5 {seen}", limit, remedy)
        return _Opened(content, metadata, origin)

    def _outcome(self, record: str, opened: "_Opened | RecordError") -> dict[str, Any]:
        if isinstance(opened, RecordError):
            return _refused(record, opened)
        try:
            jats = read_jats(opened.content, record)
            article, found = self._article(record, jats, opened)
        except RecordError as refusal:
            return _refused(record, refusal)
        passages = [self._passage(article, index, names) for index, names in sorted(found.proteins.items())]
        return {"article": article, "passages": passages, "num_ambiguous": len(found.ambiguous)}

    def _article(self, record: str, jats: Jats, opened: _Opened) -> tuple[Article, Found]:
        """The article as stored, and whom it names.

        Raises:
            UnusableRecord: another article than was asked for, one without an id, refused by a gate, without
                abstract, or one that names no protein beyond doubt.
        """
        outside = opened.metadata
        pmcid = outside.path.split(".")[0] if outside else jats.pmcid
        if jats.pmcid not in (None, pmcid):
            raise _unusable("wrong_article", record, f"the file is {jats.pmcid}", f"{pmcid} was asked for")
        article_id = pmcid or (f"doi:{jats.doi}" if jats.doi else f"pmid:{jats.pmid}" if jats.pmid else None)
        if article_id is None:
            raise _unusable("no_id", record, "no PMC id, DOI or PubMed id", "a passage must name its source")
        licence = outside.licence if outside else jats.licence
        self._knowledge.gates.check(record, licence, jats.retracted or bool(outside and outside.retracted))
        if jats.abstract is None:
            raise _unusable("no_abstract", record, "no abstract of its own", "passages are made of abstracts")
        found = self._knowledge.lexicon.find(jats.abstract, jats.title)
        if not found.proteins:
            raise _nobody(record, found)
        version = outside.version if outside else jats.version
        article: Article = {
            "article_id": f"{article_id}.{version}" if pmcid else article_id,
            "pmcid": pmcid,
            "article_version": version,
            "pmid": jats.pmid,
            "doi": jats.doi,
            "title": jats.title,
            "journal": jats.journal,
            "year": jats.year,
            "article_type": jats.article_type,
            "licence": licence,
            "retracted": False,
            "abstract": jats.abstract,
            "sections": jats.sections,
            "accessions": [self._knowledge.proteins[index].protein.accession for index in sorted(found.proteins)],
            "provenance": json.dumps({**opened.origin, "md5": _md5(opened.content)}, sort_keys=True),
        }
        return article, found

    def _passage(self, article: Article, index: int, names: list[str]) -> Passage:
        named = self._knowledge.proteins[index]
        kept = {name: article[name] for name in ("journal", "year", "pmid", "doi") if article[name]}
        return {
            "passage_id": f"{article['article_id']}:{named.protein.accession}",
            "protein": protein_entry(named.protein),
            "names": [name.text for name in named.names],
            "found": names,
            "pmcid": article["pmcid"],
            "article_version": article["article_version"],
            "title": article["title"],
            "abstract": article["abstract"],
            "licence": article["licence"],
            "retracted": article["retracted"],
            "provenance": json.dumps(json.loads(article["provenance"]) | kept, sort_keys=True, ensure_ascii=False),
        }


def _nobody(record: str, found: Found) -> UnusableRecord:
    if not found.ambiguous:
        return _unusable("names_no_protein", record, "none of the names", "the abstract must name one of the proteins")
    shown = ", ".join(f"{name} ({reason})" for name, reason in sorted(found.ambiguous.items())[:10])
    return _unusable("ambiguous", record, shown, "a name must say which protein is meant")


def _unusable(reason: str, record: str, value: str, limit: str) -> UnusableRecord:
    return UnusableRecord(reason, record, "article", value, limit, "Leave it out.")


def _refused(record: str, refusal: RecordError) -> dict[str, Any]:
    row = {"source": record, "place": getattr(refusal, "place", ""), "record": record, "reason": refusal.reason}
    return {"refusal": {**row, "value": refusal.value[:200], "message": str(refusal)}, "num_ambiguous": 0}


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
