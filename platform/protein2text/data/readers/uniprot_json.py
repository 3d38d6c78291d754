"""Entries of UniProt's REST service in JSON."""

import hashlib
import json
from typing import Any

from protein2text.data.evidence import function_text
from protein2text.data.readers.entries import Place, checked_protein, no_text
from protein2text.data.records import Record, make_record
from protein2text.errors import UnusableRecord
from protein2text.proteins import Protein

_NAMES = {"fullName": {"value": str}}
_SHAPE = {
    "primaryAccession": str,
    "sequence": {"value": str, "length": int, "md5": str},
    "comments": [
        {"commentType": str, "molecule": str, "texts": [{"value": str, "evidences": [{"evidenceCode": str}]}]}
    ],
    "proteinDescription": {"recommendedName": _NAMES, "submissionNames": [_NAMES]},
    "organism": {"scientificName": str},
    "entryAudit": {"entryVersion": int, "firstPublicDate": str},
}
"""The fields that are read, and of what kind each is."""


def refuse_misfit(entry: dict[str, Any], place: Place) -> None:
    """Name the first field of an entry that could not be read.

    Raises:
        UnusableRecord: a field is of another kind than the format's.
    """
    if found := _misfit(entry, _SHAPE, ""):
        field, value, expected = found
        raise UnusableRecord(
            "unreadable", str(entry["primaryAccession"]), field, json.dumps(value)[:60],
            f"{expected} is expected there", "Fetch the entry again, or leave the field out.",
        )  # fmt: skip


def _misfit(value: Any, shape: Any, field: str) -> tuple[str, Any, str] | None:
    """The first field below that does not fit: its path, what stands there, and what is expected."""
    if isinstance(shape, dict) and isinstance(value, dict):
        inner = [(value[key], part, f"{field}.{key}".lstrip(".")) for key, part in shape.items() if key in value]
    elif isinstance(shape, list) and isinstance(value, list):
        inner = [(item, shape[0], f"{field}[{number}]") for number, item in enumerate(value)]
    elif isinstance(shape, type) and isinstance(value, shape):
        inner = []
    else:
        kinds = {dict: "an object", list: "a list", str: "a text", int: "a whole number"}
        return field, value, kinds[shape if isinstance(shape, type) else type(shape)]
    return next(filter(None, (_misfit(*part) for part in inner)), None)


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
    accession, length = entry["primaryAccession"], sequence.get("length")
    if not isinstance(accession, str) or not isinstance(length, int | None):
        raise TypeError(f"accession {accession!r}, length {length!r}")
    protein = checked_protein(accession, str(sequence.get("value", "")), place, length)
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
