"""UniProt XML, either namespace, read entry by entry so that a malformed entry costs only itself."""

import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

from protein2text.data.evidence import function_text
from protein2text.data.readers.entries import (
    Entry,
    Piece,
    Place,
    checked_protein,
    cut_after,
    no_text,
    num_line_ends,
    stated_licence,
)
from protein2text.data.records import Record, make_record
from protein2text.data.sources import CUT_SHORT
from protein2text.errors import UnusableRecord
from protein2text.proteins import Protein

_END = re.compile(rb"</entry\s*>")
_TAG = re.compile(r"<entry(?=[\s>])|</entry\s*>")
_FRAME = re.compile(r"<\?xml.*?\?>|<!--.*?-->|</?uniprot[^<>]*>|<copyright>.*?</copyright>", re.DOTALL)
"""What may stand outside of entries."""
_STRAY = "text that belongs to no entry. Remove it, or restore the entry that it is a part of."
_CUT = "the file ends inside this entry. Fetch the file again."
_UNCLOSED = "the file ends without </uniprot>, so entries may be missing. Fetch the file again."
_NO_EVIDENCE = ElementTree.Element("evidence")
_NAMESPACE = re.compile(r"""\sxmlns(?::\w+)?\s*=\s*(?:"[^"]*"|'[^']*')""")


def cut(chunks: Iterator[bytes]) -> Iterator[Piece]:
    """Pieces that end with an entry; a problem, where a file that begins with ``<uniprot`` does not close it."""
    first = last = None
    for last in cut_after(_END, chunks):
        first = first or last
        yield last
    if first and last and last.problem is None and _is_unclosed(first, last):
        yield Piece(last.line + num_line_ends(last.data), b"", "", _UNCLOSED, CUT_SHORT)


def _is_unclosed(first: Piece, last: Piece) -> bool:
    """Whether a file opens ``<uniprot`` before its first entry and ends, outside of any, without closing it."""
    before = _TAG.split(first.data.decode("utf-8", "replace"), maxsplit=1)[0]
    end = last.data.decode("utf-8", "replace")
    tags = list(_TAG.finditer(end))
    is_inside = bool(tags) and tags[-1][0] == "<entry"
    return "<uniprot" in before and not is_inside and "</uniprot" not in end[tags[-1].end() if tags else 0 :]


def split(text: str, line: int, context: str) -> Iterator[Entry]:
    """The text of each ``<entry>`` element, found without an XML parser; other text is an entry that will not parse."""
    counted = 0
    for start, end, problem in _spans(text):
        body = text[start:end].lstrip()
        if problem == _STRAY and not _FRAME.sub("", body).strip():
            continue
        start = end - len(body)
        line += text.count("\n", counted, start)
        counted = start
        yield Entry(f"line {line}", body, problem, CUT_SHORT if problem == _CUT else "unreadable")


def _spans(text: str) -> Iterator[tuple[int, int, str | None]]:
    """Where entries, and the text around them, begin and end; the third says what is wrong with a span."""
    position, begun = 0, False
    for tag in _TAG.finditer(text):
        opening = tag[0] == "<entry"
        end = tag.start() if opening else tag.end()  # an entry that is never closed costs only itself
        yield position, end, None if begun else _STRAY
        position, begun = end, opening
    yield position, len(text), _CUT if begun else _STRAY


def parse(raw: str, place: Place) -> Record:
    """A description from the entry's ``comment type="function"`` elements.

    Raises:
        UnusableRecord: what `element_of` refuses, or no function text.
    """
    protein, entry = element_of(raw, place)
    evidence = {node.get("key"): node for node in entry.findall("evidence")}
    texts, codes, articles = [], set(), []
    for comment in entry.findall("comment[@type='function']"):
        molecule = comment.findtext("molecule")
        for text in comment.findall("text"):
            texts.append((f"[{molecule}]: " if molecule else "") + (text.text or ""))
            for key in text.get("evidence", "").split():
                node = evidence.get(key, _NO_EVIDENCE)
                codes.add(node.get("type", ""))
                articles += [f"(PubMed:{article})" for article in articles_of(node)]
    tags = " ".join([*articles, *(f"{{{code}}}" for code in sorted(codes))])
    function = function_text([*texts, tags])
    if not function.text:
        raise no_text(protein.accession)
    provenance = {
        **about(entry),
        "evidence": function.evidence,
        "pubmed": function.pubmed,
        "created": entry.get("created"),
    }
    return make_record(protein.accession, [protein], source=place.source, text=function.text, provenance=provenance)


def element_of(raw: str, place: Place) -> tuple[Protein, ElementTree.Element]:
    """An entry's protein and its element, names without their namespace.

    Raises:
        UnusableRecord: not well-formed, or no sequence element.
    """
    if "<!DOCTYPE" in raw or "<!ENTITY" in raw:
        raise _unreadable(place, "a document type or entity inside an entry")
    try:
        entry = ElementTree.fromstring(_NAMESPACE.sub("", raw))
    except ElementTree.ParseError as error:
        raise _unreadable(place, str(error)) from None
    sequence = entry.find("sequence")
    stated = sequence.get("length", "") if sequence is not None else ""
    residues = (sequence.text or "") if sequence is not None else ""
    length = int(stated) if stated.isdigit() else None
    return checked_protein(entry.findtext("accession") or "", residues, place, length), entry


def articles_of(evidence: ElementTree.Element) -> list[str]:
    """PubMed ids that an evidence element names."""
    return [node.get("id", "") for node in evidence.findall("source/dbReference[@type='PubMed']")]


def about(entry: ElementTree.Element) -> dict[str, Any]:
    """Name, organism, version and licence of an entry."""
    return {
        "name": entry.findtext("protein/recommendedName/fullName") or entry.findtext("protein/submittedName/fullName"),
        "organism": entry.findtext("organism/name[@type='scientific']"),
        "entry_version": int(entry.get("version", 0)),
        "licence": stated_licence(entry.findtext("copyright") or ""),
    }


def _unreadable(place: Place, problem: str) -> UnusableRecord:
    return UnusableRecord(
        "unreadable", place.source, place.place, problem, "an entry of UniProt XML is needed", "Fetch the entry again."
    )
