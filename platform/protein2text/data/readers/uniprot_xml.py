"""UniProt XML, either namespace, read entry by entry so that a malformed entry costs only itself."""

import re
from collections.abc import Iterator
from typing import TextIO
from xml.etree import ElementTree

from protein2text.data.evidence import function_text
from protein2text.data.readers.entries import Entry, Place, checked_protein, no_text, stated_licence
from protein2text.data.records import Record, make_record
from protein2text.errors import UnusableRecord

_CHUNK = 1 << 20
_START = re.compile(r"<entry[\s>]")
_END = "</entry>"
_NO_EVIDENCE = ElementTree.Element("evidence")
_NAMESPACE = re.compile(r"""\sxmlns(?::\w+)?\s*=\s*(?:"[^"]*"|'[^']*')""")


def split(stream: TextIO) -> Iterator[Entry]:
    """The text of each ``<entry>`` element, found without an XML parser."""
    buffer, line, found = "", 1, False
    while True:
        chunk = stream.read(_CHUNK)
        buffer += chunk
        while (start := _START.search(buffer)) and (end := buffer.find(_END, start.start())) >= 0:
            found = True
            line += buffer.count("\n", 0, start.start())
            second = _START.search(buffer, start.end(), end)
            stop = second.start() if second else end + len(_END)  # the first was never closed: it costs only itself
            raw = buffer[start.start() : stop]
            yield Entry(f"line {line}", raw)
            line += raw.count("\n")
            buffer = buffer[stop:]
        if not chunk:
            break
    if start := _START.search(buffer):
        line += buffer.count("\n", 0, start.start())
        yield Entry(f"line {line}", buffer[start.start() :], "the file ends inside this entry")
    elif not found:
        yield Entry("line 1", buffer[:200], "no <entry> element in the file")


def parse(raw: str, place: Place) -> Record:
    """A description from the entry's ``comment type="function"`` elements.

    Raises:
        UnusableRecord: not well-formed, no sequence element, or no function text.
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
    protein = checked_protein(
        entry.findtext("accession") or "", residues, place, int(stated) if stated.isdigit() else None
    )
    evidence = {node.get("key"): node for node in entry.findall("evidence")}
    texts, codes, articles = [], set(), []
    for comment in entry.findall("comment[@type='function']"):
        molecule = comment.findtext("molecule")
        for text in comment.findall("text"):
            texts.append((f"[{molecule}]: " if molecule else "") + (text.text or ""))
            for key in text.get("evidence", "").split():
                node = evidence.get(key, _NO_EVIDENCE)
                codes.add(node.get("type", ""))
                found = node.findall("source/dbReference[@type='PubMed']")
                articles += [f"(PubMed:{reference.get('id')})" for reference in found]
    tags = " ".join([*articles, *(f"{{{code}}}" for code in sorted(codes))])
    function = function_text([*texts, tags])
    if not function.text:
        raise no_text(protein.accession)
    provenance = {
        "name": entry.findtext("protein/recommendedName/fullName") or entry.findtext("protein/submittedName/fullName"),
        "organism": entry.findtext("organism/name[@type='scientific']"),
        "evidence": function.evidence,
        "pubmed": function.pubmed,
        "entry_version": int(entry.get("version", 0)),
        "licence": stated_licence(entry.findtext("copyright") or ""),
    }
    return make_record(protein.accession, [protein], source=place.source, text=function.text, provenance=provenance)


def _unreadable(place: Place, problem: str) -> UnusableRecord:
    return UnusableRecord(
        "unreadable", place.source, place.place, problem, "an entry of UniProt XML is needed", "Fetch the entry again."
    )
