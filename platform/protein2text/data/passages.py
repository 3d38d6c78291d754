"""A passage: one article's abstract and one protein that it names. What literature retrieval leaves for QA generation.

Passages lie in a literature folder: ``passages/part-*.parquet`` (this schema), ``articles/`` (whole articles),
``quarantine/`` and, written last, ``card.json``.
"""

from typing import TypedDict

import pyarrow as pa

from protein2text.data.records import PROTEIN_STRUCT, ProteinEntry

PASSAGE_VERSION = 1
PASSAGE_SCHEMA = pa.schema(
    [
        ("passage_id", pa.string()),
        ("protein", PROTEIN_STRUCT),
        ("names", pa.list_(pa.string())),
        ("found", pa.list_(pa.string())),
        ("pmcid", pa.string()),
        ("article_version", pa.int32()),
        ("title", pa.string()),
        ("abstract", pa.string()),
        ("licence", pa.string()),
        ("retracted", pa.bool_()),
        ("provenance", pa.string()),
    ],
    metadata={"protein2text.passage_version": str(PASSAGE_VERSION)},
)


class Passage(TypedDict):
    """One row; the fields of ``PASSAGE_SCHEMA``."""

    passage_id: str
    """``PMC1234567.1:P01308``: article, its version, accession. Names one passage. A local article that states no PMC
    id goes by its DOI or PubMed id: ``doi:10.1371/journal.pone.0008519:P01308``."""
    protein: ProteinEntry
    names: list[str]
    """Every name the protein is known by: recommended, alternative and short names, genes and their synonyms."""
    found: list[str]
    """Those of ``names`` that the abstract holds with token boundaries and that are not ambiguous; never empty."""
    pmcid: str | None
    """``PMC`` and digits; None for a local article that states none."""
    article_version: int
    """From 1; 0 where a local article states none."""
    title: str
    abstract: str
    """Plain text of the article's own abstract, paragraphs and section titles separated by line breaks."""
    licence: str | None
    """Code as the article states it, e.g. ``CC BY``; None where it states none."""
    retracted: bool
    provenance: str | None
    """JSON: journal, year, pmid, doi, where and when it was retrieved, md5."""
