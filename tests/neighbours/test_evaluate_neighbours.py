"""An index on trial: the whole report, with no help from the tested protein's own entry."""

import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from protein2text.config import RunConfig, load_run
from protein2text.data.sample import sample_proteins
from protein2text.evaluate.exposure import held, own_entries
from protein2text.evaluate.run import evaluate
from protein2text.neighbours.answerer import NeighbourAnswerer
from protein2text.neighbours.facts import Fact
from protein2text.neighbours.index_answerer import NO_PROTEIN
from protein2text.proteins import Protein
from tests.evaluate.stored import SMALL, write_sample_world
from tests.neighbours.made_index import entry, make_index, relative, residues

RELEASE = "2026_01"
NUM_ITEMS = 24
KINDS = {"binds": "ligand", "location": "location", "process": "biological_process", "kind": "family"}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    folder = tmp_path_factory.mktemp("evaluation")
    settings = {"max_items": NUM_ITEMS, "resamples": 1000}
    data = write_sample_world(folder)
    return load_run("tiny", {"name": "tried", "output": str(folder), "data": data, "evaluation": settings})


@pytest.fixture(scope="module")
def report(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Of an index that holds every protein of the world, those of the test side too."""
    folder = tmp_path_factory.mktemp("index") / "all"
    eco = ("ECO:0000269",)
    entries = [
        entry(one.accession, one.sequence, *(Fact(KINDS[kind], value, None, eco) for kind, value in one.facts.items()))
        for proteins in sample_proteins(0, SMALL).values()
        for one in proteins
    ]
    make_index(folder, entries)
    events: list[dict[str, Any]] = []
    result = evaluate(f"neighbours:{folder}", config, on_event=events.append)
    assert events[-1]["step"] == events[-1]["num_steps"] > 3 * NUM_ITEMS
    page = Path(result.report_html).read_text(encoding="utf-8")
    assert "was left out" in page
    assert not re.search(r"\bmodel\b", re.sub(r"<style>.*?</style>", "", page, flags=re.S), re.IGNORECASE)
    rows = [line["row"] for line in result.table]
    assert rows[0] == "index, true protein"
    assert not [row for row in rows if "model" in row]
    assert "the index reads" in result.sentence.lower()
    lines = Path(result.answers).read_text(encoding="utf-8").splitlines()
    return json.loads(Path(result.report_json).read_text(encoding="utf-8")), [json.loads(line) for line in lines]


def test_the_run_file_of_the_documentation_is_shown_and_whole(repository: Path, tmp_path: Path) -> None:
    text = (repository / "docs" / "neighbours.md").read_text(encoding="utf-8")
    (named,) = set(re.findall(r"evaluate (\S+\.yaml)", text))
    shown = re.search(rf"This is `{re.escape(named)}`:\n\n```yaml\n(.*?)```", text, re.DOTALL)
    assert shown is not None
    (tmp_path / named).write_text(shown[1], encoding="utf-8")
    data = load_run(tmp_path / named).data
    assert data.split is not None
    for command, folder in (*(("ingest", folder) for folder in data.corpus), ("split", data.split)):
        assert re.search(rf"^\$ protein2text data {command} .*--output {Path(folder).name}$", text, re.MULTILINE)


def test_the_report_names_index_and_release_and_what_it_held(report: tuple[dict[str, Any], Any]) -> None:
    told, answers = report
    assert told["model"]["name"] == "neighbours:all"
    assert told["model"]["release"] == RELEASE
    assert len(told["model"]["manifest_sha256"]) == 64
    assert told["decoding"] == {}
    tested = {protein["accession"] for line in answers if line["row"] == "true" for protein in line["proteins"]}
    assert told["exposure"]["num_held"] == told["exposure"]["num_proteins"] == len(tested) > 5
    assert told["exposure"]["num_twins"] == 0
    assert any(notice.startswith(f"The index holds {len(tested)} of the {len(tested)}") for notice in told["notices"])
    assert {row["name"] for row in told["rows"]} >= {"true", "swapped", "shuffled", "none", "neighbour", "prior"}


def test_no_entry_answers_for_itself_and_what_has_no_protein_is_refused(
    report: tuple[Any, list[dict[str, Any]]],
) -> None:
    _, answers = report
    by_row: dict[str, list[dict[str, Any]]] = {}
    for line in answers:
        by_row.setdefault(line["row"], []).append(line)
    for row in ("true", "swapped", "shuffled"):
        for line in by_row[row]:
            assert not [one["accession"] for one in line["proteins"] if one["accession"] in line["text"]]
            assert line["model"]
            assert line["decoding"] is None
    assert Counter((line["text"], line["answer"]) for line in by_row["none"]) == {(NO_PROTEIN, ""): NUM_ITEMS}
    refusal = f"no characterised homologue in {RELEASE}"
    grounded = [line for line in by_row["true"] if "[SYN" in line["text"]]
    assert len(grounded) > NUM_ITEMS / 2, "members of its family answer for a protein"
    assert sum((line["text"], line["answer"]) == (refusal, "") for line in by_row["shuffled"]) > NUM_ITEMS / 2


@pytest.mark.parametrize("tested", ["P0C2S4", "P0C2S4-1", "P0C2S4-9"])
def test_no_isoform_answers_for_its_protein(tested: str, tmp_path: Path) -> None:
    rng = random.Random(3)
    sequence = residues(rng, 120)
    names = ("P0C2S4", "P0C2S4-1", "P0C2S4-12", "P0C2S5", "P0C2S4-x", "A0A0P0C2S4-1")
    index = make_index(
        tmp_path / "index",
        [entry(name, relative(rng, sequence, 0.95), Fact("ec", f"1.1.1.{at}")) for at, name in enumerate(names, 1)],
    )
    protein = Protein(tested, sequence)
    question, without = "What is its EC number?", {0: own_entries(tested)}
    answer, whole = NeighbourAnswerer(index).answer([(question, (protein,))] * 2, without=without)
    assert {source.entry.accession for fact in answer.facts for source in fact.sources} == set(names[3:])
    assert {source.entry.accession for fact in whole.facts for source in fact.sources} & set(names[:3])
    found = held([(one.accession, one.checksum) for one in index.stream()], [protein])
    assert (found.num_held, found.first_held, found.num_twins) == (1, (tested,), 0)
    assert held([("P0C2S4-3", protein.checksum)], [protein]).num_twins == 0


def test_what_an_index_holds_of_a_test_is_counted() -> None:
    """An isoform's own entry is that of its protein."""
    named = (("A", "MK"), ("B", "ML"), ("C", "MM"), ("C", "MM"), ("P12345-2", "MN"), ("P12345", "MNN"), ("Q1-x", "MP"))
    proteins = [Protein(name, sequence) for name, sequence in named]
    index = (("A", "MK"), ("X", "ML"), ("Y", "ML"), ("C", "MQ"), ("P12345", "MN"), ("Q1", "MP"))
    found = held([(name, Protein(name, sequence).checksum) for name, sequence in index], proteins)
    assert (found.num_proteins, found.num_held, found.first_held) == (6, 4, ("A", "C", "P12345", "P12345-2"))
    assert found.num_twins == 2, "of B, and of what is named like an isoform and is none"
    assert len(found.notices()) == 2
    assert held([("Z", Protein("Z", "MZ").checksum)], proteins).notices() == []
