"""``protein2text ask`` with an index: proteins as users give them, rows, and what is refused."""

import gzip
import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from protein2text.cli import app
from protein2text.neighbours.facts import Fact
from tests.neighbours.made_index import entry, make_index, relative, residues

runner = CliRunner()
SECRETED = Fact("location", "Secreted", eco=("ECO:0000269",), pubmed=("77",))


@pytest.fixture(scope="module")
def sequence() -> str:
    return residues(random.Random(21), 150)


@pytest.fixture(scope="module")
def model(sequence: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("index")
    make_index(folder, [entry("P01308", sequence, SECRETED, Fact("ec", "3.2.1.4"))])
    return f"neighbours:{folder}"


def rows(*arguments: str, typed: str | None = None) -> list[dict]:
    result = runner.invoke(app, ["ask", *arguments, "--json"], input=typed)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def refused(*arguments: str) -> str:
    result = runner.invoke(app, ["ask", *arguments])
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    return result.stderr.strip().splitlines()[-1]


def test_every_record_is_answered_in_order_whatever_it_was_given_as(model: str, sequence: str, tmp_path: Path) -> None:
    rng = random.Random(22)
    records = {f"Q{number}": residues(rng, 40 + number) for number in range(31)}
    records["HIT"] = relative(rng, sequence, 0.8)
    fasta = "".join(f">{name} a title\n{letters}\n" for name, letters in records.items())
    with gzip.open(tmp_path / "many.fasta.gz", "wt") as file:
        file.write(fasta)
    found = rows(str(tmp_path / "many.fasta.gz"), "--model", model)
    assert [row["proteins"] for row in found] == [[name] for name in records]
    assert [row["neighbours"]["status"] for row in found] == ["no_homologue"] * 31 + ["answered"]
    assert {fact["kind"] for fact in found[-1]["neighbours"]["facts"]} == {"location", "ec"}
    assert rows("-", "--model", model, typed=fasta) == found
    first, second = rows(sequence, sequence[:100].lower() + "*", "--model", model)
    assert [first["proteins"], second["proteins"]] == [["PROTEIN 1"], ["PROTEIN 2"]]


def test_a_question_asks_for_its_facts_alone(model: str, sequence: str) -> None:
    (row,) = rows(sequence, "--model", model, "--question", "Where is it found?")
    assert row["question"] == "Where is it found?"
    (fact,) = row["neighbours"]["facts"]
    assert (fact["value"], fact["sources"][0]["pubmed"]) == ("Secreted", ["77"])
    shown = runner.invoke(app, ["ask", sequence, "--model", model, "--question", "Where is it found?"])
    assert shown.stdout.startswith(
        "It is found in Secreted [P01308, 100 % identity, experimental (ECO:0000269), PubMed 77]"
    )
    (row,) = rows(sequence, "--model", model, "--question", "Who are you?")
    assert row["neighbours"]["status"] == "outside_grammar"
    (row,) = rows(sequence, sequence, "--together", "--model", model)
    assert (row["neighbours"]["status"], len(row["proteins"])) == ("outside_grammar", 2)


def test_an_accession_is_answered_from_the_index_and_marked(model: str, sequence: str) -> None:
    looked_up, given = rows("p01308", sequence, "--model", model)
    assert (looked_up["proteins"], looked_up["read_from_index"]) == (["P01308"], True)
    assert "read_from_index" not in given
    assert looked_up["text"] == given["text"]
    shown = runner.invoke(app, ["ask", "P01308", "--model", model])
    assert shown.stdout.startswith("The index holds this protein: its own entry is among the sources.\n")
    line = refused("P99999", "--model", model)
    assert all(words in line for words in ("P99999", "does not hold", "rest.uniprot.org/uniprotkb/P99999.fasta"))


def test_text_marks_each_of_several_and_notes_what_is_too_short(model: str, sequence: str) -> None:
    shown = runner.invoke(app, ["ask", "MKV", sequence, "--model", model])
    first, second = shown.stdout.strip().split("\n\n")
    assert first.splitlines()[:2] == [">PROTEIN 1", "no characterised homologue in 2026_01"]
    assert "3 residues are too few" in first
    assert second.startswith(">PROTEIN 2\n")


def test_a_part_in_common_is_shown_below_the_refusal(tmp_path: Path, sequence: str) -> None:
    rng = random.Random(23)
    make_index(tmp_path, [entry("P01308", sequence[:70] + residues(rng, 300), Fact("domain", "SH3", begin=3, end=60))])
    shown = runner.invoke(app, ["ask", residues(rng, 200) + sequence[:70], "--model", f"neighbours:{tmp_path}"])
    assert shown.exit_code == 0, shown.output
    refusal, part = shown.stdout.splitlines()
    assert refusal == "no characterised homologue in 2026_01"
    assert part.startswith("Part: residues 201-")
    assert "P01308" in part
    assert "SH3 3-60" in part


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["ATGGCCAAGTTCGACGTTAA"], ["DNA or RNA", "Translate it first"]),
        (["MAJK"], ["'J'"]),
        (["empty.fasta"], ["0 residues"]),
        (["bad.fasta"], ["GOOD2", "line 6", "'1'"]),
        (["MKV", "--context", "neighbours:other"], ["--context", "option of models"]),
        (["MKV", "--max-new-tokens", "9"], ["--max-new-tokens", "option of models"]),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_line(
    model: str, workdir: Path, arguments: list[str], parts: list[str]
) -> None:
    Path("empty.fasta").touch()
    Path("bad.fasta").write_text(">GOOD\nMKV\n>GOOD1\nMKV\n>GOOD2\nMK1V\n")
    line = refused(*arguments, "--model", model)
    assert all(part in line for part in parts), line


def test_a_folder_is_not_read_as_residues(workdir: Path, model: str) -> None:
    (workdir / "human").mkdir()
    assert "human: PROTEIN: is a folder here; give a FASTA file" in refused("human", "--model", model)


def test_an_index_that_is_none_is_named(workdir: Path) -> None:
    assert "nowhere/index.json does not exist" in refused("MKV", "--model", "neighbours:nowhere")


@pytest.mark.parametrize(("option", "value"), [("--context", "neighbours:any"), ("--context-tokens", "100")])
def test_context_for_a_service_says_where_to_give_it(option: str, value: str) -> None:
    result = runner.invoke(app, ["ask", "MKV", option, value])
    assert result.exit_code == 2
    said = " ".join(result.stderr.replace("│", " ").split())
    assert f"needs --model; to ask a service with it, start that with `protein2text serve MODEL {option} ...`" in said
