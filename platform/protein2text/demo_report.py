"""What a demo prints at its end: the steps, the model beside its controls, the answers beside the truth, the paths."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console, Group
from rich.table import Column, Table

from protein2text.demo import DemoOutcome


def print_report(outcome: DemoOutcome, console: Console) -> None:
    """Print the summary.

    Args:
        outcome: of a finished demo.
        console: on stdout.
    """
    console.print(
        Group(_steps(outcome), "", scores_table(outcome.evaluation["table"]), "", _answers(outcome), ""),
        highlight=False,
    )
    evaluation = outcome.evaluation
    model = " ".join(f"{key}={value}" for key, value in outcome.model.items() if isinstance(value, str | int))
    for name, value in {
        "verdict": evaluation["sentence"],
        "model": model,
        "report": evaluation["report_html"],
        "run": outcome.folder,
    }.items():
        console.print(f"{name:<8} {value}", highlight=False, markup=False, soft_wrap=True)


def _table(*columns: Column | str, title: str) -> Table:
    return Table(*columns, title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)


def _steps(outcome: DemoOutcome) -> Table:
    table = _table("step", Column("seconds", justify="right"), "result", title="What was done")
    for name, step in outcome.steps.items():
        seconds = "earlier" if step.get("finished_earlier") else f"{step['seconds']:.0f}"
        table.add_row(name, seconds, str(step["note"]))
    table.add_row("all, with Ray", f"{outcome.seconds:.0f}", "")
    return table


def scores_table(rows: Sequence[Mapping[str, str]]) -> Table:
    """The report's main table; intervals only where the verdict is made, beside the first score and the difference."""
    names = list(rows[0])
    table = _table(*names, title="Scores beside controls and baselines")
    for row in rows:
        shown = {names[0], names[1], names[-1]}
        table.add_row(*(row[name] if name in shown else row[name].split(" [")[0] for name in names))
    return table


def _answers(outcome: DemoOutcome) -> Table:
    table = _table("protein", "question", "answer", "truth", title="Asked over HTTP")
    for answered in outcome.answers:
        question = answered.question
        table.add_row(f"{question.proteins} ({question.split})", question.text, answered.answer, question.truth)
    return table
