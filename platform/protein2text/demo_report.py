"""What a demo prints at its end: the steps, the model beside its controls, the answers beside the truth, the paths."""

from rich.console import Console, Group
from rich.table import Column, Table

from protein2text.demo import DemoOutcome


def print_report(outcome: DemoOutcome, console: Console) -> None:
    """Print the summary.

    Args:
        outcome: of a finished demo.
        console: on stdout.
    """
    console.print(Group(_steps(outcome), "", _scores(outcome), "", _answers(outcome), ""), highlight=False)
    evaluation = outcome.evaluation
    model = " ".join(f"{key}={value}" for key, value in outcome.model.items() if isinstance(value, str | int))
    for name, value in {
        "verdict": evaluation["sentence"],
        "model": model,
        "report": evaluation["report_html"],
        "run": outcome.folder,
    }.items():
        console.print(f"{name:<8} {value}", highlight=False, markup=False, soft_wrap=True)


def _steps(outcome: DemoOutcome) -> Table:
    table = Table("step", Column("seconds", justify="right"), "result", title="What was done", title_justify="left")
    for name, step in outcome.steps.items():
        seconds = "earlier" if step.get("finished_earlier") else f"{step['seconds']:.0f}"
        table.add_row(name, seconds, str(step["note"]))
    table.add_row("all, with Ray", f"{outcome.seconds:.0f}", "", style="bold")
    return table


def _scores(outcome: DemoOutcome) -> Table:
    rows = outcome.evaluation["table"]
    table = Table(*(rows[0] if rows else ("no rows",)), title="The model beside its controls", title_justify="left")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    return table


def _answers(outcome: DemoOutcome) -> Table:
    title = "Asked over HTTP"
    table = Table("protein", "question", "answer", "truth", title=title, title_justify="left", show_lines=True)
    for answered in outcome.answers:
        question = answered.question
        table.add_row(f"{question.proteins}\n({question.split})", question.text, answered.answer, question.truth)
    return table
