"""The sample world keeps its promises: families, identities, held-out combinations, answers that follow from facts."""

import csv
import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest

from protein2text.data.sample import SampleSize, sample_proteins, write_sample
from protein2text.data.sample_families import CATALYTIC, CONTEXT, FACT_KINDS, FAMILIES
from protein2text.data.sample_proteins import build_domains, mutate
from protein2text.data.sample_texts import VALUES

SMALL = SampleSize(per_combination=1, per_single_family=1, per_held_out_combination=1)


def as_regex(motif: str) -> re.Pattern[str]:
    """A PROSITE pattern as a regular expression."""
    pattern = motif.replace("-", "").replace("x", "[A-Z]")
    return re.compile(re.sub(r"\((\d+)\)", r"{\1}", pattern))


def test_there_are_at_least_24_families_of_the_promised_lengths() -> None:
    domains = build_domains(0)
    assert len(domains) == len(FAMILIES) >= 24
    assert all(40 <= len(domain.consensus) <= 80 for domain in domains.values())


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_members_keep_the_motif_and_35_to_60_percent_identity(family) -> None:  # type: ignore[no-untyped-def]
    domain = build_domains(0)[family.name]
    rng = random.Random(family.name)
    for _ in range(50):
        member = mutate(domain, rng)
        identity = sum(a == b for a, b in zip(member, domain.consensus, strict=True)) / len(domain.consensus)
        assert 0.34 <= identity <= 0.61
        assert as_regex(family.motif).search(member)


def test_each_fact_value_belongs_to_one_family() -> None:
    for kind in FACT_KINDS:
        assert len(set(VALUES[kind])) == len(VALUES[kind]) == 12


def test_held_out_combinations_never_train_but_their_families_do() -> None:
    splits = sample_proteins(0, SMALL)
    seen = {protein.group for split in ("train", "validation") for protein in splits[split]}
    held_out = {protein.group for protein in splits["test"]}
    assert len(held_out) == 36
    assert not held_out & seen
    partners = Counter(name for group in seen if "+" in group for name in group.split("+"))
    assert min(partners[family.name] for family in (*CATALYTIC, *CONTEXT)) >= 8


def test_no_training_protein_has_all_facts_of_a_test_protein() -> None:
    """So copying a neighbor gives the facts of one domain at most."""
    splits = sample_proteins(0, SMALL)
    known = {tuple(sorted(protein.facts.items())) for protein in splits["train"]}
    assert not known & {tuple(sorted(protein.facts.items())) for protein in splits["test"]}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_sample(tmp_path / name, seed, SMALL)
    files = ("proteins.tsv", "questions.json", "assignment.tsv")
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)
    assert all((tmp_path / "a" / file).read_bytes() != (tmp_path / "c" / file).read_bytes() for file in files)


def test_files_agree_with_each_other_and_say_that_they_are_synthetic(tmp_path: Path) -> None:
    counts = write_sample(tmp_path, 0, SMALL)
    with (tmp_path / "proteins.tsv").open(newline="") as file:
        table = {row["Entry"]: row for row in csv.DictReader(file, delimiter="\t")}
    with (tmp_path / "assignment.tsv").open(newline="") as file:
        assigned = {row["accession"]: row["split"] for row in csv.DictReader(file, delimiter="\t")}
    questions = json.loads((tmp_path / "questions.json").read_text())
    assert set(table) == set(assigned)
    assert len(questions) == counts["questions"]
    assert {kind for row in questions if isinstance(row["id"], str) for kind in [row["question_kind"]]} == {
        *FACT_KINDS,
        "yes_no",
    }
    for row in questions:
        accessions = [row["id"]] if isinstance(row["id"], str) else row["id"]
        sequences = [row["amino_seq"]] if isinstance(row["amino_seq"], str) else row["amino_seq"]
        assert [table[name]["Sequence"] for name in accessions] == sequences
        assert len({assigned[name] for name in accessions}) == 1
        assert row["conversations"][0]["value"].count("<protein_sequence>\n") == len(accessions)
        answer, values = row["conversations"][1]["value"], [fact.split("=")[1] for fact in row["facts"]]
        assert all(value in answer for value in values if value not in ("yes", "no"))
    assert "not biology" in (tmp_path / "README.txt").read_text()


def test_descriptions_state_every_fact_of_the_protein(tmp_path: Path) -> None:
    write_sample(tmp_path, 0, SMALL)
    facts = {protein.accession: protein.facts for split in sample_proteins(0, SMALL).values() for protein in split}
    with (tmp_path / "proteins.tsv").open(newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            assert all(value in row["Function [CC]"] for value in facts[row["Entry"]].values())
