"""Homologues: what the search reports against full dynamic programming, and which of them go first."""

import json
import random
from pathlib import Path

import pytest
from Bio.Align import PairwiseAligner, substitution_matrices

from protein2text.neighbours.facts import Fact
from protein2text.neighbours.homologues import Homologue, find_homologues, rank
from protein2text.neighbours.index_folder import NeighbourIndex
from tests.neighbours.made_index import entry, make_index, relative, residues

EC = Fact("ec", "1.2.3.4", eco=("ECO:0000269",))
BY_RULE = Fact("ec", "1.2.3.4", eco=("ECO:0000255",))


def homologue(accession: str, bits: float, coverage: float = 0.9) -> Homologue:
    return Homologue(accession, 0.4, coverage, 0.9, 1e-30, bits, 1, 90, 1, 90)


@pytest.fixture(scope="module")
def family() -> dict[str, str]:
    """An ancestor, its relatives, a second accession of one of them, one domain of it alone, and a stranger."""
    rng = random.Random(5)
    ancestor = residues(rng, 220)
    close = relative(rng, ancestor, 0.9)
    return {
        "A": ancestor, "B": close, "B2": close, "C": relative(rng, ancestor, 0.55),
        "D": ancestor[120:190] + residues(rng, 300), "Z": residues(rng, 200),
    }  # fmt: skip


@pytest.fixture(scope="module")
def index(family: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> NeighbourIndex:
    return make_index(tmp_path_factory.mktemp("index"), [entry(name, sequence) for name, sequence in family.items()])


def test_every_accession_of_a_sequence_is_a_homologue_best_first(index: NeighbourIndex, family: dict[str, str]) -> None:
    (found,) = find_homologues(index, [family["A"]])
    assert [each.accession for each in found] == ["A", "B", "B2", "C", "D"]
    assert [each.identity for each in found[:4]] == pytest.approx([1, 0.9, 0.9, 0.55], abs=0.02)
    assert [each.is_whole for each in found] == [True, True, True, True, False]
    part = found[-1]
    assert (part.query_begin, part.target_begin) == (121, 1)
    assert part.query_end in range(185, 210)  # beyond 190 by chance
    assert part.target_end in range(65, 90)
    assert part.coverage == part.target_coverage == pytest.approx(part.target_end / 370, abs=6e-4)


def test_what_a_query_finds_does_not_depend_on_the_others(index: NeighbourIndex, family: dict[str, str]) -> None:
    rng = random.Random(6)
    queries = [family["Z"], residues(rng, 100), family["A"], "MKV", family["A"], family["C"]]
    together = find_homologues(index, queries, without={2: frozenset({"A", "B2"}), 5: frozenset({"C"})})
    assert together[1] == together[3] == []
    assert [each.accession for each in together[2]] == ["B", "C", "D"]
    assert [each.accession for each in together[4]] == ["A", "B", "B2", "C", "D"]
    for query, found in zip(queries, together, strict=True):
        (alone,) = find_homologues(index, [query])
        assert [each for each in alone if each in found] == found


def test_real_pairs_align_as_dynamic_programming_aligns_them(real_data: Path, tmp_path: Path) -> None:
    """Where MMseqs2 ends an alignment depends on its correction for composition; inside, the two must be one."""
    entries = json.loads((real_data / "qa" / "microbiome_benchmark.json").read_text())
    sequences = {each["id"]: each["amino_seq"] for each in entries[:90] if len(each["amino_seq"]) < 500}
    index = make_index(tmp_path, [entry(name, sequence) for name, sequence in sequences.items()])
    blosum = substitution_matrices.load("BLOSUM62")
    local = PairwiseAligner(mode="local", substitution_matrix=blosum, open_gap_score=-11, extend_gap_score=-1)
    whole = PairwiseAligner(mode="global", substitution_matrix=blosum, open_gap_score=-11, extend_gap_score=-1)
    found = find_homologues(index, list(sequences.values()))
    pairs = [
        (sequence, each)
        for (name, sequence), homologues in zip(sequences.items(), found, strict=True)
        for each in homologues
        if each.accession > name
    ]
    assert len(pairs) >= 10
    for query, each in pairs[:20]:
        target = sequences[each.accession]
        aligned = query[each.query_begin - 1 : each.query_end], target[each.target_begin - 1 : each.target_end]
        counts = whole.align(*aligned)[0].counts()
        columns = counts.identities + counts.mismatches + counts.gaps
        assert each.identity == pytest.approx(counts.identities / columns, abs=0.02)
        assert each.query_coverage == pytest.approx(len(aligned[0]) / len(query), abs=6e-4)
        assert each.target_coverage == pytest.approx(len(aligned[1]) / len(target), abs=6e-4)
        assert whole.score(*aligned) >= 0.9 * local.score(query, target)


def test_experimental_evidence_goes_first_and_remote_homologues_ground_nothing() -> None:
    facts = {"rule": BY_RULE, "near": EC, "nearer": EC, "remote": EC, "part": EC, "other": Fact("name", "Other")}
    entries = {name: entry(name, "M", fact) for name, fact in facts.items()}
    found = [
        homologue("part", 600, coverage=0.49),
        homologue("other", 500),
        homologue("rule", 400),
        homologue("nearer", 300),
        homologue("near", 200),
        homologue("remote", 199),
    ]
    assert [each.accession for each in rank("ec", found, entries)] == ["nearer", "near", "rule"]
    assert [each.accession for each in rank("name", found, entries)] == ["other"]
    assert rank("domain", found, entries) == []


def test_an_experiment_counts_for_the_kind_that_it_is_about() -> None:
    entries = {
        "a": entry("a", "M", BY_RULE, Fact("cofactor", "Zn(2+)", eco=("ECO:0000269",))),
        "b": entry("b", "M", EC),
    }
    found = [homologue("a", 300), homologue("b", 290)]
    assert [each.accession for each in rank("ec", found, entries)] == ["b", "a"]
    assert [each.accession for each in rank("cofactor", found, entries)] == ["a"]
