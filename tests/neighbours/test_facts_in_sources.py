"""Every stored fact is in the source entry that it names, and every fact of a source is stored, for all real files.

Each source is read here by another reader than the product's: csv, json, Biopython, or plain text.
"""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from Bio import SwissProt

from protein2text.neighbours.entries import Characterised
from protein2text.neighbours.facts import EXPERIMENTAL, GO_EVIDENCE, TRANSFERRED, Fact
from protein2text.neighbours.index_folder import NeighbourIndex
from tests.data.test_evidence import words_without_references
from tests.neighbours.in_process import build_in_process

GO_KINDS = {"F": "molecular_function", "P": "biological_process", "C": "cellular_component"}
EC = re.compile(r"\d+\.[\d-]+\.[\d-]+\.[n\d-]+")
Known = tuple[str, str, str | None, frozenset[str], frozenset[str], int | None, int | None]


def letters(text: str) -> str:
    """Without white space, which depends on where lines broke, and without a stop at the end."""
    return re.sub(r"\s", "", text).rstrip(".;")


def known(fact: Fact) -> Known:
    return (
        fact.kind,
        letters(fact.value),
        fact.term,
        frozenset(fact.eco),
        frozenset(fact.pubmed),
        fact.begin,
        fact.end,
    )


def united(facts: Iterable[Known]) -> set[Known]:
    """What is said twice is one fact with the evidence of both."""
    evidence: dict[tuple[Any, ...], tuple[set[str], set[str]]] = {}
    for kind, value, term, eco, pubmed, begin, end in facts:
        codes, articles = evidence.setdefault((kind, value, term, begin, end), (set(), set()))
        codes |= eco
        articles |= pubmed
    return {(*key[:3], frozenset(e), frozenset(p), *key[3:]) for key, (e, p) in evidence.items()}  # type: ignore[misc]


def opened(tmp_path_factory: pytest.TempPathFactory, *paths: Path) -> dict[str, Characterised]:
    index = build_in_process(list(paths), tmp_path_factory.mktemp("index") / "made")
    return index.entries(index.sequences())


def references(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """ECO codes and articles that a raw text names."""
    return frozenset(re.findall(r"ECO:\d+", text)), frozenset(re.findall(r"PubMed:\s*(\d+)", text))


# --- table


def test_facts_of_a_table_are_its_cells(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = real_data / "uniprot" / "human_function.tsv"
    entries = opened(tmp_path_factory, path)
    with path.open(newline="", encoding="utf-8") as file:
        rows = {row["Entry"]: row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)}
    assert len(rows) == 500
    for name, row in rows.items():
        comments = [part for part in re.split(r"(?:^|; )FUNCTION: ", row["Function [CC]"]) if part.strip()]
        numbers = set(re.findall(r"\(EC ([^()\s]+)\)", row["Protein names"]))
        if name not in entries:
            assert not [*comments, *numbers], f"{name} says something and is left out"
            continue
        entry = entries[name]
        assert (entry.sequence, entry.source, entry.organism) == (row["Sequence"], path.name, row["Organism"])
        facts = {kind: [fact for fact in entry.facts if fact.kind == kind] for kind in ("name", "ec", "function")}
        assert sum(map(len, facts.values())) == len(entry.facts)
        assert row["Protein names"].startswith(facts["name"][0].value)
        assert {fact.value for fact in facts["ec"]} == numbers
        assert len(facts["ec"]) == len(numbers)
        assert len(facts["function"]) == len(comments)
        for fact, comment in zip(facts["function"], comments, strict=True):
            words = words_without_references(f"[{fact.molecule}]: {fact.value}" if fact.molecule else fact.value)
            assert words == words_without_references(comment)
            assert (frozenset(fact.eco) | {"ECO:0000305"}) == references(comment)[0] | {"ECO:0000305"}
            assert frozenset(fact.pubmed) == references(comment)[1]
    kinds = Counter(fact.kind for entry in entries.values() for fact in entry.facts)
    assert kinds == {"name": len(entries), "function": 574, "ec": 170}


# --- REST JSON


def of_rest(entry: dict[str, Any]) -> Iterator[Known]:
    """All that an entry of the REST service states, from its own structure."""

    def stated(item: dict[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        found = item.get("evidences", [])
        codes = frozenset(one["evidenceCode"] for one in found)
        return codes, frozenset(one["id"] for one in found if one.get("source") == "PubMed")

    def numbers(node: Any, of: str = "") -> Iterator[Known]:
        of = node.get("molecule", of) if isinstance(node, dict) else of
        for key, item in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
            for part in item if key in ("contains", "includes") else [item]:
                named = key in ("contains", "includes")
                yield from numbers(part, part["recommendedName"]["fullName"]["value"] if named else of)
        if isinstance(node, dict):
            for number in node.get("ecNumbers", ()):
                yield "ec", f"{number['value']} of {of}", None, *stated(number), None, None
            if "ecNumber" in node:
                yield "ec", f"{node['ecNumber']} of {of}", None, *stated(node), None, None

    yield from numbers(entry)
    name = entry["proteinDescription"]["recommendedName"]["fullName"]
    yield "name", letters(name["value"]), None, *stated(name), None, None
    for comment in entry["comments"]:
        kind = comment["commentType"]
        for text in comment.get("texts", ()):
            inline = references(text["value"])
            both = tuple(own | more for own, more in zip(stated(text), inline, strict=True))
            if "(By similarity)" in text["value"]:
                both = (both[0] | {"ECO:0000250"}, both[1])
            if "(Probable)" in text["value"]:
                both = (both[0] | {"ECO:0000305"}, both[1])
            if kind == "FUNCTION":
                words = " ".join(words_without_references(text["value"]))
                yield "function", words, None, both[0], both[1], None, None
            elif kind == "SIMILARITY" and "elongs to the " in text["value"]:
                yield "family", letters(text["value"].split("elongs to the ")[1]), None, *stated(text), None, None
        if kind == "CATALYTIC ACTIVITY":
            reaction = comment["reaction"]
            ids = [ref["id"] for ref in reaction.get("reactionCrossReferences", ()) if ref["database"] == "Rhea"]
            rhea = next((one for one in ids if "COMP" not in one), None)
            yield "reaction", letters(reaction["name"]), rhea, *stated(reaction), None, None
        for cofactor in comment.get("cofactors", ()):
            chebi = cofactor.get("cofactorCrossReference", {}).get("id")
            yield "cofactor", letters(cofactor["name"]), chebi, *stated(cofactor), None, None
        for place in comment.get("subcellularLocations", ()):
            for part in place.values():
                yield "location", letters(part["value"]), part.get("id"), *stated(part), None, None
    for ref in entry["uniProtKBCrossReferences"]:
        said = [item["value"] for item in ref.get("properties", ())]
        if ref["database"] == "GO":
            kind, code = GO_KINDS[said[0][0]], {GO_EVIDENCE[said[1].split(":")[0]]}
            codes, articles = stated(ref)
            yield kind, letters(said[0][2:]), ref["id"], codes | code, articles, None, None
        elif ref["database"] in ("InterPro", "Pfam"):
            yield "domain", letters(said[0]), ref["id"], frozenset(), frozenset(), None, None
    for feature in entry["features"]:
        ends = feature["location"]["start"]["value"], feature["location"]["end"]["value"]
        if feature["type"] == "Domain":
            yield "domain", letters(feature["description"]), None, *stated(feature), *ends
        elif feature["type"] == "Binding site":
            chebi = feature["ligand"].get("id", "").replace("ChEBI:CHEBI", "CHEBI") or None
            yield "ligand", letters(feature["ligand"]["name"]), chebi, *stated(feature), *ends


def test_facts_of_rest_entries_are_theirs_and_all_of_them(
    real_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = real_data / "uniprot" / "rest_entries.json"
    entries = opened(tmp_path_factory, path)
    raw = {entry["primaryAccession"]: entry for entry in json.loads(path.read_text())["results"]}
    assert entries.keys() == raw.keys()
    total: Counter[str] = Counter()
    for name, entry in entries.items():
        stored = [known(fact) for fact in entry.facts]
        stored = [(*one[:1], " ".join(re.findall(r"[^\s.;]+", f.value)), *one[2:]) if f.kind == "function" else one
                  for one, f in zip(stored, entry.facts, strict=True)]  # fmt: skip
        stored = [("ec", f"{f.value} of {f.molecule or ''}", *one[2:]) if f.kind == "ec" else one
                  for one, f in zip(stored, entry.facts, strict=True)]  # fmt: skip
        assert len(set(stored)) == len(stored), name
        assert set(stored) == united(of_rest(raw[name])), name
        assert entry.entry_version == raw[name]["entryAudit"]["entryVersion"]
        total.update(fact.kind for fact in entry.facts)
    assert total["ligand"] == 97
    assert total["molecular_function"] + total["biological_process"] + total["cellular_component"] == 291


def test_an_ec_number_of_a_chain_stays_with_it(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    entries = opened(tmp_path_factory, real_data / "uniprot" / "rest_entries.json")
    numbers = [fact for fact in entries["Q70US9"].facts if fact.kind == "ec"]
    assert [(fact.value, fact.molecule) for fact in numbers] == [("3.2.2.22", "Volkensin A chain")]


def test_evidence_codes_are_called_what_uniprot_calls_them(real_data: Path) -> None:
    entries = json.loads((real_data / "uniprot" / "rest_entries.json").read_text())["results"]
    met = set()
    for reference in (ref for entry in entries for ref in entry["uniProtKBCrossReferences"]):
        if reference["database"] == "GO" and "evidences" in reference:
            code = reference["properties"][1]["value"].split(":")[0]
            for evidence in reference["evidences"]:
                met.add(code)
                assert GO_EVIDENCE[code] == evidence["evidenceCode"]
    assert len(met) > 4
    assert not EXPERIMENTAL & TRANSFERRED


# --- flat files


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


# --- XML


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
        both = [
            sorted(
                (f.kind, re.sub(r"\W", "", f.value).lower(), f.term or "", f.begin or 0, f.end or 0) for f in one.facts
            )
            for one in (entry, flat_entries[name])
        ]
        assert both[0] == both[1], name


def bare(fact: Fact) -> tuple[str, str, str, int, int]:
    return fact.kind, re.sub(r"\W", "", fact.value).lower(), fact.term or "", fact.begin or 0, fact.end or 0


# --- questions


def test_facts_of_published_questions_are_their_answers(
    real_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = real_data / "qa" / "microbiome_benchmark.json"
    entries = opened(tmp_path_factory, path)
    raw = json.loads(path.read_text())
    assert len(entries) == len(raw) == 669
    for one in raw:
        entry, answer = entries[one["id"]], one["conversations"][1]["value"]
        (function,) = (fact.value for fact in entry.facts if fact.kind == "function")
        assert "".join(words_without_references(function)) == "".join(words_without_references(answer))
        stated = EC.findall(answer.split("EC number: ")[1]) if "EC number: " in answer else []
        assert [fact.value for fact in entry.facts if fact.kind == "ec"] == list(dict.fromkeys(stated))
        assert {fact.kind for fact in entry.facts} <= {"name", "function", "ec"}


def test_an_index_of_everything_is_whole(real_data: Path, tmp_path: Path) -> None:
    index: NeighbourIndex = build_in_process(
        [real_data / "uniprot" / "human_function.tsv", real_data / "uniprot" / "rest_entries.json"], tmp_path / "made"
    )
    counts = index.manifest["counts"]
    stored = list(index.stream())
    assert len(stored) == index.num_entries == counts["entries"]
    assert counts["facts"] == sum(len(entry.facts) for entry in stored)
    kinds = Counter(fact.kind for entry in stored for fact in entry.facts)
    assert {kind: count for kind, count in counts["facts_by_kind"].items() if count} == dict(kinds)
