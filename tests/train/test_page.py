"""The page of a run: what it holds, from events alone, and that nothing in them becomes markup or is fetched."""

import json
import time
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR
from ray.dashboard.modules.job.common import JOB_ID_METADATA_KEY
from typer.testing import CliRunner

from protein2text.cli import app
from protein2text.config import RunConfig
from protein2text.errors import MissingFile
from protein2text.train.curve import MAX_POINTS, loss_figure
from protein2text.train.events import INTERRUPTED, Event, EventWriter, read_events, teller
from protein2text.train.lineage import public_config, submission_id
from protein2text.train.page import write_run_page
from protein2text.train.run import _interruptible, _told
from protein2text.train.task import StageTask
from tests.conftest import no_file_above

HOSTILE = "<script>alert(1)</script><img src='http://evil/x'>$\\frac$\x00\x1b[31m\"><b>"
VOID = {"meta", "br", "img", "link", "hr"}


class Page(HTMLParser):
    """Cells by heading and first cell, text, tags that do not close, and every address that a browser would fetch."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text, self.title = "", ""
        self.addresses: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.open: list[str] = []
        self._heading = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value for key, value in attrs if key in {"src", "href", "xlink:href"} and value]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "h2":
            self._heading = ""
        if tag == "tr":
            self.tables.setdefault(self._heading, []).append([])
        if tag in {"td", "th"}:
            self.tables[self._heading][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value for key, value in attrs if key in {"src", "href", "xlink:href"} and value]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{tag} closes what is not open"

    def handle_data(self, data: str) -> None:
        self.text += data
        if "title" in self.open[:3]:
            self.title += data
        if "h2" in self.open:
            self._heading += data
        if {"td", "th"} & set(self.open):
            self.tables[self._heading][-1][-1] += data

    def cells(self, heading: str) -> dict[str, list[str]]:
        return {row[0]: row[1:] for row in self.tables[heading]}


def step_event(step: int, **changes: Any) -> Event:
    numbers = {
        "loss": 4.0 / step, "learning_rate": 0.1, "grad_norm": 2.0, "tokens": 1000, "residues": 3000, "seconds": 2.0,
        "data_wait_s": 0.5, "mfu": 0.25, "padding_ratio": 0.125, "padding_avoided": 0.5, "peak_memory_bytes": 2**31,
    }  # fmt: skip
    return {"stage": "alignment", "step": step, "num_steps": 10, **numbers, **changes}


def beginning(name: str, commit: str = "abc123") -> Event:
    return {
        "stage": "alignment",
        "lineage": {"data.corpus.sha256": "a" * 64, "data.split.sha256": "b" * 64, "encoder": "esm at revision r1",
                    "code.commit": commit, "version.torch": "2.13.0"},
        "config": {"name": name, "alignment": {"warmup_ratio": 0.2, "epochs": 3}},
        "tracking": {"uri": "https://mlflow.lab/", "experiment": "e", "experiment_id": "7", "run_id": "f00d"},
    }  # fmt: skip


def write(folder: Path, events: list[Event]) -> Page:
    writer = EventWriter(folder / "events.jsonl")
    for event in events:
        writer.write(event)
    return Page(write_run_page(folder))


def test_a_page_holds_numbers_validation_decisions_and_lineage(tmp_path: Path) -> None:
    restart: Event = {"stage": "alignment", "message": "training from step-00000004", "num_workers": 2, "time": 3600.0}
    events = [
        beginning("small"), {"stage": "alignment", "message": "training from the beginning", "num_workers": 2},
        *(step_event(step) for step in range(1, 6)), restart, *(step_event(step, seconds=6.0) for step in (5, 6)),
        {"stage": "alignment", "step": 6, "validation": {"loss": 0.7, "loss_shuffled": 0.9, "num_records": 8}},
        {"stage": "alignment", "message": "the model is not reading the protein", "level": "warning"},
    ]  # fmt: skip
    page = write(tmp_path / "alignment", events)
    assert "not finished: 6 of 10 steps done" in page.text
    assert "1 restart, 1 step done again" in page.text
    numbers = page.cells("In numbers")
    assert numbers["seconds a step"] == ["6", "2", "20"]  # the repeated step as it was last done
    assert numbers["decoder positions per second"] == ["166.7", "500", "300"]  # 6,000 in 20 s
    assert numbers["model FLOP utilization, %"] == ["25", "25", "25"]
    assert numbers["peak memory of a worker, GiB"] == ["2", "2", "2"]
    assert page.tables["Validation"][1] == ["6", "0.7", "0.9", "8"]
    assert ["1970-01-01 01:00:00", "5", "training from step-00000004"] in page.tables["Decisions"]
    lineage = page.cells("Lineage")
    assert lineage["data.corpus.sha256"] == ["a" * 64]
    assert (lineage["encoder"], lineage["code.commit"]) == (["esm at revision r1"], ["abc123"])
    assert page.cells("Configuration")["alignment.epochs"] == ["3"]
    assert "https://mlflow.lab/#/experiments/7/runs/f00d" in page.addresses
    assert not page.open, "every tag is closed"


def test_what_was_not_measured_is_called_so(tmp_path: Path) -> None:
    page = write(tmp_path / "alignment", [step_event(step, mfu=None) for step in (1, 2)])
    assert page.cells("In numbers")["model FLOP utilization, %"] == ["not measured", "", ""]
    assert "model FLOP utilization, %" not in page.text.replace("model FLOP utilization, %", "", 1), "and is not drawn"


def test_numbers_that_are_not_finite_are_counted_and_not_drawn(tmp_path: Path) -> None:
    nan, inf = float("nan"), float("inf")
    bad = [step_event(2, loss=nan, grad_norm=inf), step_event(3, grad_norm=nan), step_event(4, seconds=0.0)]
    page = write(tmp_path / "some", [step_event(1), *bad])
    assert "The loss of 1 step is not a finite number" in page.text
    assert "The gradient norm of 2 steps is not a finite number" in page.text
    assert page.cells("In numbers")["gradient norm"] == ["2", "2", ""]
    validation: Event = {"stage": "alignment", "step": 1, "validation": {"loss": nan}}
    page = write(tmp_path / "all", [step_event(1, loss=inf, grad_norm=nan, seconds=0), validation])
    assert page.cells("In numbers")["gradient norm"] == ["not finite", "", ""]


def test_a_stop_heads_the_page_only_until_training_went_on(tmp_path: Path) -> None:
    crash = {"stage": "alignment", "message": "stopped: OSError: disk full", "level": "warning"}
    interrupted = {"stage": "alignment", "message": INTERRUPTED, "level": "warning"}
    stopped = write(tmp_path / "stopped", [step_event(1), crash])
    assert stopped.text.count("disk full") == 2, "as a notice and as a decision"
    went_on = write(tmp_path / "went-on", [step_event(1), crash, step_event(2), interrupted, step_event(3)])
    assert went_on.text.count("disk full") == 1
    assert went_on.text.count(INTERRUPTED) == 1


def test_an_interrupt_that_ray_made_an_exit_is_told_as_one(tmp_path: Path) -> None:
    task = cast(StageTask, SimpleNamespace(stage="alignment", folder=tmp_path))
    tell = teller(EventWriter(tmp_path / "events.jsonl"), "alignment")
    with pytest.raises(KeyboardInterrupt), _told(task, tell), _interruptible():
        raise SystemExit(1)
    assert [event["message"] for event in read_events(tmp_path / "events.jsonl")] == [INTERRUPTED]
    assert INTERRUPTED in Page(tmp_path / "report.html").text


def test_a_page_that_cannot_be_written_hides_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "report.html").mkdir()
    task = cast(StageTask, SimpleNamespace(stage="alignment", folder=tmp_path))
    with pytest.raises(ValueError, match="the cause"), _told(task, teller(EventWriter(tmp_path / "events.jsonl"), "a")):
        raise ValueError("the cause")
    assert "no page could be written" in caplog.text


def test_a_page_that_does_not_fit_is_told_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "run" / "alignment"
    EventWriter(folder / "events.jsonl").write(step_event(1) | {"stage": "alignment"})
    task = cast(StageTask, SimpleNamespace(stage="alignment", folder=folder))
    with no_file_above(1000), pytest.raises(ValueError, match="the cause"), _told(task, lambda *_, **__: None):
        raise ValueError("the cause")
    (record,) = caplog.records
    assert "report.html: a file reached the limit" in record.getMessage()
    assert record.exc_info is None
    assert [path.name for path in folder.iterdir()] == ["events.jsonl"]
    with no_file_above(1000):
        result = CliRunner().invoke(app, ["report", str(tmp_path / "run")])
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"protein2text: {folder / 'report.html'}: a file reached the limit of file sizes")


def test_a_hostile_name_stays_text_everywhere(tmp_path: Path) -> None:
    lineage = beginning(HOSTILE)
    lineage["lineage"] |= {HOSTILE: HOSTILE}
    lineage["tracking"]["uri"] = "javascript:alert(1)"
    events = [lineage, step_event(1), {"stage": HOSTILE, "message": HOSTILE, "level": "warning"}]
    page = write(tmp_path / "alignment", events)
    assert not page.tags & {"script", "img", "b", "iframe", "object"}
    assert not [address for address in page.addresses if not address.startswith(("#", "events.jsonl"))]
    assert "<script>alert(1)</script>" in page.title
    assert "\x00" not in page.text
    assert not page.open


def test_a_run_that_changed_its_code_on_the_way_says_so(tmp_path: Path) -> None:
    page = write(tmp_path / "alignment", [beginning("a", "one"), step_event(1), beginning("a", "two"), step_event(2)])
    assert "Trained by several commits of the code, one after the other: one, two." in page.text


def test_a_long_run_makes_a_page_of_bounded_size(tmp_path: Path) -> None:
    num_steps = 20 * MAX_POINTS
    page = tmp_path / "alignment" / "report.html"
    events = [step_event(step, num_steps=num_steps, loss=2 + step % 7) for step in range(1, num_steps + 1)]
    page.parent.mkdir()
    lines = (json.dumps({"time": time.time(), **event}) for event in events)
    (page.parent / "events.jsonl").write_text("\n".join(lines) + "\n")
    write_run_page(page.parent)
    assert page.stat().st_size < 1_000_000


def test_the_curve_shows_warm_up_and_the_controls_of_a_validation() -> None:
    validations = [{"step": 2, "validation": {"loss": 1.0, "loss_shuffled": 1.5, "loss_swapped": 2.0}}]
    steps = [step_event(step) for step in range(1, 5)]
    (axes,) = loss_figure(steps, HOSTILE, validations=validations, num_warmup=2).axes
    drawn = {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}
    assert drawn["held-out records"] == [1.0]
    assert drawn["the same, residues shuffled"] == [1.5]
    assert drawn["the same, another protein"] == [2.0]
    assert "warm-up" in [patch.get_label() for patch in axes.patches]
    assert axes.get_title() == HOSTILE


def test_the_command_writes_the_page_of_each_stage_that_began(tmp_path: Path) -> None:
    for stage in ("alignment", "instruction"):
        EventWriter(tmp_path / "run" / stage / "events.jsonl").write(step_event(1) | {"stage": stage})
    result = CliRunner().invoke(app, ["report", str(tmp_path / "run"), "--json"])
    written = json.loads(result.stdout)
    assert {stage: Path(path).name for stage, path in written.items()} == {
        "alignment": "report.html", "instruction": "report.html",
    }  # fmt: skip
    assert "instruction" in Page(Path(written["instruction"])).title


def test_a_database_password_is_told_to_nobody(run_values: dict[str, Any]) -> None:
    config = RunConfig.parse(run_values | {"tracking": {"uri": "postgresql://me:secret@db.lab/mlflow"}})
    assert public_config(config)["tracking"]["uri"] == "postgresql://db.lab/mlflow"
    assert public_config(RunConfig.parse(run_values))["tracking"]["uri"] == RunConfig.parse(run_values).tracking.uri


def test_a_submitted_job_is_known_by_the_name_that_ray_gave_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert submission_id() is None
    supervisor_says = {"runtime_env": {}, "metadata": {JOB_ID_METADATA_KEY: "raysubmit_1"}}
    monkeypatch.setenv(RAY_JOB_CONFIG_JSON_ENV_VAR, json.dumps(supervisor_says))
    assert submission_id() == "raysubmit_1"


def test_a_folder_without_events_is_no_stage(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="the events of a stage"):
        write_run_page(tmp_path)


@pytest.mark.parametrize(
    ("place", "named"),
    [
        ("runs", ["A stage's events.jsonl in", "Name the folder OUTPUT/NAME of a run:", "runs/one", "runs/two"]),
        ("runs/one/alignment", ["of a run:", "runs/one."]),
        ("runs/one/alignment/checkpoints", ["Name the folder OUTPUT/NAME of a run."]),
        ("nowhere", ["nowhere does not exist", "OUTPUT/NAME of a run."]),
    ],
)
def test_what_is_no_run_is_told_with_the_runs_beside_it(tmp_path: Path, place: str, named: list[str]) -> None:
    for name in ("one", "two"):
        (tmp_path / "runs" / name / "alignment" / "checkpoints").mkdir(parents=True)
        (tmp_path / "runs" / name / "alignment" / "events.jsonl").write_text("")
    result = CliRunner().invoke(app, ["report", str(tmp_path / place)])
    assert result.exit_code == 2
    assert all(part in result.stderr for part in named), result.stderr
