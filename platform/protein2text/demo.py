"""The main job in one process: corpus, both training stages, evaluation, registration, service, questions over HTTP.

The sample corpus and real files take the same chain; only a ``DemoPlan`` differs. Each step leaves its result in
``demo.json`` in the run's folder, so an interrupted demo goes on where it stopped.
"""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from protein2text.cli_display import Display, OnEvent, StageDisplay, quiet_libraries
from protein2text.config import RunConfig
from protein2text.demo_plans import DemoPlan, Question
from protein2text.large_imports import large_imports
from protein2text.train.stage_config import Stage

STEPS = ("sample", "ingest", "split", "alignment", "instruction", "evaluation", "registration", "questions")
ALIAS = "champion"

Work = Callable[[StageDisplay, OnEvent], dict[str, Any]]


@dataclass(frozen=True)
class Answered:
    """A question, what the service said, and the truth."""

    question: Question
    answer: str


@dataclass(frozen=True)
class DemoOutcome:
    """All that a demo made, for people (``demo_report``) and for ``--json``."""

    name: str
    folder: str
    steps: dict[str, dict[str, Any]]
    """Per step: ``seconds``, ``note``, and whether it was ``finished_earlier``."""
    evaluation: dict[str, Any]
    model: dict[str, Any]
    """What the service said it serves: name, version, weights."""
    answers: list[Answered]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


@dataclass
class _Chain:
    """Runs steps in order and remembers them; a step's key covers the plan and every step before it."""

    folder: Path
    display: Display
    key: str
    done: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def _memory(self) -> Path:
        return self.folder / "demo.json"

    def step(self, name: str, product: Path, work: Work) -> dict[str, Any]:
        """Do a step, unless it was finished earlier under the same plan and its product is still there."""
        self.key = hashlib.sha256(f"{self.key}/{name}".encode()).hexdigest()
        earlier = self._remembered().get(name, {})
        if earlier.get("key") == self.key and product.exists():
            self.done[name] = {**earlier, "finished_earlier": True}
            self.display.skip(name, f"finished earlier: {earlier['note']}")
            return dict(earlier["result"])
        started = time.monotonic()
        with self.display.stage(name) as (row, on_event):
            result = work(row, on_event)
        seconds = round(time.monotonic() - started, 1)
        self.done[name] = {"key": self.key, "seconds": seconds, "note": row.note, "result": result}
        partial = self._memory.with_suffix(".partial")
        partial.write_text(json.dumps({**self._remembered(), **self.done}, indent=1, default=str), encoding="utf-8")
        partial.replace(self._memory)
        return result

    def _remembered(self) -> dict[str, dict[str, Any]]:
        return dict(json.loads(self._memory.read_text(encoding="utf-8"))) if self._memory.is_file() else {}


def run(plan: DemoPlan, console: Console) -> DemoOutcome:
    """Run a plan to its end, or go on where it stopped; nothing is left running.

    Args:
        plan: what to read and how to train.
        console: for progress.
    """
    from protein2text.resources import ray_session

    started = time.monotonic()
    config = plan.config
    config.folder.mkdir(parents=True, exist_ok=True)
    steps = [name for name in STEPS if name != "sample" or plan.write_sources]
    with quiet_libraries(), ray_session(config.scaling), Display(console, tuple(steps)) as display:
        chain = _Chain(config.folder, display, plan.fingerprint())
        _make_data(plan, chain)
        evaluation = _make_model(config, chain)
        config.save(config.folder / "run.yaml")
        model, answers = _serve_and_ask(plan, chain)
    keep = ("seconds", "note", "finished_earlier")
    told = {name: {key: step[key] for key in keep if key in step} for name, step in chain.done.items()}
    seconds = round(time.monotonic() - started, 1)
    return DemoOutcome(config.name, str(config.folder), told, evaluation, model, answers, seconds)


def _make_data(plan: DemoPlan, chain: _Chain) -> None:
    from protein2text.data.ingest import ingest
    from protein2text.data.split import split

    data = plan.config.data
    corpus = data.corpus[0]
    assert data.split is not None, "a demo's plan names its split"
    split_folder = data.split

    def write_sources(row: StageDisplay, on_event: OnEvent) -> dict[str, Any]:
        assert plan.write_sources
        counts = plan.write_sources()
        row.note = "synthetic: " + ", ".join(f"{count} {name}" for name, count in counts.items())
        return counts

    def ingest_sources(row: StageDisplay, on_event: OnEvent) -> dict[str, Any]:
        summary = ingest(list(plan.sources), corpus, max_residues=data.max_residues, progress=on_event)
        row.note = f"{summary.records} records, {summary.quarantined} quarantined"
        return asdict(summary)

    def split_proteins(row: StageDisplay, on_event: OnEvent) -> dict[str, Any]:
        decides: dict[str, Any] = {"assignment": plan.assignment} if plan.assignment else {"seed": plan.config.seed}
        summary = split([corpus], split_folder, kind=plan.split_kind, **decides, progress=on_event)
        nearest = "no relative" if summary.max_identity is None else f"at most {summary.max_identity:.0%} identity"
        row.note = f"{plan.split_kind}, claims {plan.claims}; {nearest} between test and the rest"
        return asdict(summary)

    if plan.write_sources:
        chain.step("sample", Path(plan.sources[0]), write_sources)
    chain.step("ingest", Path(corpus) / "card.json", ingest_sources)
    chain.step("split", Path(split_folder) / "split.json", split_proteins)


def _make_model(config: RunConfig, chain: _Chain) -> dict[str, Any]:
    """Both stages, evaluation and registration; returns the evaluation's result."""
    with large_imports():
        from protein2text.evaluate.run import evaluate
        from protein2text.registry import register
        from protein2text.train.run import train_stage

    def train(stage: Stage) -> dict[str, Any]:
        def work(row: StageDisplay, on_event: OnEvent) -> dict[str, Any]:
            result = train_stage(config, stage, on_event=on_event)
            row.note = f"{result.steps} steps, loss {result.final_loss:.3f}"
            return asdict(result)

        return chain.step(stage, config.folder / stage / "model" / "manifest.json", work)

    def judge(row: StageDisplay, on_event: OnEvent) -> dict[str, Any]:
        result = evaluate(trained["model_dir"], config, str(config.folder / "evaluation"), on_event=on_event)
        row.note = result.verdict
        return asdict(result)

    def add_version(row: StageDisplay, on_event: OnEvent) -> dict[str, Any]:
        name = config.tracking.model_name
        version = register(
            trained["model_dir"],
            name=name,
            alias=ALIAS,
            tracking_uri=config.tracking.uri,
            run_id=trained["mlflow_run_id"],
            report_json=judged["report_json"],
        )
        row.note = f"{name} version {version} @{ALIAS}"
        return {"name": name, "version": str(version)}

    train("alignment")
    trained = train("instruction")
    judged = chain.step("evaluation", config.folder / "evaluation" / "report.json", judge)
    chain.step("registration", config.folder / "mlflow.db", add_version)
    return judged


def _serve_and_ask(plan: DemoPlan, chain: _Chain) -> tuple[dict[str, Any], list[Answered]]:
    """Load the champion into a service on a free port, ask over HTTP, and take the service down."""
    from protein2text_serve.client import ask
    from protein2text_serve.run import start, stop

    tracking = plan.config.tracking
    questions = plan.choose_questions(plan.config)
    started = time.monotonic()
    with chain.display.stage("questions") as (row, on_event):
        on_event({"message": "the service loads the champion", "num_steps": len(questions), "step": 0})
        service = start(f"models:/{tracking.model_name}@{ALIAS}", tracking_uri=tracking.uri, port=0)
        try:
            answers = []
            for number, question in enumerate(questions, start=1):
                answers.append(Answered(question, ask(service.url, question.sequences, question.text).text))
                on_event({"message": f"answered over {service.url}", "num_steps": len(questions), "step": number})
        finally:
            stop(service)
        row.note = f"{len(answers)} answered over {service.url}"
    chain.done["questions"] = {"seconds": round(time.monotonic() - started, 1), "note": row.note}
    return dict(service.model), answers
