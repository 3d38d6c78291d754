"""Entries of UniProt's REST service in JSON."""

import hashlib
from typing import Any

from protein2text.data.evidence import function_text
from protein2text.data.readers.entries import Place, checked_protein, no_text
from protein2text.data.records import Record, make_record
from protein2text.errors import UnusableRecord
from protein2text.proteins import Protein


def parse(entry: dict[str, Any], place: Place) -> Record:
    """A description from the entry's FUNCTION comments; the evidence stands apart from the text already.

    Raises:
        UnusableRecord: what `protein_of` refuses, or no function text.
    """
    protein = protein_of(entry, place)
    texts, tags = [], []
    for comment in entry.get("comments") or []:
        if comment.get("commentType") == "FUNCTION":
            prefix = f"[{comment['molecule']}]: " if comment.get("molecule") else ""
            for text in comment.get("texts") or []:
                texts.append(prefix + text["value"])
                for evidence in text.get("evidences") or []:
                    article = f"|PubMed:{evidence['id']}" if evidence.get("source") == "PubMed" else ""
                    tags.append(f"{{{evidence['evidenceCode']}{article}}}")
    function = function_text([*texts, " ".join(tags)])
    if not function.text:
        raise no_text(protein.accession)
    provenance = {
        **about(entry),
        "evidence": function.evidence,
        "pubmed": function.pubmed,
        "created": (entry.get("entryAudit") or {}).get("firstPublicDate"),
    }
    return make_record(protein.accession, [protein], source=place.source, text=function.text, provenance=provenance)


def protein_of(entry: dict[str, Any], place: Place) -> Protein:
    """The entry's protein.

    Raises:
        UnusableRecord: the sequence does not match its own length or MD5.
    """
    sequence = entry.get("sequence") or {}
    protein = checked_protein(
        str(entry["primaryAccession"]), str(sequence.get("value", "")), place, sequence.get("length")
    )
    md5 = hashlib.md5(protein.sequence.encode(), usedforsecurity=False).hexdigest().upper()
    if sequence.get("md5", md5) != md5:
        raise UnusableRecord(
            "checksum_mismatch",
            protein.accession,
            "sequence",
            f"MD5 {md5}",
            f"the file states {sequence['md5']}",
            "Fetch the entry again.",
        )
    return protein


def about(entry: dict[str, Any]) -> dict[str, Any]:
    """Name, organism and version of an entry."""
    description = entry.get("proteinDescription") or {}
    names = [description.get("recommendedName") or {}, *(description.get("submissionNames") or [])]
    return {
        "name": next((name["fullName"]["value"] for name in names if "fullName" in name), None),
        "organism": (entry.get("organism") or {}).get("scientificName"),
        "entry_version": (entry.get("entryAudit") or {}).get("entryVersion"),
    }
