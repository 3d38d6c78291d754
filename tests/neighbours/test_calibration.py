"""From cases to quoted frequencies: bins, intervals, what is not calibrated, and the file."""

import json
import random
from collections import defaultdict
from pathlib import Path

import pytest
from scipy.stats import binomtest

from protein2text.errors import CorruptCheckpoint
from protein2text.neighbours.agreement import Case, Draw
from protein2text.neighbours.calibration import MIN_PROTEINS, Calibration, calibrate, wilson
from protein2text.neighbours.facts import Fact
from protein2text.neighbours.homologues import Homologue
from tests.neighbours.made_index import entry, make_index, relative, residues

DRAWN = Draw(0, 5000, 1000, {"ec": 9}, {"ec": 9})
GO = "molecular_function"


def case(
    protein: object, identity: float, coverage: float, agrees: bool, kind: str = GO, level: int | None = None
) -> Case:
    return Case(f"P{protein}", kind, level, identity, coverage, agrees)


@pytest.mark.parametrize("n", [1, 2, 10, 140, 5000])
def test_the_interval_is_wilsons(n: int) -> None:
    for agreeing in {0, 1, n // 3, n - 1, n}:
        expected = binomtest(agreeing, n).proportion_ci(0.95, method="wilson")
        assert wilson(agreeing / n, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(
    ("identity", "name"),
    [
        (0.0, "below 30 %"), (0.2999, "below 30 %"), (0.3, "30-40 %"), (0.4, "40-50 %"), (0.699, "50-70 %"),
        (0.7, "70-90 %"), (0.9, "90-100 %"), (0.999, "90-100 %"), (1.0, "100 %"),
    ],
)  # fmt: skip
def test_a_frequency_is_that_of_its_identity_bin(identity: float, name: str) -> None:
    cases = [case(number, identity, 0.95, number % 4 > 0) for number in range(40)]
    cases += [
        case(number, other, 0.95, False) for number in range(40) for other in (0.1, 0.35, 0.45, 0.6, 0.8, 0.95, 1)
    ]
    same = [one for one in cases if Calibration.of([one] * 1, DRAWN).rows()[0]["identity_bin"] == name]
    quoted = Calibration.of(cases, DRAWN).frequency(GO, identity, 0.95)
    assert quoted is not None
    assert (quoted.identity_bin, quoted.num_agreeing, quoted.n) == (name, 30, len(same))


@pytest.mark.parametrize(
    ("coverage", "name"), [(0.5, "50-70 %"), (0.7, "70-90 %"), (0.899, "70-90 %"), (1.0, "90-100 %")]
)
def test_a_frequency_is_that_of_its_coverage_bin(coverage: float, name: str) -> None:
    cases = [case(number, 0.5, covered, covered == 0.6) for number in range(10) for covered in (0.6, 0.8, 0.95)]
    quoted = Calibration.of(cases, DRAWN).frequency(GO, 0.5, coverage)
    assert quoted is not None
    assert (quoted.coverage_bin, quoted.n, quoted.share) == (name, 10, float(name == "50-70 %"))


def test_a_homologue_that_shares_a_part_is_not_calibrated() -> None:
    cases = [case(number, 0.5, 0.5, True) for number in range(20)]
    assert Calibration.of(cases, DRAWN).frequency(GO, 0.5, 0.5) is not None
    assert Calibration.of(cases, DRAWN).frequency(GO, 0.5, 0.499) is None


def test_a_thin_bin_gives_way_to_its_identity_bin_and_that_to_nothing() -> None:
    cases = [case(number, 0.5, 0.6, True) for number in range(MIN_PROTEINS - 1)]
    assert Calibration.of(cases, DRAWN).frequency(GO, 0.5, 0.6) is None
    cases.append(case("other", 0.5, 0.95, False))
    quoted = Calibration.of(cases, DRAWN).frequency(GO, 0.5, 0.6)
    assert quoted is not None
    assert (quoted.coverage_bin, quoted.num_agreeing, quoted.n) == ("50 % and above", MIN_PROTEINS - 1, MIN_PROTEINS)
    assert Calibration.of(cases, DRAWN).frequency(GO, 0.4, 0.6) is None
    assert Calibration.of(cases, DRAWN).frequency("location", 0.5, 0.6) is None


def test_many_facts_of_one_protein_do_not_make_it_many() -> None:
    few = [case(number % 3, 0.5, 0.95, True) for number in range(300)]
    assert Calibration.of(few, DRAWN).frequency(GO, 0.5, 0.95) is None
    cases = [case(number % 20, 0.5, 0.95, number % 2 == 0) for number in range(400)]
    quoted = Calibration.of(cases, DRAWN).frequency(GO, 0.5, 0.95)
    assert quoted is not None
    assert (quoted.n, quoted.num_proteins) == (400, 20)
    expected = binomtest(10, 20).proportion_ci(0.95, method="wilson")
    assert (quoted.low, quoted.high) == pytest.approx((expected.low, expected.high))


def homologue(identity: float, query_coverage: float, target_coverage: float) -> Homologue:
    return Homologue("P1", identity, query_coverage, target_coverage, 1e-9, 99.0, 1, 9, 1, 9)


def test_an_ec_number_is_quoted_at_the_digits_it_states() -> None:
    cases = [
        case(number, 0.5, 0.95, number < 5 * (5 - level), "ec", level) for number in range(20) for level in (1, 2, 3, 4)
    ]
    calibration = Calibration.of(cases, DRAWN)
    for number, agreeing in (("3.2.1.4", 5), ("3.2.1.n4", 5), ("3.2.1.-", 10), ("3.2.-.-", 15), ("3.-.-.-", 20)):
        quoted = calibration.frequency_of(Fact("ec", number), homologue(0.5, 1.0, 0.95))
        assert quoted is not None
        assert quoted.num_agreeing == agreeing
    assert calibration.frequency("ec", 0.5, 0.95) == calibration.frequency("ec", 0.5, 0.95, 4)


def test_the_smaller_coverage_counts() -> None:
    cases = [case(number, 0.5, 0.6, True) for number in range(10)] + [
        case(number, 0.5, 1.0, False) for number in range(10)
    ]
    for sides in ((1.0, 0.55), (0.55, 1.0)):
        quoted = Calibration.of(cases, DRAWN).frequency_of(Fact(GO, "binds", "GO:1"), homologue(0.5, *sides))
        assert quoted is not None
        assert quoted.share == 1.0


def random_cases(rng: random.Random) -> list[Case]:
    kinds = [(GO, None), ("location", None), *(("ec", level) for level in (1, 2, 3, 4))]
    return [
        case(rng.randrange(300), rng.random(), rng.uniform(0.5, 1), rng.random() < 0.7, *rng.choice(kinds))
        for _ in range(3000)
    ]


def test_what_was_saved_quotes_the_same(tmp_path: Path) -> None:
    rng = random.Random(2)
    calibration = Calibration.of(random_cases(rng), DRAWN)
    calibration.save(tmp_path / "calibration.json")
    loaded = Calibration.load(tmp_path / "calibration.json")
    assert loaded.rows() == calibration.rows()
    assert loaded.drawn == DRAWN
    for _ in range(300):
        asked = rng.choice((GO, "location", "ec", "family")), rng.random(), rng.uniform(0.5, 1)
        assert loaded.frequency(*asked) == calibration.frequency(*asked)


@pytest.mark.parametrize("change", [{"version": 2}, {"bins": [{"kind": "ec"}]}, {"bins": None}, {"draw": {"seed": 1}}])
def test_another_version_or_shape_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "calibration.json"
    Calibration.of(random_cases(random.Random(0)), DRAWN).save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(CorruptCheckpoint, match="index build"):
        Calibration.load(path)


def test_frequencies_follow_what_families_share(tmp_path: Path) -> None:
    """Families that agree in their third digit always and in the fourth in one member of four."""
    rng, entries = random.Random(5), []
    for family in range(12):
        ancestor = residues(rng, 120)
        for member in range(4):
            fact = Fact("ec", f"2.7.{family + 1}.{1 + (member == 0)}", eco=("ECO:0000269",))
            entries.append(entry(f"F{family:02}M{member}", relative(rng, ancestor, 0.88), fact))
    calibration = calibrate(make_index(tmp_path, entries))
    third, fourth = (calibration.frequency("ec", 0.75, 0.99, level) for level in (3, 4))
    assert third is not None
    assert fourth is not None
    assert third.share == 1.0
    assert third.num_proteins == len(entries)
    by_member: dict[str, int] = defaultdict(int)
    assert 0.3 < fourth.share < 0.7, by_member
    assert fourth.identity_bin == "70-90 %"


@pytest.mark.parametrize("n", [1, 10, 77, 1000])
def test_the_interval_holds_what_was_measured(n: int) -> None:
    assert wilson(1.0, n)[1] == 1.0
    assert wilson(0.0, n)[0] == 0.0
