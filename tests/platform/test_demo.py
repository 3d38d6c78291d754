"""The demos: a chain that remembers what is finished, plans for both worlds, and what is printed at the end."""

import io
import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from protein2text.cli_display import Display, OnEvent, StageDisplay
from protein2text.data.split import load_split
from protein2text.demo import STEPS, Answered, DemoOutcome, _Chain, _make_data
from protein2text.demo_plans import INSULIN, INSULIN_SEQUENCE, Question, real_demo, sample_demo
from protein2text.demo_report import print_report
from protein2text.errors import MissingFile
from protein2text.proteins import clean_sequence


def plain_console() -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, force_terminal=False, width=200), stream


class Worker:
    """Writes a product and counts how often it was asked to."""

    def __init__(self, product: Path) -> None:
        self.product, self.calls = product, 0

    def __call__(self, row: StageDisplay, on_event: OnEvent) -> dict[str, Any]:
        self.calls += 1
        self.product.write_text("made")
        row.note = f"call {self.calls}"
        return {"calls": self.calls}


def chain(folder: Path, plan: str = "plan") -> _Chain:
    return _Chain(folder, Display(plain_console()[0], STEPS), plan)


def test_a_finished_step_is_not_done_again(tmp_path: Path) -> None:
    work = Worker(tmp_path / "product")
    first = chain(tmp_path)
    assert first.step("ingest", work.product, work) == {"calls": 1}
    second = chain(tmp_path)
    assert second.step("ingest", work.product, work) == {"calls": 1}
    assert work.calls == 1
    assert second.done["ingest"]["finished_earlier"]
    assert "finished_earlier" not in first.done["ingest"]


def test_a_step_is_done_again_when_its_product_is_gone(tmp_path: Path) -> None:
    work = Worker(tmp_path / "product")
    chain(tmp_path).step("ingest", work.product, work)
    work.product.unlink()
    assert chain(tmp_path).step("ingest", work.product, work) == {"calls": 2}


def test_another_plan_does_every_step_again(tmp_path: Path) -> None:
    work = Worker(tmp_path / "product")
    chain(tmp_path, "one").step("ingest", work.product, work)
    chain(tmp_path, "other").step("ingest", work.product, work)
    assert work.calls == 2


def test_a_new_step_before_it_does_a_later_step_again(tmp_path: Path) -> None:
    sample, ingest = Worker(tmp_path / "sample"), Worker(tmp_path / "ingest")
    chain(tmp_path).step("ingest", ingest.product, ingest)
    longer = chain(tmp_path)
    longer.step("sample", sample.product, sample)
    longer.step("ingest", ingest.product, ingest)
    assert ingest.calls == 2


def test_a_failing_step_leaves_the_earlier_ones_finished(tmp_path: Path) -> None:
    good, later = Worker(tmp_path / "good"), Worker(tmp_path / "later")

    def failing(row: StageDisplay, on_event: OnEvent) -> dict[str, Any]:
        raise RuntimeError("a worker died")

    broken = chain(tmp_path)
    broken.step("ingest", good.product, good)
    with pytest.raises(RuntimeError, match="a worker died"):
        broken.step("split", later.product, failing)
    again = chain(tmp_path)
    again.step("ingest", good.product, good)
    again.step("split", later.product, later)
    assert (good.calls, later.calls) == (1, 1)
    assert set(json.loads((tmp_path / "demo.json").read_text())) == {"ingest", "split"}


def test_without_a_terminal_progress_is_plain_lines() -> None:
    console, stream = plain_console()
    with Display(console, ("alignment", "split")) as display:
        with display.stage("alignment") as (row, on_event):
            on_event({"stage": "alignment", "step": 3, "num_steps": 10, "loss": 1.23456})
            on_event({"stage": "alignment", "step": 4, "num_steps": 10, "loss": 1.2})
            row.note = "10 steps"
        display.skip("split", "finished earlier")
    assert stream.getvalue().splitlines() == [
        "alignment  started",
        "alignment  3/10 loss 1.235",
        "alignment  done in 0 s: 10 steps",
        "split      finished earlier",
    ]


def test_on_a_terminal_all_stages_stand_in_one_display() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=120)
    with Display(console, ("ingest", "alignment")) as display, display.stage("ingest") as (row, on_event):
        on_event({"rows": 70})
        row.note = "70 records"
    assert all(word in stream.getvalue() for word in ("ingest", "alignment", "70 records"))


def test_on_80_columns_a_row_keeps_its_count_its_time_and_every_word() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80)
    with Display(console, ("ingest",)) as display, display.stage("ingest") as (row, on_event):
        on_event({"step": 2_345, "num_steps": 2_345, "rows": 570_000})
        row.note = "569999 records, 123456 quarantined and all of this note to its very end"
    last = [Text.from_ansi(line).plain for line in stream.getvalue().splitlines()][-3:]
    assert "2345/2345 0:00:0" in " ".join(last)
    assert " ".join(" ".join(last).split()).endswith("123456 quarantined and all of this note to its very end")


def test_the_sample_plan_declares_by_member_and_stays_in_its_run_folder(workdir: Path) -> None:
    plan = sample_demo(Path("runs"))
    folder = str(workdir / "runs" / "demo")
    assert plan.split_kind == "by_member"
    assert plan.config.tracking.uri == f"sqlite:///{folder}/mlflow.db"
    paths = [*plan.sources, plan.assignment, *plan.config.data.corpus, plan.config.data.split]
    assert all(str(path).startswith(folder) for path in paths)


def test_the_real_plan_splits_by_cluster_under_its_own_model_name(real_data: Path, workdir: Path) -> None:
    plan, sample = real_demo(real_data, Path("runs")), sample_demo(Path("runs"))
    assert plan.split_kind == "by_cluster"
    assert plan.assignment is None
    assert plan.config.tracking.model_name != sample.config.tracking.model_name
    assert plan.config.model.encoder == sample.config.model.encoder


@pytest.mark.parametrize("kind", ["by_member", "by_cluster"])
def test_a_plan_of_either_kind_is_ingested_and_split(tmp_path: Path, kind: Any) -> None:
    """As `run` does it, on twelve proteins that have nothing in common."""
    rng = random.Random(3)
    names = [f"P{number:05}" for number in range(12)]
    rows = [f"{name}\t{''.join(rng.choices('ACDEFGHIKLMNPQRSTVWY', k=80))}\tFUNCTION: Binds {name}." for name in names]
    table, sides = tmp_path / "proteins.tsv", tmp_path / "assignment.tsv"
    table.write_text("\n".join(["Entry\tSequence\tFunction [CC]", *rows]) + "\n")
    sides.write_text("".join(f"{name}\t{'train' if name < names[9] else 'test'}\t{name}\n" for name in names))
    assignment = str(sides) if kind == "by_member" else None
    plan = replace(
        sample_demo(tmp_path / "runs"), sources=(str(table),), write_sources=None, split_kind=kind,
        assignment=assignment,
    )  # fmt: skip
    plan.config.folder.mkdir(parents=True)
    made = chain(plan.config.folder)
    _make_data(plan, made)
    found = made.done["split"]["result"]["proteins"]
    assert made.done["ingest"]["result"]["records"] == sum(found.values()) == 12
    assert found["test"] == (3 if kind == "by_member" else 2)
    card = load_split(plan.config.data.split).card
    assert card["kind"] == kind
    assert card.get("seed") == (plan.config.seed if kind == "by_cluster" else None)


def test_the_fingerprint_follows_the_sources(workdir: Path) -> None:
    for name in ("uniprot/human_function.tsv", "qa/microbiome_benchmark.json"):
        (workdir / name).parent.mkdir(parents=True)
        (workdir / name).write_text("x")
    before = real_demo(workdir, Path("runs")).fingerprint()
    assert real_demo(workdir, Path("runs")).fingerprint() == before
    (workdir / "qa/microbiome_benchmark.json").write_text("xy")
    assert real_demo(workdir, Path("runs")).fingerprint() != before


def test_missing_real_files_are_named(workdir: Path) -> None:
    with pytest.raises(MissingFile, match=r"uniprot/human_function\.tsv does not exist"):
        real_demo(workdir, Path("runs"))


def test_insulin_is_insulin(real_data: Path) -> None:
    assert clean_sequence(INSULIN_SEQUENCE, record=INSULIN) == INSULIN_SEQUENCE
    rows = (real_data / "uniprot" / "human_function.tsv").read_text(encoding="utf-8").splitlines()
    row = next(line.split("\t") for line in rows if line.startswith(f"{INSULIN}\t"))
    assert row[-1] == INSULIN_SEQUENCE


def test_the_closing_report_holds_answers_beside_truths_controls_and_paths() -> None:
    question = Question("SYN00001", ("MKV",), "What does it bind?", "It binds ATP.", "test")
    outcome = DemoOutcome(
        name="demo",
        folder="/runs/demo",
        steps={
            "ingest": {"seconds": 2.0, "note": "7 records"},
            "split": {"note": "by_member", "finished_earlier": True},
        },
        evaluation={
            "table": [{"answers from": "true protein", "facts": "0.95"}, {"answers from": "swapped", "facts": "0.20"}],
            "sentence": "It reads the protein.",
            "report_html": "/runs/demo/evaluation/report.html",
        },
        model={"name": "protein2text-tiny", "version": "1"},
        answers=[Answered(question, "It binds zinc.")],
        seconds=61.0,
    )
    console, stream = plain_console()
    print_report(outcome, console)
    text = stream.getvalue()
    for part in ("It binds ATP.", "It binds zinc.", "true protein", "0.20", "earlier", "7 records", "version=1"):
        assert part in text
    assert "verdict  It reads the protein." in text
    assert "/runs/demo/evaluation/report.html" in text


LOUD = """
import logging, sys
from rich.console import Console
from protein2text.cli_display import log_to, quiet_libraries
log_to(Console(stderr=True), verbose={verbose})
with quiet_libraries():
    print("chatter on stdout")
    for name in ("ray", "ray.data", "ray.serve"):
        logging.getLogger(name).setLevel(logging.INFO)  # as ray.init does
        logging.getLogger(name).info("news of %s", name)
        logging.getLogger(name).error("trouble of %s", name)
print("result")
"""


@pytest.mark.parametrize("verbose", [False, True])
def test_news_of_libraries_is_shown_only_when_verbose(verbose: bool) -> None:
    code = LOUD.format(verbose=verbose)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for name in ("ray", "ray.data", "ray.serve"):
        assert f"trouble of {name}" in done.stderr
        assert (f"news of {name}\n" in done.stderr) == verbose
    assert ("chatter on stdout" in done.stderr) == verbose
    assert done.stdout == "result\n"
