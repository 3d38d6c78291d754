"""What a passage must be before any pair about it can count: its protein, its article, its abstract (R10, R14, R16)."""

import hashlib
import re
from typing import NamedTuple

from protein2text.data.licence_codes import licence_code
from protein2text.data.passages import Passage
from protein2text.data.qa.hygiene import poison
from protein2text.data.qa.names import NameFinder
from protein2text.data.qa.rules import QaRules
from protein2text.proteins import ALPHABET

_PMCID = re.compile(r"PMC[1-9]\d*")
_OTHER_ID = re.compile(r"doi:10\.\S+|pmid:[1-9]\d*")
_RESIDUES = re.compile(f"[{ALPHABET}]+")


class Problem(NamedTuple):
    """Why a pair, or every pair of a passage, is refused."""

    reason: str
    """Key of ``REASONS``."""
    message: str
    """What was found, with the value and the limit."""


def passage_problem(passage: Passage, rules: QaRules) -> Problem | None:
    """Why nothing generated from a passage may be used; None where it may.

    Ask before a generator is paid for it: ``check_generated`` refuses every pair of such a passage.
    """
    return (
        _bad_sequence(passage)
        or _bad_article(passage, rules)
        or _poisoned(passage)
        or _protein_not_in_abstract(passage)
    )


def _bad_sequence(passage: Passage) -> Problem | None:
    """R14: residues, length and checksum of the protein fit each other."""
    protein = passage["protein"]
    accession, sequence = protein["accession"], protein["sequence"]
    if not _RESIDUES.fullmatch(sequence):
        return Problem("bad_sequence", f"{accession}: letters other than {ALPHABET}, or no residue at all")
    if protein["length"] != len(sequence):
        return Problem("bad_sequence", f"{accession}: length {protein['length']}; the sequence has {len(sequence)}")
    if protein["checksum"] != hashlib.sha256(sequence.encode("ascii")).hexdigest():
        return Problem("bad_sequence", f"{accession}: checksum {protein['checksum'][:12]} is not that of the sequence")
    return None


def _bad_article(passage: Passage, rules: QaRules) -> Problem | None:
    """R14: the article has a PMC id, or a DOI or PubMed id where it states none, a licence that allows new texts, and
    was not retracted."""
    pmcid, licence = passage["pmcid"], passage["licence"]
    article, _, accession = passage["passage_id"].rpartition(":")
    proper = _OTHER_ID.fullmatch(article) if pmcid is None else _PMCID.fullmatch(pmcid)
    named = article if pmcid is None else f"{pmcid}.{passage['article_version']}"
    if not proper or (article, accession) != (named, passage["protein"]["accession"]):
        return Problem("bad_pmcid", f"passage {passage['passage_id']!r} of article {pmcid!r}; PMC, digits, version")
    if passage["retracted"]:
        return Problem("retracted", f"{pmcid} was retracted")
    allowed = {licence_code(item) or item for item in rules.licences}
    if licence is None or (licence_code(licence) or licence) not in allowed:
        return Problem(
            "licence", f"{pmcid}: licence {licence or 'not stated'}; allowed are {', '.join(rules.licences)}"
        )
    return None


def _poisoned(passage: Passage) -> Problem | None:
    """R16: the abstract does not speak to a model and hides no letters. The message does not repeat what it says."""
    finding = poison(passage["abstract"])
    return Problem("poisoned_abstract", f"{passage['pmcid']}: {finding.replace('_', ' ')}") if finding else None


def _protein_not_in_abstract(passage: Passage) -> Problem | None:
    """R10: a name that is not ambiguous stands in the abstract, with token boundaries."""
    if NameFinder(passage["found"]).find(passage["abstract"]) is None:
        return Problem("protein_not_in_abstract", f"none of {passage['found']} stands in the abstract")
    return None
