"""Every stored fact is in the source entry that it names, and every fact of a source is stored: flat files and XML.

Each source is read here by another reader than the product's: Biopython, or plain text.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from Bio import SwissProt

from protein2text.neighbours.entries import Characterised
from protein2text.neighbours.facts import GO_EVIDENCE, Fact
from tests.data.test_evidence import words_without_references
from tests.neighbours.stated_facts import EC, GO_KINDS, Known, known, letters, opened, references, united


def of_flat(record: SwissProt.Record) -> Iterator[Known]:
    """What Biopython finds in an entry, but for free texts."""
    nothing: frozenset[str] = frozenset()
    for database, term, *rest in record.cross_references:
        if database == "GO":
            code = frozenset({GO_EVIDENCE[rest[1].split(":")[0]]})
            yield GO_KINDS[rest[0][0]], letters(rest[0][2:]), term, code, nothing, None, None
        elif database in ("InterPro", "Pfam", "PFAM"):
            yield "domain", letters(term if rest[0] == "-" else rest[0]), term, nothing, nothing, None, None
    for feature in record.features:
        if feature.type not in ("DOMAIN", "BINDING", "METAL", "NP_BIND"):
            continue
        said = {key: value for key, value in feature.qualifiers.items() if isinstance(value, str)}
        raw = said.get("note", said.get("description", ""))
        codes = references(said.get("evidence", "") + raw)
        ends = int(feature.location.start) + 1, int(feature.location.end)
        note = re.sub(r"\{.*?\}", "", raw)
        plain = re.sub(r"\((By similarity|Potential|Probable)\)", "", note)
        qualified = {"By similarity": "ECO:0000250", "Potential": "ECO:0000255", "Probable": "ECO:0000305"}
        codes = (codes[0] | {code for word, code in qualified.items() if f"({word})" in note}, codes[1])
        if feature.type == "DOMAIN":
            yield "domain", letters(plain), None, *codes, *ends
        else:
            ligand = said.get("ligand") or plain.split(";")[0]
            yield "ligand", letters(ligand), said.get("ligand_id", "")[6:] or None, *codes, *ends


def comments_of(record: SwissProt.Record, topic: str) -> list[str]:
    return [text.removeprefix(f"{topic}:").strip() for text in record.comments if text.startswith(f"{topic}:")]


def flat_files(real_data: Path) -> list[Path]:
    return sorted((real_data / "uniprot" / "flatfile").glob("*.txt"))


def records_of(paths: list[Path]) -> dict[str, SwissProt.Record]:
    found = {}
    for path in paths:
        with path.open() as file:
            for record in SwissProt.parse(file):
                found.setdefault(record.accessions[0], record)
    return found


@pytest.fixture(scope="module")
def flat_entries(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Characterised]:
    return opened(tmp_path_factory, *flat_files(real_data))


def test_terms_and_features_of_flat_files_are_what_biopython_finds(
    real_data: Path, flat_entries: dict[str, Characterised]
) -> None:
    records = records_of(flat_files(real_data))
    assert records.keys() - flat_entries.keys() == {"Q01436"}, "a phage protein that is known by name only"
    assert len(records) > 20
    read_so = {"domain", "ligand", *GO_KINDS.values()}
    for name, entry in flat_entries.items():
        record = records[name]
        stored = [known(fact) for fact in entry.facts if fact.kind in read_so]
        assert len(set(stored)) == len(stored)
        assert set(stored) == united(of_flat(record)), name
        assert entry.sequence == record.sequence


def test_comments_of_flat_files_are_what_biopython_finds(
    real_data: Path, flat_entries: dict[str, Characterised]
) -> None:
    total: Counter[str] = Counter()
    records = records_of(flat_files(real_data))
    for name, entry in flat_entries.items():
        record, facts = records[name], dict[str, list[Fact]]()
        for fact in entry.facts:
            facts.setdefault(fact.kind, []).append(fact)
        total.update({kind: len(found) for kind, found in facts.items()})
        whole = record.description + " ".join(comments_of(record, "CATALYTIC ACTIVITY"))
        assert {fact.value for fact in facts.get("ec", ())} == set(
            EC.findall(" ".join(re.findall(r"EC[= ](\S+)", whole)))
        )
        assert letters(facts["name"][0].value) in letters(record.description)
        for kind, topic, each in (
            ("function", "FUNCTION", r"\S.*"),
            ("reaction", "CATALYTIC ACTIVITY", r"Reaction=|^(?!.*Reaction=)."),
            ("cofactor", "COFACTOR", r"Name=|^(?!.*Name=)."),
            ("family", "SIMILARITY", r"(?i)belongs to"),
        ):
            texts = comments_of(record, topic)
            assert len(facts.get(kind, ())) == sum(len(re.findall(each, text)) for text in texts), (name, kind)
            for fact in facts.get(kind, ()):
                within = [text for text in texts if covers(text, fact.value)]
                assert within, (name, fact)
                assert all(
                    any(one in text for text in within) for one in (*fact.pubmed, *fact.eco) if one in str(texts)
                )
                assert set(fact.pubmed) <= set(re.findall(r"\d+", " ".join(within)))
        places = " ".join(comments_of(record, "SUBCELLULAR LOCATION")).split("Note=")[0]
        stated = [
            part for part in re.split(r"[.;](?=\s|$)", re.sub(r"\{[^}]*\}|\([^)]*\)", "", places)) if part.strip()
        ]
        assert [letters(fact.value) for fact in facts.get("location", ())] == list(dict.fromkeys(map(letters, stated)))
    assert total["function"] > 30
    assert total["location"] > 25


def covers(text: str, value: str) -> bool:
    """Whether a raw text holds a value, but for references, white space and stops."""
    raw, said = (re.sub(r"[\s.;]", "", "".join(words_without_references(one))) for one in (text, value))
    return said in raw


def test_facts_of_xml_are_in_the_text_of_their_entries(
    real_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    paths = sorted((real_data / "uniprot" / "xml").glob("*.xml"))
    entries, num_facts = opened(tmp_path_factory, *paths), 0
    texts: dict[str, str] = {}
    for path in paths:
        for text in re.findall(r"<entry[\s>].*?</entry>", path.read_text(), re.DOTALL):
            texts.setdefault(re.findall(r"<accession>(.*?)</accession>", text)[0], text)
    assert texts.keys() - entries.keys() == {"Q01436"}
    for name, entry in entries.items():
        text = texts[name]
        facts = Counter(fact.kind for fact in entry.facts)
        num_facts += len(entry.facts)
        assert sum(facts[kind] for kind in GO_KINDS.values()) == len(re.findall(r'type="GO"', text))
        assert facts["domain"] == len(set(re.findall(r'dbReference type="(?:InterPro|Pfam)" id="(\w+)"', text))) + len(
            re.findall(r'<feature type="domain"', text)
        )
        sites = r'<feature type="(?:binding site|metal ion-binding site|nucleotide phosphate-binding region)"'
        ligands = [max(1, one.count("<ligand>")) for one in re.findall(rf"{sites}.*?</feature>", text, re.DOTALL)]
        assert facts["ligand"] == sum(ligands)
        functions = re.findall(r'<comment type="function">(.*?)</comment>', text, re.DOTALL)
        assert facts["function"] == sum(one.count("<text") for one in functions)
        articles = set(re.findall(r'type="PubMed" id="(\d+)"', text)) | set(re.findall(r"PubMed:(\d+)", text))
        plain = letters(re.sub(r"\s*\(PubMed[^)]*\)|\s*\((?:By similarity|Probable)\)", "", unescaped(text)))
        for fact in entry.facts:
            for part in letters(fact.value).split(",") if fact.kind == "location" else [letters(fact.value)]:
                assert part.rstrip(".") in plain, (name, fact)
            assert fact.term is None or f'id="{fact.term}"' in text
            assert set(fact.pubmed) <= articles
            assert fact.begin is None or f'position="{fact.begin}"' in text
    assert num_facts > 200


def unescaped(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").replace("&quot;", '"')


def test_flat_file_and_xml_of_one_entry_give_the_same_facts(
    real_data: Path, flat_entries: dict[str, Characterised], tmp_path_factory: pytest.TempPathFactory
) -> None:
    xml = opened(tmp_path_factory, real_data / "uniprot" / "xml" / "multi_ex.xml")
    assert len(xml) == 7
    for name, entry in xml.items():
        assert sorted(map(bare, entry.facts)) == sorted(map(bare, flat_entries[name].facts)), name


def bare(fact: Fact) -> tuple[str, str, str, int, int]:
    return fact.kind, re.sub(r"\W", "", fact.value).lower(), fact.term or "", fact.begin or 0, fact.end or 0
