"""Reads JATS articles (https://jats.nlm.nih.gov) without document types, entities or network.

Text is taken block by block: paragraphs and titles, parted by line breaks. Tables, figures, formula sources and
reference marks are left out; a formula's symbols stay.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lxml import etree

from protein2text.data.licence_codes import licence_code
from protein2text.data.literature.article import Section
from protein2text.errors import UnusableRecord

MAX_BYTES = 64 * 2**20
"""Largest article that is read; PMC's largest are some tens of MB."""

_CONTAINERS = frozenset({"sec", "list", "list-item", "def-list", "def-item", "disp-quote", "boxed-text"})
_SKIPPED = frozenset(
    {
        "table-wrap", "table-wrap-group", "fig", "fig-group", "supplementary-material", "tex-math", "graphic",
        "inline-graphic", "media", "ref-list", "fn", "fn-group", "object-id", "label", "annotation", "abstract",
    }
)  # fmt: skip
_MARK = "\ue000"
"""Stands for a reference mark until the brackets around it are gone too."""
_EMPTIED = re.compile(rf"\s*[\[(][\s,;–{_MARK}-]*{_MARK}[\s,;–{_MARK}-]*[\])]")
_RETRACTED_TYPES = frozenset({"retraction", "retracted-article"})
_RETRACTED_TITLE = re.compile(r"\W*(?:retracted|retraction)\b(?=\W*(?:article|notice|:|\]))", re.IGNORECASE)
_RELEASES = frozenset({"pmc-release", "nihms-submitted"})
_KINDS = {"introduction": ("introduction", "background"), "discussion": ("discussion",)}


@dataclass(frozen=True)
class Jats:
    """What an article states about itself."""

    pmcid: str | None
    version: int
    pmid: str | None
    doi: str | None
    title: str
    journal: str | None
    year: int | None
    article_type: str | None
    licence: str | None
    retracted: bool
    abstract: str | None
    """Of the article's own abstract, None where it has none."""
    sections: list[Section]


def parser() -> etree.XMLParser:
    """A parser for XML of strangers: it fetches nothing, expands no entity, and keeps libxml2's limits on size."""
    return etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False, recover=False
    )


def parse_xml(data: bytes, record: str) -> Any:
    """Root of a document.

    Raises:
        UnusableRecord: not well-formed, above ``MAX_BYTES``, or with entities of its own.
    """
    if len(data) > MAX_BYTES:
        raise _refusal("too_large", record, f"{len(data)} bytes", f"the limit is {MAX_BYTES}", "Leave it out.")
    try:
        root = etree.fromstring(data, parser())
    except etree.XMLSyntaxError as error:
        raise _refusal("unreadable", record, str(error), "well-formed XML is needed", "Fetch it again.") from None
    declared = root.getroottree().docinfo.internalDTD
    names = [entity.name for entity in declared.iterentities()] if declared is not None else []
    names += [node.name for node in root.iter(etree.Entity)]
    if names:
        limit = "entities are not expanded: they could hide text, or fill the memory"
        raise _refusal("entity", record, f"entity {names[0]!r}", limit, "Fetch the article from PMC.")
    for node in root.iter(etree.Element):
        if "}" in node.tag and not node.tag.startswith("{http://www.w3.org/1998/Math"):
            node.tag = etree.QName(node).localname
    return root


def read_jats(data: bytes, record: str) -> Jats:
    """Read one article.

    Args:
        data: the file's bytes; an article may stand in a ``pmc-articleset``.
        record: what to call it in an error.

    Raises:
        UnusableRecord: no single article, or whatever ``parse_xml`` refuses.
    """
    root = parse_xml(data, record)
    articles = [root] if root.tag == "article" else root.findall("article")
    meta = articles[0].find("front/article-meta") if len(articles) == 1 else None
    if meta is None:
        limit = "one <article> with <article-meta> is needed"
        raise _refusal("not_jats", record, f"<{root.tag}> with {len(articles)} articles", limit, "Give JATS articles.")
    article, ids = articles[0], _ids(meta)
    title = clean(_inline(meta.find("title-group/article-title")))
    kind = article.get("article-type")
    related = {node.get("related-article-type") for node in meta.findall("related-article")}
    journal = meta.getparent().find("journal-meta")
    named = [] if journal is None else [journal.find(".//journal-title"), journal.find("journal-id")]
    return Jats(
        pmcid=ids.get("pmcid"),
        version=int(ids.get("version", 0)),
        pmid=ids.get("pmid"),
        doi=ids.get("doi"),
        title=title,
        journal=next((name for name in map(clean, map(_inline, named)) if name), None),
        year=_year(meta),
        article_type=kind,
        licence=_licence(meta),
        retracted=kind in _RETRACTED_TYPES
        or "retraction-forward" in related
        or _RETRACTED_TITLE.match(title) is not None,
        abstract=_abstract(meta),
        sections=[_section(node) for node in article.findall("body/sec")],
    )


def _ids(meta: Any) -> dict[str, str]:
    """Ids under one spelling: ``pmcid`` with its prefix, and the version where the file states it."""
    found: dict[str, str] = {}
    for node in meta.findall("article-id"):
        kind, text = node.get("pub-id-type"), (node.text or "").strip()
        if kind in ("pmc", "pmcid") and (digits := re.fullmatch(r"(?:PMC)?(\d+)", text)):
            found["pmcid"] = f"PMC{digits[1]}"
        elif kind == "pmcid-ver" and (versioned := re.fullmatch(r"PMC\d+\.(\d+)", text)):
            found["version"] = versioned[1]
        elif kind in ("pmid", "doi") and text:
            found[kind] = text
    return found


def _year(meta: Any) -> int | None:
    dates = [node for node in meta.findall("pub-date") if node.get("pub-type") not in _RELEASES]
    years = [(node.findtext("year") or "").strip() for node in dates]
    return min((int(year) for year in years if year.isdigit()), default=None)


def _licence(meta: Any) -> str | None:
    """Licence of the ``<license>`` element: its address, else an address inside it, else its words."""
    for node in (*meta.findall(".//license"), *meta.findall(".//copyright-statement")):
        addresses = [value for inner in node.iter(etree.Element) for value in inner.attrib.values()]
        references = [inner.text or "" for inner in node.iter("license_ref")]
        for text in (*addresses, *references, "".join(node.itertext())):
            if code := licence_code(text):
                return code
    return None


def _abstract(meta: Any) -> str | None:
    own = next((node for node in meta.findall("abstract") if node.get("abstract-type") is None), None)
    return None if own is None else "\n".join(_blocks(own)) or None


def _section(node: Any) -> Section:
    title = clean(_inline(node.find("title")))
    words = f"{node.get('sec-type') or ''} {title}".lower()
    kind = None
    if title.lower().lstrip("0123456789. ").startswith(_KINDS["introduction"]) or words.startswith("intro"):
        kind = "introduction"
    elif "discussion" in words:
        kind = "discussion"
    body = [block for child in node if child.tag != "title" for block in _block(child)]
    return {"kind": kind, "title": title, "text": "\n".join(body)}


def _blocks(node: Any) -> Iterator[str]:
    """Paragraphs and titles of a container; its own heading (``Abstract``) is none of them."""
    if (node.text or "").strip():
        yield clean(_inline(node))
        return
    for child in node:
        if child.tag != "title" or node.tag != "abstract":
            yield from _block(child)
        if (child.tail or "").strip():
            yield clean(child.tail)


def _block(node: Any) -> Iterator[str]:
    if not isinstance(node.tag, str) or node.tag in _SKIPPED:
        return
    if node.tag in _CONTAINERS:
        yield from _blocks(node)
    elif text := clean(_inline(node)):
        yield text


def _inline(node: Any) -> str:
    """Text of an element and all in it but what is skipped; blocks inside it are parted by spaces."""
    if node is None:
        return ""
    parts = [node.text or ""]
    for child in node:
        if isinstance(child.tag, str) and child.tag not in _SKIPPED:
            if child.tag == "xref" and child.get("ref-type") == "bibr":
                parts.append(_MARK)
            else:
                space = " " if child.tag in _CONTAINERS or child.tag in ("p", "title", "break") else ""
                parts += [space, _inline(child), space]
        parts.append(child.tail or "")
    return "".join(parts)


def clean(text: str) -> str:
    """One line, without reference marks and the brackets that held nothing else."""
    return " ".join(_EMPTIED.sub("", text).replace(_MARK, "").split())


def _refusal(reason: str, record: str, value: str, limit: str, remedy: str) -> UnusableRecord:
    return UnusableRecord(reason, record, "JATS", value, limit, remedy)
