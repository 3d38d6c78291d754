"""``index calibration``: what it prints, what it draws, and what it refuses."""

import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from protein2text.cli import app
from protein2text.neighbours.calibration import MIN_PROTEINS, Calibration
from protein2text.neighbours.facts import Fact
from tests.neighbours.made_index import entry, make_index, relative, residues

runner = CliRunner()


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng, entries = random.Random(3), []
    for family in range(14):
        ancestor = residues(rng, 120)
        for member in range(3):
            fact = Fact("ec", f"2.7.{family + 1}.{1 + (member == 0)}", eco=("ECO:0000269",))
            entries.append(entry(f"F{family:02}M{member}", relative(rng, ancestor, 0.9), fact))
    return make_index(tmp_path_factory.mktemp("calibrated"), entries, calibration_entries=100).folder


def test_the_table_holds_every_frequency_that_is_quoted_and_no_other(index: Path) -> None:
    run = runner.invoke(app, ["index", "calibration", str(index)])
    assert run.exit_code == 0, run.output
    [path] = index.glob("*/calibration.json")
    bins = json.loads(path.read_text())["bins"]
    thick = [one for one in bins if one["num_proteins"] >= MIN_PROTEINS]
    lines = run.stdout.splitlines()[1:]
    assert len(lines) == len(thick) > 0
    for line, one in zip(lines, thick, strict=True):
        share = one["num_agreeing"] / one["n"]
        assert line.startswith("ec")
        assert f" {one['num_agreeing']} " in line
        assert f" {share:.2f} " in line


def test_json_holds_the_draw_the_bins_and_the_test_on_held_out_proteins(index: Path, tmp_path: Path) -> None:
    plot = tmp_path / "plot.svg"
    run = runner.invoke(app, ["index", "calibration", str(index), "--plot", str(plot), "--json"])
    assert run.exit_code == 0, run.output
    told = json.loads(run.stdout)
    calibration = Calibration.load(next(index.glob("*/calibration.json")))
    assert told["bins"] == calibration.rows()
    assert told["draw"]["eligible"]["ec"] == told["draw"]["num_drawn"] == 42
    four = told["held_out"]["ec, 4 digits"]
    assert four["num_facts"] + four["num_uncalibrated"] == sum(
        row["n"] for row in calibration.rows() if row["level"] == 4 and row["coverage"] == -1
    )
    assert 0 <= four["expected_calibration_error"] < 1
    assert "ec, 4 digits" in plot.read_text()


@pytest.mark.parametrize(("plot", "said"), [("plot.txt", "name a .png or .svg"), ("nowhere/plot.png", "make it first")])
def test_a_plot_that_cannot_be_drawn_is_refused_before_the_work(
    index: Path, workdir: Path, plot: str, said: str
) -> None:
    run = runner.invoke(app, ["index", "calibration", str(index), "--plot", plot])
    assert run.exit_code == 2
    assert said in run.stderr
    assert "done" not in run.stderr
    assert list(workdir.iterdir()) == []
