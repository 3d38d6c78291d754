"""Questions to answers: statuses, refusals, measured frequencies, and every fact in the source that it names."""

import csv
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from protein2text.neighbours.answerer import NeighbourAnswerer
from protein2text.neighbours.cited import NeighbourAnswer
from protein2text.neighbours.facts import Fact
from protein2text.neighbours.grammar import PROFILE_QUESTION
from protein2text.neighbours.index_folder import NeighbourIndex
from protein2text.neighbours.wording import measured
from protein2text.proteins import Protein
from tests.neighbours.in_process import build_in_process
from tests.neighbours.made_index import entry, make_index, relative, residues

EXPERIMENT = ("ECO:0000269",)
LOCATION = "Where is it located?"


@pytest.fixture(scope="module")
def ancestor() -> str:
    return residues(random.Random(11), 240)


@pytest.fixture(scope="module")
def index(ancestor: str, tmp_path_factory: pytest.TempPathFactory) -> NeighbourIndex:
    rng = random.Random(12)
    return make_index(
        tmp_path_factory.mktemp("index"),
        [
            entry("NEAR", relative(rng, ancestor, 0.9), Fact("ec", "3.2.1.4"), Fact("function", "Cuts cellulose.")),
            entry("FAR", relative(rng, ancestor, 0.6), Fact("ec", "3.2.1.6", eco=EXPERIMENT, pubmed=("7",))),
            entry("PART", ancestor[:80] + residues(rng, 400), Fact("domain", "SH3", begin=5, end=70)),
        ],
    )


def answered(index: NeighbourIndex, sequence: str, question: str, *without: str) -> NeighbourAnswer:
    questions = [(question, (Protein("query", sequence),))]
    (answer,) = NeighbourAnswerer(index).answer(questions, without={0: frozenset(without)})
    return answer


def test_a_fact_comes_with_its_sources_and_contradictions(index: NeighbourIndex, ancestor: str) -> None:
    answer = answered(index, ancestor, "What is its EC number?")
    assert answer.status == "answered"
    assert [fact.fact.value for fact in answer.facts] == ["3.2.1.6", "3.2.1.4"]
    assert [fact.sources[0].entry.accession for fact in answer.facts] == ["FAR", "NEAR"]
    assert "These contradict each other, and no one entry states both: 3.2.1.6 and 3.2.1.4." in answer.text
    assert [hit.entry.accession for hit in answer.domain_hits] == ["PART"]
    row = json.loads(json.dumps(answer.as_dict()))
    assert row["facts"][0]["sources"][0]["pubmed"] == ["7"]
    assert row["facts"][0]["frequency"] is None
    assert row["release"] == index.release


def test_what_no_homologue_states_is_said_with_what_comes_nearest(index: NeighbourIndex, ancestor: str) -> None:
    answer = answered(index, ancestor, "Which reaction does it catalyze?", "FAR")
    assert answer.status == "answered"
    answer = answered(index, ancestor, LOCATION)
    assert (answer.status, answer.facts) == ("no_such_fact", ())
    assert answer.text == "No characterised homologue states any locations or cellular components."
    answer = answered(index, ancestor, "What pathway is it part of?")
    assert answer.status == "no_such_fact"
    assert [fact.fact.value for fact in answer.facts] == ["Cuts cellulose."]
    assert "What comes nearest:\nCuts cellulose [NEAR" in answer.text


def test_a_closed_question_is_answered_yes_or_not_at_all(index: NeighbourIndex, ancestor: str) -> None:
    answer = answered(index, ancestor, "Is it a hydrolase?")
    assert (answer.status, answer.text.splitlines()[0]) == ("answered", "Yes.")
    assert [fact.fact.kind for fact in answer.facts] == ["ec", "ec"]
    answer = answered(index, ancestor, "Is it a kinase?")
    assert answer.status == "no_such_fact"
    assert answer.text == 'No characterised homologue is said to fit "kinase", which is no proof against it.'


def test_an_entry_that_calls_its_protein_inactive_is_named_beside_the_yes(ancestor: str, tmp_path: Path) -> None:
    rng, family = random.Random(16), Fact("family", "Protein kinase superfamily")
    inactive = entry("P00001", relative(rng, ancestor, 0.9), family, Fact("name", "Inactive protein kinase 7"))
    active = entry("P00002", relative(rng, ancestor, 0.8), family)
    answer = answered(make_index(tmp_path, [inactive, active]), ancestor, "Is it a kinase?")
    assert answer.text.splitlines()[0] == (
        'Yes, though an entry behind it says otherwise: P00001, "Inactive protein kinase 7".'
    )
    assert answer.claims == "Yes. It belongs to the Protein kinase superfamily."
    answer = answered(NeighbourIndex.open(tmp_path), ancestor, "Is it a kinase?", "P00001")
    assert answer.text.splitlines()[0] == "Yes."


def test_what_a_function_text_mentions_is_quoted_and_no_yes(index: NeighbourIndex, ancestor: str) -> None:
    answer = answered(index, ancestor, "Does it bind cellulose?")
    assert answer.status == "no_such_fact"
    assert answer.text.startswith(
        'No characterised homologue is said to fit "cellulose", which is no proof against it.'
    )
    assert "What comes nearest:\nCuts cellulose [NEAR" in answer.text
    assert [fact.fact.kind for fact in answer.facts] == ["function"]


def test_a_part_in_common_is_no_ground_and_is_shown(index: NeighbourIndex, ancestor: str) -> None:
    query = residues(random.Random(13), 300) + ancestor[:80]
    answer = answered(index, query, "Which domains does it have?")
    assert (answer.status, answer.facts) == ("no_homologue", ())
    assert answer.text == f"no characterised homologue in {index.release}"
    parts = {hit.entry.accession: hit for hit in answer.domain_hits}
    assert parts["PART"].homologue.query_begin in range(298, 305)
    assert [fact.value for fact in parts["PART"].domains] == ["SH3"]


@pytest.mark.parametrize(
    ("sequence", "note"),
    [("MKV", "3 residues are too few"), ("X" * 300, "300 of 300 residues are X"), ("ARND" * 60, None)],
)
def test_what_resembles_nothing_is_refused(index: NeighbourIndex, sequence: str, note: str | None) -> None:
    for question in (PROFILE_QUESTION, "Is it a kinase?"):
        answer = answered(index, sequence, question)
        assert (answer.status, answer.text) == ("no_homologue", "no characterised homologue in 2026_01")
        assert answer.facts == answer.domain_hits == ()
        assert [words.startswith(note or "-") for words in answer.notes] == [True] * bool(note)


def test_what_is_left_out_grounds_nothing(index: NeighbourIndex, ancestor: str) -> None:
    answer = answered(index, ancestor, "What is its EC number?", "FAR")
    assert [fact.fact.value for fact in answer.facts] == ["3.2.1.4"]
    assert answered(index, ancestor, PROFILE_QUESTION, "FAR", "NEAR").status == "no_homologue"


def test_two_proteins_or_none_or_another_question_are_outside(index: NeighbourIndex, ancestor: str) -> None:
    one = Protein("one", ancestor)
    questions = [(LOCATION, (one, one)), (LOCATION, ()), ("Will it rain?", (one,)), (PROFILE_QUESTION, (one,))]
    answers = NeighbourAnswerer(index).answer(questions)
    assert [answer.status for answer in answers] == [*["outside_grammar"] * 3, "answered"]
    assert "2 were given" in answers[0].text
    assert '"Will it rain?"' in answers[2].text
    assert NeighbourAnswerer(index).answer([]) == []


def test_answers_do_not_depend_on_the_batch(
    index: NeighbourIndex, ancestor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(14)
    proteins = [Protein(str(number), relative(rng, ancestor, 0.5 + number / 20)) for number in range(9)]
    questions = [(PROFILE_QUESTION, (protein,)) for protein in [*proteins, *proteins[::-1]]]
    together = NeighbourAnswerer(index).answer(questions)
    monkeypatch.setattr("protein2text.neighbours.homologues.PROTEINS_AT_ONCE", 2)
    assert NeighbourAnswerer(index).answer(questions) == together
    assert together[0] == together[-1] == NeighbourAnswerer(index).answer(questions[:1])[0]


def test_the_measured_frequency_of_its_bin_is_quoted(tmp_path: Path) -> None:
    rng = random.Random(15)
    entries = []
    for family in range(14):
        ancestor = residues(rng, 120)
        for member in range(2):
            number = f"1.1.1.{family if family else member + 90}"  # of the first family the two disagree
            entries.append(entry(f"F{family:02}M{member}", relative(rng, ancestor, 0.9), Fact("ec", number)))
    index = make_index(tmp_path, entries, calibration_entries=100)
    query = Protein("query", relative(rng, entries[4].sequence, 0.81))
    (answer,) = NeighbourAnswerer(index).answer(
        [("What is its EC number?", (query,))], without={0: frozenset({"F02M1"})}
    )
    (cited,) = answer.facts
    frequency = cited.frequency
    assert frequency is not None
    assert (frequency.level, frequency.identity_bin) == (4, "70-90 %")
    assert (frequency.num_agreeing, frequency.n) == (26, 28)
    assert measured(frequency) in answer.text
    assert f"in {frequency.num_agreeing} of {frequency.n} leave-one-out cases" in answer.text
    assert "Not calibrated" not in answer.text


def test_it_loads_neither_torch_nor_ray() -> None:
    code = "import sys, protein2text.neighbours.answerer, protein2text.neighbours.index_answerer\n"
    code += "print([name for name in ('torch', 'ray', 'transformers', 'mlflow') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_fact_of_real_answers_is_in_the_entry_that_it_names(real_data: Path, tmp_path: Path) -> None:
    rest = {
        each["primaryAccession"]: json.dumps(each, ensure_ascii=False)
        for each in json.loads((real_data / "uniprot" / "rest_entries.json").read_text())["results"]
    }
    with (real_data / "uniprot" / "human_function.tsv").open(newline="") as file:
        table = {row["Entry"]: row for row in csv.DictReader(file, delimiter="\t")}
    sources = [real_data / "uniprot" / name for name in ("rest_entries.json", "human_function.tsv")]
    index = build_in_process(sources, tmp_path / "index")
    sequences = index.sequences()
    asked = [*rest][:20] + [*table][::25]
    questions = [(PROFILE_QUESTION, (Protein(name, sequences[name]),)) for name in asked if name in sequences]
    answers = NeighbourAnswerer(index).answer(questions)
    num_facts = 0
    for (_, (protein,)), answer in zip(questions, answers, strict=True):
        assert answer.status == "answered"
        assert protein.accession in {source.entry.accession for fact in answer.facts for source in fact.sources}
        for cited in answer.facts:
            for source in cited.sources:
                accession, fact = source.entry.accession, source.facts[0]
                raw = rest.get(accession) or json.dumps(table[accession], ensure_ascii=False)
                words = fact.value.split()
                assert fact.term is None or fact.term.removeprefix("CHEBI:") in raw
                assert [
                    word for word in words if json.dumps(word, ensure_ascii=False)[1:-1].strip(".") not in raw
                ] == []
                assert [article for article in source.pubmed if article not in raw] == []
                assert [code for code in source.eco if code in ("ECO:0000269", "ECO:0000250") and code not in raw] == []
                num_facts += 1
    assert num_facts > 300
