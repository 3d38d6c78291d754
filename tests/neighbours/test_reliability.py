"""Quoted against observed shares."""

import math
import random
from pathlib import Path
from statistics import mean
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from protein2text.errors import ConfigError
from protein2text.neighbours.facts import Fact
from protein2text.neighbours.reliability import NUM_HALVINGS, Judged, Reliability, held_out, reliability, write_plot
from tests.neighbours.made_index import entry, make_index, relative, residues


def judged(rng: random.Random, num_facts: int, truth: float = 0.0) -> list[Judged]:
    """Facts that are right as often as was quoted, and so much oftener."""
    quoted = [rng.choice((0.0, 0.1, 0.29, 0.3, 0.55, 0.999, 1.0)) for _ in range(num_facts)]
    return [Judged(f"P{rng.randrange(num_facts)}", share, rng.random() < share + truth) for share in quoted]


@pytest.mark.parametrize("num_facts", [1, 7, 2000])
def test_the_error_is_the_mean_distance_over_facts(num_facts: int) -> None:
    facts = judged(random.Random(num_facts), num_facts, 0.1)
    quoted, right = np.array([one.quoted for one in facts]), np.array([one.agrees for one in facts], float)
    places = np.clip(np.digitize(quoted, np.linspace(0, 1, 11)[1:-1] - 1e-12), 0, 9)
    expected = sum(abs(quoted[places == n].sum() - right[places == n].sum()) for n in range(10)) / num_facts
    measured = reliability(facts)
    assert measured.expected_calibration_error == pytest.approx(expected)
    assert measured.num_facts == num_facts
    assert [place.quoted for place in measured.bins] == sorted(place.quoted for place in measured.bins)


def test_the_error_tells_true_frequencies_from_false_ones() -> None:
    assert reliability(judged(random.Random(0), 20_000)).expected_calibration_error < 0.01
    assert reliability(judged(random.Random(0), 20_000, -0.3)).expected_calibration_error > 0.15


def test_nothing_quoted_has_no_error() -> None:
    assert math.isnan(reliability([], num_uncalibrated=3).expected_calibration_error)


@pytest.fixture
def measured() -> dict[str, Reliability]:
    names = ("ec, 1 digit", "ec, 2 digits", "location", "molecular_function", "family")
    return {name: reliability(judged(random.Random(0), 300)) for name in names} | {"ligand": reliability([], 4)}


def test_a_plot_names_each_kind_its_error_and_its_facts(measured: dict[str, Reliability], tmp_path: Path) -> None:
    write_plot(measured, tmp_path / "plot.svg")
    text = "".join(ElementTree.parse(tmp_path / "plot.svg").getroot().itertext())
    for name, shown in measured.items():
        assert name in text
        assert f"n = {shown.num_facts:,}" in text
    assert f"ECE {measured['location'].expected_calibration_error:.3f}" in text
    assert "not calibrated" in text
    first = (tmp_path / "plot.svg").read_bytes()
    write_plot(measured, tmp_path / "plot.svg")
    assert (tmp_path / "plot.svg").read_bytes() == first


def test_a_plot_can_be_a_bitmap_and_nothing_unknown(measured: dict[str, Reliability], tmp_path: Path) -> None:
    write_plot(measured, tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as image:
        assert image.format == "PNG"
        assert len(image.getcolors(2**20) or []) > 2
    with pytest.raises(ConfigError, match=r"'\.txt'.*\.svg"):
        write_plot(measured, tmp_path / "plot.txt")


def test_each_half_is_judged_by_what_the_other_half_showed(tmp_path: Path) -> None:
    """Families hold one location or two, so that one fact in so many is wrong; no family stands on both sides."""
    rng, entries = random.Random(8), []
    for family in range(30):
        ancestor = residues(rng, 120)
        for member in range(3):
            place = "Cytoplasm" if member or family % 3 else "Nucleus"
            fact = Fact("location", place, eco=("ECO:0000269",))
            entries.append(entry(f"F{family:02}M{member}", relative(rng, ancestor, 0.85), fact))
    [(name, shown)] = held_out(make_index(tmp_path, entries)).items()
    assert name == "location"
    assert shown.num_uncalibrated == 0
    assert len(shown.bins) <= 2  # one share from each half
    assert 0.6 < shown.bins[0].quoted < 0.95
    assert shown.errors[0] == shown.expected_calibration_error
    assert len(shown.errors) == NUM_HALVINGS
    assert len(set(shown.errors)) > 1  # other halves, other errors
    assert mean(shown.errors) < 0.15
