"""Every stored fact is in the source entry that it names, and every fact of a source is stored: table, JSON, questions.

Each source is read here by another reader than the product's: csv or json.
"""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from protein2text.neighbours.facts import EXPERIMENTAL, GO_EVIDENCE, TRANSFERRED
from protein2text.neighbours.index_folder import NeighbourIndex
from tests.data.test_evidence import words_without_references
from tests.neighbours.in_process import build_in_process
from tests.neighbours.stated_facts import EC, GO_KINDS, Known, known, letters, opened, references, united


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
