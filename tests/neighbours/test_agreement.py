"""Leave-one-out cases: what is left out, what is compared, and what makes no case."""

import random
from pathlib import Path

import pytest

from protein2text.neighbours.agreement import Case, agreement_by_digits, cases, draw
from protein2text.neighbours.citing import cite
from protein2text.neighbours.entries import Characterised
from protein2text.neighbours.facts import Fact
from protein2text.neighbours.homologues import find_homologues
from protein2text.neighbours.index_folder import NeighbourIndex
from tests.neighbours.made_index import entry, make_index, relative, residues

EXPERIMENT, SIMILARITY = ("ECO:0000269",), ("ECO:0000250",)


@pytest.mark.parametrize(
    ("cited", "own", "told"),
    [
        ("3.2.1.4", ["3.2.1.4"], [True, True, True, True]),
        ("3.2.1.4", ["3.2.1.41"], [True, True, True, False]),
        ("3.2.1.4", ["3.2.10.4"], [True, True, False, False]),
        ("3.2.1.4", ["1.1.1.1", "3.4.1.4"], [True, False, False, False]),
        ("3.2.1.4", ["3.2.1.-"], [True, True, True]),  # the fourth digit is not known, so not denied
        ("3.2.1.4", ["3.2.1.-", "2.7.1.1"], [True, True, True, False]),
        ("3.2.1.-", ["3.2.1.4"], [True, True, True]),
        ("1.14.-.-", ["1.13.12.3"], [True, False]),
        ("3.6.4.n1", ["3.6.4.n1"], [True, True, True, True]),
        ("3.6.4.n1", ["3.6.4.1"], [True, True, True, False]),
        ("3.2.1.4", [], []),
    ],
)
def test_ec_numbers_are_compared_digit_by_digit(cited: str, own: list[str], told: list[bool]) -> None:
    assert list(agreement_by_digits(cited, own)) == list(enumerate(told, 1))


def go(term: str, eco: tuple[str, ...] = EXPERIMENT, value: str = "") -> Fact:
    return Fact("molecular_function", value or f"function {term}", term, eco)


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> NeighbourIndex:
    """One family at 60 % identity to its ancestor, and a loner."""
    rng = random.Random(0)
    ancestor = residues(rng, 220)
    first = relative(rng, ancestor, 0.8)
    near = [relative(rng, ancestor, 0.8) for _ in range(4)]
    return make_index(
        tmp_path_factory.mktemp("family"),
        [
            entry("A1", first, go("GO:1"), go("GO:2"), Fact("ec", "3.2.1.4", eco=EXPERIMENT)),
            entry("A2", first, go("GO:1"), Fact("location", "Cell  membrane")),
            entry("B1", near[0], go("GO:3"), Fact("ec", "3.2.1.-"), Fact("location", "cell membrane", "SL-0039")),
            entry("B2", near[1], go("GO:1", SIMILARITY), Fact("function", "Cuts sugar.")),
            entry("B3", near[2], Fact("function", "Cuts sugar.")),
            entry("B4", near[3], go("GO:1", SIMILARITY), go("GO:9", ())),
            entry("L1", residues(rng, 200), go("GO:1"), Fact("ec", "3.2.1.4")),
        ],
    )


@pytest.fixture(scope="module")
def told(family: NeighbourIndex) -> list[Case]:
    _, proteins = draw(family, max_entries=100, seed=0)
    return list(cases(family, proteins))


def test_a_protein_is_asked_without_its_own_entry_but_with_its_twin(told: list[Case]) -> None:
    first = {(case.identity, case.agrees) for case in told if case.accession == "A1" and case.kind != "ec"}
    assert (1.0, True) in first  # GO:1 of A2, whose sequence is the same
    alone = [case for case in told if case.accession == "A1" and case.kind == "molecular_function"]
    assert not any(case.agrees for case in alone if case.identity < 1.0)  # GO:2 is its own and nobody else's
    assert [case for case in told if case.accession == "L1"] == []


def test_facts_agree_by_term_or_by_wording(told: list[Case]) -> None:
    [location] = [case for case in told if case.kind == "location" and case.accession == "A2"]
    assert location.agrees
    assert location.identity < 0.8


def test_silence_and_what_was_transferred_make_no_case(told: list[Case]) -> None:
    assert {case.accession for case in told} == {"A1", "A2", "B1", "B4"}
    assert {case.accession for case in told if case.kind == "molecular_function"} == {"A1", "A2", "B1", "B4"}
    assert {case.accession for case in told if case.kind == "ec"} == {"A1", "B1"}


def test_an_ec_number_makes_a_case_at_each_level_that_both_state(told: list[Case]) -> None:
    assert [case.level for case in told if case.kind == "ec" and case.accession == "A1"] == [1, 2, 3]
    assert [case.level for case in told if case.kind == "ec" and case.accession == "B1"] == [1, 2, 3]
    assert all(case.agrees for case in told if case.kind == "ec")


def test_cases_are_the_facts_that_an_answer_cites(family: NeighbourIndex, told: list[Case]) -> None:
    """Protein by protein, found and cited anew, without the batches."""
    entries = family.entries(family.sequences())
    for accession in ("A1", "A2", "B1", "B4"):
        [homologues] = find_homologues(family, [entries[accession].sequence], without={0: frozenset({accession})})
        cited = cite("molecular_function", homologues, entries)
        own = {fact.term for fact in entries[accession].facts if fact.kind == "molecular_function"}
        expected = sorted((fact.nearest.identity, fact.fact.term in own) for fact in cited)
        found = [case for case in told if case.accession == accession and case.kind == "molecular_function"]
        assert sorted((case.identity, case.agrees) for case in found) == expected
        assert expected


def many(number: int, rng: random.Random) -> list[Characterised]:
    return [entry(f"P{place:03}", residues(rng, 30), go("GO:1")) for place in range(number)]


def test_a_draw_is_seeded_bounded_and_stays_when_the_index_grows(tmp_path: Path) -> None:
    rng = random.Random(1)
    entries = many(120, rng)
    small = make_index(tmp_path / "small", [*entries, entry("Q1", residues(rng, 30), Fact("function", "Works."))])
    card, drawn = draw(small, max_entries=40, seed=3)
    assert (card.eligible["molecular_function"], card.eligible["ec"], card.num_drawn, len(drawn)) == (120, 0, 40, 40)
    names = {one.accession for one, _ in drawn}
    assert names != {one.accession for one, _ in draw(small, max_entries=40, seed=4)[1]}
    grown = make_index(tmp_path / "grown", [*reversed(entries), entry("Z1", residues(rng, 30), go("GO:1"))])
    assert len(names - {one.accession for one, _ in draw(grown, max_entries=40, seed=3)[1]}) <= 1
    assert draw(small, max_entries=121, seed=3)[0].num_drawn == 120


def test_a_common_kind_leaves_room_for_a_rare_one(tmp_path: Path) -> None:
    rng = random.Random(1)
    common = many(100, rng)
    rare = [entry(f"R{place}", residues(rng, 30), go("GO:1"), Fact("ec", "3.2.1.4")) for place in range(8)]
    card, drawn = draw(make_index(tmp_path, [*common, *rare]), max_entries=20, seed=0)
    assert card.num_drawn == len(drawn) == 20
    assert {one.accession for one, kinds in drawn if "ec" in kinds} == {one.accession for one in rare}
    assert card.drawn["ec"] == 8
    assert 12 <= card.drawn["molecular_function"] <= 20
