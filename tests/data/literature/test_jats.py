"""`data.literature.jats` on real articles, beside a plain walk with ElementTree, and on hostile files."""

import http.server
import re
import threading
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protein2text.data.licence_codes import accepted_code, licence_code
from protein2text.data.literature.jats import MAX_BYTES, Jats, read_jats
from protein2text.errors import ConfigError, UnusableRecord

PMCID = "<article-id pub-id-type='pmcid'>PMC123</article-id>"
XLINK = "http://www.w3.org/1999/xlink"


def article(meta: str = "", body: str = "", kind: str = "research-article", before: str = "") -> bytes:
    return (
        f"<?xml version='1.0'?>{before}<article article-type='{kind}' xmlns:xlink='{XLINK}'><front><article-meta>"
        f"<title-group><article-title>On x</article-title></title-group>{meta}</article-meta></front>"
        f"<body>{body}</body></article>"
    ).encode()


def read(*args: str, **options: str) -> Jats:
    return read_jats(article(*args, **options), "test")


def reason(data: bytes) -> str:
    with pytest.raises(UnusableRecord) as caught:
        read_jats(data, "PMC1.xml")
    assert "PMC1.xml" in str(caught.value)
    return caught.value.reason


def plain_abstract(path: Path) -> str | None:
    """Oracle: all letters of the first <abstract> without a type, but its heading, without white space."""
    meta = ElementTree.parse(path).getroot().find("front/article-meta")
    assert meta is not None
    for node in meta.iter("abstract"):
        if "abstract-type" not in node.attrib:
            text = "".join(node.itertext())
            heading = "".join(title.itertext()) if (title := node.find("title")) is not None else ""
            return "".join(text.replace(heading, "", 1).split())
    return None


def test_all_real_articles_are_read_as_a_plain_walk_reads_them(jats_files: list[Path]) -> None:
    assert len(jats_files) == 33
    without = []
    for path in jats_files:
        jats, raw = read_jats(path.read_bytes(), path.name), path.read_text(encoding="utf-8")
        expected = plain_abstract(path)
        if expected is None:
            without.append(path.name)
        assert (None if jats.abstract is None else "".join(jats.abstract.split())) == expected, path.name
        meta = ElementTree.parse(path).getroot().find("front/article-meta")
        assert meta is not None
        title = meta.find("title-group/article-title")
        assert title is not None
        assert jats.title == " ".join("".join(title.itertext()).split())
        for kind in ("pmid", "doi"):
            found = re.findall(rf'<article-id pub-id-type="{kind}">([^<]*)<', raw)
            assert [getattr(jats, kind)] == (found or [None])
        assert jats.year == min(int(node.text or "") for node in meta.findall("pub-date/year"))
        assert jats.journal
        assert not jats.retracted
    assert without == ["journal.pmed.0020007.xml", "journal.pmed.0020402.xml", "journal.pone.0097541.xml"]


def test_licences_of_real_articles_are_those_they_state(jats_files: list[Path]) -> None:
    codes = {path.name: read_jats(path.read_bytes(), path.name).licence for path in jats_files}
    public_domain = {"journal.pmed.0020402.xml", "journal.pone.0068090.xml"}
    own_words = {"BMC_Genet-2-_-48141.nxml", "Genome_Biol-4-11-329117.nxml", "PLoS_Biol-1-2-261889.nxml"}
    for name, code in codes.items():
        assert code == ("CC0" if name in public_domain else None if name in own_words else "CC BY"), name


def test_introductions_and_discussions_of_real_articles_are_found(jats_files: list[Path]) -> None:
    for path in jats_files:
        jats = read_jats(path.read_bytes(), path.name)
        titles = [
            "".join(node.itertext()).strip().lower()
            for node in ElementTree.parse(path).getroot().findall("body/sec/title")
        ]
        expected = {
            "introduction": [title for title in titles if title in ("introduction", "background")],
            "discussion": [title for title in titles if "discussion" in title],
        }
        for kind, wanted in expected.items():
            found = [section for section in jats.sections if section["kind"] == kind]
            assert [section["title"].lower() for section in found] == wanted, path.name
            assert all(len(section["text"]) > 500 for section in found)
        assert len(jats.sections) == len(titles)


def test_an_answer_of_efetch_is_read_too(real_data: Path) -> None:
    jats = read_jats((real_data / "entrez" / "efetch_pmc.xml").read_bytes(), "efetch")
    assert (jats.pmcid, jats.pmid, jats.doi) == ("PMC8435807", "34527728", "10.1183/23120541.50193-2021")
    assert (jats.licence, jats.article_type, jats.year, jats.abstract) == ("CC BY-NC", "correction", 2021, None)


@pytest.mark.parametrize(
    ("ids", "pmcid", "version"),
    [
        ("<article-id pub-id-type='pmc'>123</article-id>", "PMC123", 0),
        ("<article-id pub-id-type='pmc'>PMC123</article-id>", "PMC123", 0),
        (f"{PMCID}<article-id pub-id-type='pmcid-ver'>PMC123.4</article-id>", "PMC123", 4),
        ("<article-id pub-id-type='publisher-id'>PMC123</article-id>", None, 0),
        ("", None, 0),
    ],
)
def test_both_spellings_of_a_pmc_id(ids: str, pmcid: str | None, version: int) -> None:
    jats = read(ids)
    assert (jats.pmcid, jats.version) == (pmcid, version)


def test_the_own_abstract_is_flattened_and_others_are_dropped() -> None:
    jats = read(
        "<abstract abstract-type='toc'><p>Short.</p></abstract>"
        "<abstract><title>Abstract</title><sec><title>Background</title><p>CO<sub>2</sub> and <italic>p</italic>53 "
        "[<xref ref-type='bibr'>1</xref>,<xref ref-type='bibr'>2</xref>] bind<xref ref-type='bibr'><sup>3</sup></xref>."
        "</p></sec><sec><title>Results</title><p>(<xref ref-type='fig'>Figure 1</xref>) It\n grows<!-- no -->.</p>"
        "<table-wrap><table><tr><td>9</td></tr></table></table-wrap></sec></abstract>"
        "<trans-abstract><p>Kurz.</p></trans-abstract><abstract abstract-type='summary'><p>For all.</p></abstract>"
    )
    assert jats.abstract == "Background\nCO2 and p53 bind.\nResults\n(Figure 1) It grows."


def test_text_without_paragraphs_and_lists_is_kept() -> None:
    assert read("<abstract>Bare <bold>text</bold>.</abstract>").abstract == "Bare text."
    listed = (
        "<abstract><p>One:</p><list><list-item><p>a</p></list-item><list-item><p>b</p></list-item></list></abstract>"
    )
    assert read(listed).abstract == "One:\na\nb"
    assert read("<abstract><p>A</p> stray <p>B</p></abstract>").abstract == "A\nstray\nB"
    assert read("<abstract><p> </p></abstract>").abstract is None


def test_a_formula_keeps_its_symbols_and_loses_its_source() -> None:
    formula = (
        "<inline-formula><alternatives><tex-math>\\alpha</tex-math><mml:math "
        "xmlns:mml='http://www.w3.org/1998/Math/MathML'><mml:mi>α</mml:mi></mml:math></alternatives></inline-formula>"
    )
    assert read(f"<abstract><p>Rate {formula} (-)-epicatechin f().</p></abstract>").abstract == (
        "Rate α (-)-epicatechin f()."
    )


def test_a_default_namespace_changes_nothing() -> None:
    plain = article("<article-id pub-id-type='pmc'>7</article-id><abstract><p>Text.</p></abstract>")
    spaced = plain.replace(b"<article ", b"<article xmlns='https://jats.nlm.nih.gov/ns/archiving/1.3/' ", 1)
    assert read_jats(spaced, "x") == read_jats(plain, "x")


@pytest.mark.parametrize(
    ("meta", "kind", "retracted"),
    [
        ("", "research-article", False),
        ("", "retraction", True),
        ("<related-article related-article-type='retraction-forward'/>", "research-article", True),
        ("<related-article related-article-type='corrected-article'/>", "correction", False),
    ],
)
def test_retractions_are_seen(meta: str, kind: str, retracted: bool) -> None:
    assert read(meta, kind=kind).retracted is retracted


@pytest.mark.parametrize(
    ("title", "retracted"),
    [
        ("RETRACTED: Growth of x", True),
        ("Retracted Article: Growth", True),
        ("[Retracted] Growth", True),
        ("Retraction notice to Growth", True),
        ("Retraction of the nictitating membrane", False),
        ("Why papers are retracted: a survey", False),
    ],
)
def test_titles_tell_retractions(title: str, retracted: bool) -> None:
    data = article().replace(b"On x", title.encode())
    assert read_jats(data, "x").retracted is retracted


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("http://creativecommons.org/licenses/by/2.0", "CC BY"),
        ("https://creativecommons.org/licenses/by-nc-nd/4.0/", "CC BY-NC-ND"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0"),
        ("CC BY-NC-SA", "CC BY-NC-SA"),
        ("CC BY 4.0", "CC BY"),
        ("CC0 1.0", "CC0"),
        ("under the Creative Commons Attribution License, which permits unrestricted use", "CC BY"),
        ("under the terms of the Creative Commons Attribution Non-Commercial Licence 4.0", "CC BY-NC"),
        ("Creative Commons Attribution-NonCommercial-NoDerivatives 4.0 License", "CC BY-NC-ND"),
        ("Creative Commons Attribution Share Alike License", "CC BY-SA"),
        ("the Creative Commons CC0 public domain dedication", "CC0"),
        ("This is an open access article.", None),
        ("TDM", None),
        ("All rights reserved.", None),
    ],
)
def test_licences_have_one_spelling(text: str, code: str | None) -> None:
    assert licence_code(text) == code


def bomb(depth: int = 12) -> str:
    entities = "".join(f"<!ENTITY e{n} '{f'&e{n - 1};' * 10}'>" for n in range(1, depth))
    return f"<!DOCTYPE article [<!ENTITY e0 'ha'>{entities}]>"


def test_an_entity_bomb_is_refused_wherever_it_goes_off() -> None:
    for meta in ("<abstract><p>&e11;</p></abstract>", "<abstract specific-use='&e11;'><p>a</p></abstract>", ""):
        assert reason(article(meta, before=bomb())) in ("entity", "unreadable")
    assert reason(article("<abstract><p>&e0;</p></abstract>", before=bomb(1))) == "entity", "one that is no bomb"
    assert reason(article("<abstract><p>quiet</p></abstract>", before=bomb(1))) == "entity"


def test_external_entities_and_document_types_reach_neither_files_nor_network(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("treasure")
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        for target in (secret.as_uri(), url):
            inside = f"<!DOCTYPE article [<!ENTITY x SYSTEM '{target}'>]>"
            assert reason(article("<abstract><p>&x;</p></abstract>", before=inside)) == "entity"
            parameter = f"<!DOCTYPE article [<!ENTITY % x SYSTEM '{target}'> %x;]>"
            assert reason(article("<abstract><p>a</p></abstract>", before=parameter)) == "entity"
        outside = f"<!DOCTYPE article SYSTEM '{url}/jats.dtd'>"
        assert read("<abstract><p>A &amp; &#946;</p></abstract>", before=outside).abstract == "A & β"
        assert reason(article("<abstract><p>a &alpha; b</p></abstract>", before=outside)) == "entity"
        include = f"<xi:include xmlns:xi='http://www.w3.org/2001/XInclude' href='{secret.as_uri()}' parse='text'/>"
        assert "treasure" not in str(read(f"<abstract><p>a {include}</p></abstract>"))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert asked == []


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "unreadable"),
        (b"\x00\xff", "unreadable"),
        (article()[:-20], "unreadable"),
        (b"<html/>", "not_jats"),
        (b"<pmc-articleset><article/><article/></pmc-articleset>", "not_jats"),
        (b"<article><front/></article>", "not_jats"),
        (b"<article>" + b"<a>" * 5000 + b"</a>" * 5000 + b"</article>", "unreadable"),
        (b" " * (MAX_BYTES + 1), "too_large"),
    ],
)
def test_what_is_no_article_is_refused_with_a_reason(data: bytes, expected: str) -> None:
    assert reason(data) == expected


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 100_000), junk=st.binary(max_size=40))
def test_damaged_articles_are_refused_or_read_never_a_crash(jats_files: list[Path], cut: int, junk: bytes) -> None:
    data = jats_files[cut % len(jats_files)].read_bytes()
    place = cut % len(data)
    for damaged in (data[:place], data[:place] + junk + data[place + len(junk) :]):
        with suppress(UnusableRecord):
            assert isinstance(read_jats(damaged, "x").sections, list)


@pytest.mark.parametrize(
    ("text", "code"), [("cc-by-nc", "CC BY-NC"), ("cc0", "CC0"), (" public domain", "PUBLIC DOMAIN")]
)
def test_a_licence_to_accept_may_be_spelled_in_any_way(text: str, code: str) -> None:
    assert accepted_code(text) == code


@pytest.mark.parametrize("text", ["CCBY", "MIT", "", "TDM"])
def test_a_licence_that_no_article_has_is_not_accepted(text: str) -> None:
    with pytest.raises(ConfigError, match=f"'{text}' is no licence .* CC BY-NC-SA"):
        accepted_code(text)
