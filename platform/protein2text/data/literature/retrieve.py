"""Literature retrieval: proteins in, articles of PubMed Central and the passages that name them out.

Entrez says which articles may speak of a protein, the cloud bucket hands them out; or they lie on disk already. Ray
fetches, reads and matches in parallel. ``card.json`` is written last: without it there is no literature.
"""

import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import ray
import ray.data

from protein2text.data.licence_codes import REUSABLE, accepted_code
from protein2text.data.literature.ambiguity import REASONS
from protein2text.data.literature.article import Gates
from protein2text.data.literature.bucket import BUCKET_URL
from protein2text.data.literature.entrez import API_KEY_VARIABLE, ENTREZ_URL, Entrez, query_of
from protein2text.data.literature.gather import ARTICLES_PER_BLOCK, Knowledge, gather_articles
from protein2text.data.literature.lexicon import Lexicon
from protein2text.data.literature.literature_folder import DOWNLOAD, SEARCHES, begun, finished, locked
from protein2text.data.literature.local_articles import find_articles
from protein2text.data.literature.searches import Searches
from protein2text.data.literature.writer import LiteratureWriter
from protein2text.data.patient_http import Patience
from protein2text.data.protein_names import NamedProteins
from protein2text.data.sources import warn_of
from protein2text.outputs import refuse_url
from protein2text.resources import ray_data_in_order, starts_local_ray

logger = logging.getLogger(__name__)

EXAMPLES = 20
"""Ambiguous names of each kind that the card shows."""

Progress = Callable[[dict[str, Any]], None]
"""Called with ``{"stage": "literature", "step": int, "num_steps": int, "message": str}`` as the work goes on."""


@dataclass(frozen=True)
class Services:
    """Where to search and to fetch, and who asks."""

    email: str = ""
    """NCBI asks for it; needed for searches only."""
    entrez_url: str = ENTREZ_URL
    bucket_url: str = BUCKET_URL
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True)
class LiteratureSummary:
    """What a run made; ``found`` = ``articles`` + the articles in quarantine."""

    output: str
    proteins: int
    searched: int
    found: int
    articles: int
    passages: int
    proteins_with_passages: int
    quarantined: int
    funnel: list[dict[str, Any]]
    """Articles left after each step (``writer.STEPS``), with the reasons of what was lost."""
    reasons: dict[str, int]
    checksum: str
    seconds: float
    already_done: bool
    """The folder held finished literature of the same inputs, and nothing was done."""


def literature(
    proteins: list[str],
    output: str | Path,
    *,
    articles: list[str] | None = None,
    services: Services = Services(),
    licences: tuple[str, ...] = REUSABLE,
    max_residues: int = 4096,
    progress: Progress = lambda event: None,
) -> LiteratureSummary:
    """Find the articles whose abstracts name proteins.

    Args:
        proteins: files that ``data ingest`` reads, or corpus folders.
        output: literature folder; a half one, left by a killed run, is continued: nothing is searched or fetched twice.
        articles: JATS files, or folders of them; None searches and fetches.
        services: where, and whose e-mail address goes along. An API key is read from ``NCBI_API_KEY``.
        licences: codes of the licences that are accepted.
        max_residues: longer proteins are left out and counted.
        progress: told each search and each block of articles.

    Raises:
        MissingFile: a source is not there.
        ConfigError: no e-mail address, a licence that no article has, a source in no known format, or an output folder
            that is in use or not ours.
        ResumeMismatch: the folder holds literature of other proteins, articles or licences.
        CorruptCheckpoint: the folder holds finished literature, and it was altered.
        ResourcesUnavailable: the connected Ray has too few CPUs to read anything; told before the first search.
        ServiceError: a service did not answer as it should; what came before is kept. From a worker, it is the cause
            of Ray's own error.
    """
    started = time.monotonic()
    folder = Path(output).resolve()
    refuse_url(folder)
    named = NamedProteins(proteins, max_residues)
    warn_of(named.not_whole)  # now, not after hours of searches
    files = find_articles(articles) if articles is not None else None
    entrez = _entrez(services) if files is None else None
    licences = tuple(map(accepted_code, licences))
    inputs = _inputs(named, files, licences)
    with locked(folder):
        if card := finished(folder, inputs):
            return _summary(folder, card, time.monotonic() - started, already_done=True)
        begun(folder, inputs)
        writer, lexicon = LiteratureWriter(folder), Lexicon(named)
        writer.refuse(named.refused)
        counts: dict[str, int] = {"proteins": len(named)}
        tasks: list[dict[str, str | None]] = [{"pmcid": None, "path": str(path)} for path in files or ()]
        if not starts_local_ray():
            with ray_data_in_order():  # refuses a Ray without CPUs now, not after hours of searches
                pass
        if entrez is not None:
            tasks = _searched(named, lexicon, folder, entrez, writer, counts, progress)
        knowledge = Knowledge(
            lexicon, list(named), Gates(licences), services.bucket_url, folder / DOWNLOAD, services.patience
        )
        _gather(tasks, knowledge, writer, progress)
        card = writer.finish({"inputs": inputs, "names": _names(lexicon), "counts": counts})
    if not card["counts"]["passages"]:
        logger.warning("%s: no passage from %d articles; see quarantine/", folder, card["counts"]["articles_found"])
    return _summary(folder, card, time.monotonic() - started, already_done=False)


def _inputs(named: NamedProteins, files: list[Path] | None, licences: tuple[str, ...]) -> dict[str, Any]:
    """What the literature is made of, as folder and card keep it."""
    return {
        "proteins": {"count": len(named), "refused": len(named.refused), "sha256": _names_digest(named)},
        "articles": None if files is None else {"count": len(files), "sha256": _files_digest(files)},
        "licences": list(licences),
    }


def _entrez(services: Services) -> Entrez:
    api_key = os.environ.get(API_KEY_VARIABLE)
    return Entrez(services.email, api_key=api_key, url=services.entrez_url, patience=services.patience)


def _searched(
    named: NamedProteins,
    lexicon: Lexicon,
    folder: Path,
    entrez: Entrez,
    writer: LiteratureWriter,
    counts: dict[str, int],
    progress: Progress,
) -> list[dict[str, str | None]]:
    """Articles that searches find, each once, sorted by number; proteins that cannot be searched are refused."""
    found: set[str] = set()
    num_searched = num_hits = 0
    with entrez, Searches(folder / SEARCHES) as searches:
        for index, protein in enumerate(named):
            accession = protein.protein.accession
            names = lexicon.usable(index, protein.names)
            if not names:
                writer.refuse([_unsearchable(accession, [name.text for name in protein.names])])
                continue
            query = query_of(names)
            search = searches.get(query)
            if search is None:
                search = entrez.search(query)
                searches.keep(query, search)
            if search.unreached:
                writer.refuse([_unreached(accession, query, search.unreached, search.hits)])
            num_searched += 1
            num_hits += search.hits
            found.update(search.pmcids)
            progress(_event(index + 1, len(named), f"searching, {len(found)} articles found"))
    counts |= {"proteins_searched": num_searched, "hits": num_hits}
    return [{"pmcid": pmcid, "path": None} for pmcid in sorted(found, key=lambda pmcid: int(pmcid[3:]))]


def _gather(
    tasks: list[dict[str, str | None]], knowledge: Knowledge, writer: LiteratureWriter, progress: Progress
) -> None:
    if not tasks:
        return
    with ray_data_in_order():
        num_blocks = math.ceil(len(tasks) / ARTICLES_PER_BLOCK)
        gather = partial(gather_articles, knowledge=ray.put(knowledge))
        outcomes = ray.data.from_items(tasks, override_num_blocks=num_blocks).map_batches(
            gather, batch_size=None, batch_format="pyarrow"
        )
        for table in outcomes.iter_batches(batch_format="pyarrow", batch_size=None):
            writer.add(table)
            progress(_event(writer.num_found, len(tasks), f"reading, {writer.num_passages} passages"))


def _event(step: int, num_steps: int, message: str) -> dict[str, Any]:
    return {"stage": "literature", "step": step, "num_steps": num_steps, "message": message}


def _names(lexicon: Lexicon) -> dict[str, Any]:
    """What the card says about names: how many, and which are ruled out why."""
    ruled_out = {
        reason: {"count": len(names), "meaning": REASONS[reason], "examples": list(dict.fromkeys(names))[:EXAMPLES]}
        for reason, names in sorted(lexicon.ruled_out().items())
    }
    return {"count": len(lexicon), "ambiguous": ruled_out}


def _unsearchable(accession: str, names: list[str]) -> dict[str, str]:
    shown = ", ".join(names) or "no name"
    message = f"{accession}, names: {shown}; none says which protein is meant. Give it another name in the source."
    row = {"source": accession, "place": "names", "record": accession, "reason": "protein_no_usable_name"}
    return {**row, "value": shown[:200], "message": message}


def _unreached(accession: str, query: str, unreached: int, hits: int) -> dict[str, str]:
    message = (
        f"{accession}, search: {unreached} of {hits} articles could not be had: the service hands out a limited number "
        f"of hits a search, and splitting by date of publication did not reach them. Search with fewer names."
    )
    row = {"source": accession, "place": "search", "record": accession, "reason": "search_unreached"}
    return {**row, "value": query[:200], "message": message}


def _names_digest(named: NamedProteins) -> str:
    digest = hashlib.sha256()
    for protein in named:
        row = [protein.protein.accession, protein.protein.checksum, protein.names, protein.organism]
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()


def _files_digest(files: list[Path]) -> str:
    listed = [(path.name, path.stat().st_size) for path in files]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def _summary(folder: Path, card: dict[str, Any], seconds: float, *, already_done: bool) -> LiteratureSummary:
    counts = card["counts"]
    return LiteratureSummary(
        output=str(folder),
        proteins=counts["proteins"],
        searched=counts.get("proteins_searched", 0),
        found=counts["articles_found"],
        articles=counts["articles"],
        passages=counts["passages"],
        proteins_with_passages=counts["proteins_with_passages"],
        quarantined=counts["quarantined"],
        funnel=card["funnel"],
        reasons=card["reasons"],
        checksum=card["checksum"],
        seconds=seconds,
        already_done=already_done,
    )
