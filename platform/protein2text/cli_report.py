"""``protein2text report``, ``data report`` and ``export``: look into runs and data, and give data back as published."""

from pathlib import Path
from typing import Annotated

import typer

from protein2text.cli_common import Json, at_work, plain, print_result
from protein2text.cli_data import data_app


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A run's folder.")],
    as_json: Json = False,
) -> None:
    """Write the page of each of a run's stages anew: curves, what was decided, lineage, configuration.

    Training writes it when it ends or is interrupted; this does while it runs, or after its driver was killed.

    [bold]Example[/bold]

    protein2text report runs/demo
    """
    from protein2text.config import STAGES
    from protein2text.errors import MissingFile
    from protein2text.train.page import EVENTS, write_run_page

    def trained(folder: Path) -> list[str]:
        return [stage for stage in STAGES if (folder / stage / EVENTS).is_file()]

    stages = trained(run)
    if not stages:
        runs = sorted(folder for folder in [run.absolute().parent, *run.glob("*/")] if trained(folder))
        others = f": {', '.join(map(str, runs[:5]))}{', …' if runs[5:] else ''}" if runs else ""
        path = f"A stage's {EVENTS} in {run}" if run.is_dir() else str(run)
        raise MissingFile(path, "a run that was trained", f"Name the folder OUTPUT/NAME of a run{others}.")
    print_result({stage: str(write_run_page(run.absolute() / stage)) for stage in stages}, as_json)


@data_app.command("report")
def data_report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A corpus, literature or split folder.")],
    output: Annotated[Path | None, typer.Option(help="The page; by default report.html in the folder.")] = None,
    as_json: Json = False,
) -> None:
    """Write one HTML page about a folder of data: counts, funnel, licences, lengths, identities, what was refused.

    The page asks for nothing outside itself, and what it shows of records is text, never markup.

    [bold]Examples[/bold]

    protein2text data report corpus

    protein2text data report split --output split.html
    """
    from protein2text.data.report.page import write_report

    with at_work("report", on_ray=False) as (row, _):
        made = write_report(folder, output)
        row.note = f"{len(made.sections)} sections"
    print_result(plain(made), as_json)


@data_app.command("export")
def data_export(
    corpus: Annotated[list[Path], typer.Argument(metavar="CORPUS...", help="Corpus folders.")],
    output: Annotated[Path, typer.Option(metavar="FILE.json", help="File to write.")],
    as_json: Json = False,
) -> None:
    """Write a corpus's questions and answers in the published JSON layout, each as it was read.

    What is no question, and what ingest refused, is not exported: it is counted, and named in FILE.json.left_out.jsonl.

    [bold]Example[/bold]

    protein2text data export corpus --output questions.json
    """
    from protein2text.data.published_qa import export_questions

    with at_work("export", on_ray=False) as (row, on_event):
        made = export_questions(corpus, output, progress=on_event)
        row.note = f"{made.exported} questions, {sum(made.left_out.values())} left out"
    print_result(plain(made), as_json)
