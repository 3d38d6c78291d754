"""An article as stored, and the gates that it passes before anything is made of it."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, TypedDict

import pyarrow as pa

from protein2text.errors import UnusableRecord

ARTICLE_VERSION = 1
SECTION_STRUCT = pa.struct([("kind", pa.string()), ("title", pa.string()), ("text", pa.string())])
ARTICLE_SCHEMA = pa.schema(
    [
        ("article_id", pa.string()),
        ("pmcid", pa.string()),
        ("article_version", pa.int32()),
        ("pmid", pa.string()),
        ("doi", pa.string()),
        ("title", pa.string()),
        ("journal", pa.string()),
        ("year", pa.int32()),
        ("article_type", pa.string()),
        ("licence", pa.string()),
        ("retracted", pa.bool_()),
        ("abstract", pa.string()),
        ("sections", pa.list_(SECTION_STRUCT)),
        ("accessions", pa.list_(pa.string())),
        ("provenance", pa.string()),
    ],
    metadata={"protein2text.article_version": str(ARTICLE_VERSION)},
)


class Section(TypedDict):
    """A top-level section of the body; ``kind`` is ``introduction``, ``discussion`` or None."""

    kind: str | None
    title: str
    text: str


class Article(TypedDict):
    """One row of ``articles/``; the fields of ``ARTICLE_SCHEMA``."""

    article_id: str
    """``PMC1234567.1``; ``doi:…`` or ``pmid:…`` for a local file that states no PMC id."""
    pmcid: str | None
    article_version: int
    """From 1; 0 where a local file states none."""
    pmid: str | None
    doi: str | None
    title: str
    journal: str | None
    year: int | None
    article_type: str | None
    licence: str | None
    retracted: bool
    abstract: str
    sections: list[Section]
    accessions: list[str]
    """Proteins that the abstract names beyond doubt."""
    provenance: str
    """JSON: where and when it was retrieved, md5."""


@dataclass(frozen=True)
class Gates:
    """What an article must be to be used."""

    licences: tuple[str, ...]

    def check(self, record: str, licence: str | None, retracted: bool) -> None:
        """Pass an article of an accepted licence that was not retracted.

        Raises:
            UnusableRecord: ``licence`` or ``retracted``.
        """
        if licence not in self.licences:
            raise UnusableRecord(
                "licence", record, "licence", licence or "not stated", f"accepted are {listed(self.licences)}",
                "Name the licence with --licence if its terms allow what you mean to do.",
            )  # fmt: skip
        if retracted:
            raise UnusableRecord(
                "retracted", record, "retraction", "withdrawn by its authors or journal", "its statements are void",
                "Leave it out.",
            )  # fmt: skip


def listed(values: Collection[Any]) -> str:
    """Values as a sentence holds them."""
    return ", ".join(str(value) for value in values) or "none"
