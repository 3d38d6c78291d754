"""Proteins to retrieve literature of, the services' stock, and what holds for every literature folder."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from protein2text.data.literature.retrieve import LiteratureSummary
from protein2text.data.literature.writer import KINDS

HEADER = "Entry\tProtein names\tGene Names\tOrganism\tSequence"
PROTEINS = [
    "P54130\tFibroblast growth factor 9 (FGF-9)\tFgf9\tMus musculus (Mouse)\tMAPLGEV",
    "P22724\tProtein Wnt-4\tWnt4\tMus musculus (Mouse)\tMSPRSCL",
    "P09619\tPlatelet-derived growth factor receptor beta (PDGFR-beta)\tPDGFRB\tHomo sapiens (Human)\tMRLPGAM",
    "Q60739\tBAG family molecular chaperone regulator 1 (BAG-1)\tBag1\tMus musculus (Mouse)\tMAKTEEM",
    "P46527\tCyclin-dependent kinase inhibitor 1B (p27Kip1)\tCDKN1B\tHomo sapiens (Human)\tMSNVRVS",
    "P42768\tActin nucleation-promoting factor WAS\tWAS IMD2\tHomo sapiens (Human)\tMSGGPMG",
    "Q00000\tUncharacterized protein\tCAT\tHomo sapiens (Human)\tMKV",
    "Q00001\tBroken\tBRK\tHomo sapiens (Human)\tMK5",
]


def rows(folder: Path | str, kind: str) -> list[dict[str, Any]]:
    return [row for path in sorted((Path(folder) / kind).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def card(folder: Path | str) -> dict[str, Any]:
    return dict(json.loads((Path(folder) / "card.json").read_text()))


def assert_nothing_lost(summary: LiteratureSummary, num_found: int) -> None:
    """Articles found = used + refused, told alike by summary, card, funnel and shards; ids are unique."""
    articles, passages, refused = (rows(summary.output, kind) for kind in KINDS)
    of_articles = [row for row in refused if not row["reason"].startswith(("protein_", "search_"))]
    assert summary.found == num_found == len(articles) + len(of_articles)
    assert (summary.articles, summary.passages, summary.quarantined) == (len(articles), len(passages), len(refused))
    assert summary.reasons == Counter(row["reason"] for row in refused)
    assert all(row["record"] and row["message"] and row["place"] for row in refused)
    ids = [row["passage_id"] for row in passages]
    assert len(ids) == len(set(ids))
    assert len({row["article_id"] for row in articles}) == len(articles)
    left = [step["left"] for step in summary.funnel]
    assert (left[0], left[-1]) == (num_found, len(articles))
    assert left == sorted(left, reverse=True)
    stated = card(summary.output)
    assert stated["funnel"] == summary.funnel
    assert sum(stated["licences"].values()) == sum(stated["articles_per_year"].values()) == len(articles)
    assert stated["passages_per_protein"] == Counter(row["protein"]["accession"] for row in passages)
    named = {(row["article_id"], accession) for row in articles for accession in row["accessions"]}
    assert named == {tuple(row["passage_id"].rsplit(":", 1)) for row in passages}


def stock(ncbi: Any, jats_files: list[Path]) -> dict[str, str]:
    """Put the real articles into the services, under numbers of their own; PMC id to file name."""
    for number, path in enumerate(jats_files, start=100):
        ncbi.add(number, path.read_bytes())
    return {f"PMC{number}": path.name for number, path in enumerate(jats_files, start=100)}
