"""The ``protein2text`` command. Results go to stdout, progress and messages to stderr.

Every command imports what it needs when it runs, so that ``--help`` answers at once.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

import protein2text.cli_calibration
import protein2text.cli_qa
import protein2text.cli_report  # noqa: F401  all three add commands to `index` or `data`
from protein2text import __version__, cli_model
from protein2text.cli_ask import ask
from protein2text.cli_checkpoint import checkpoint_app
from protein2text.cli_common import (
    EXIT_RUNTIME,
    Json,
    OneLineErrors,
    RunFile,
    at_work,
    plain,
    print_json,
    print_result,
    stderr,
    stdout,
    wait_for_interrupt,
)
from protein2text.cli_data import data_app
from protein2text.cli_embed import embed
from protein2text.cli_encoder import encoder_app
from protein2text.cli_index import index_app
from protein2text.cli_literature import data_literature
from protein2text.cli_predict import predict
from protein2text.cli_record import record
from protein2text.cli_report import report
from protein2text.cli_train import train
from protein2text.large_imports import large_imports
from protein2text.termination import leave_on_termination

if TYPE_CHECKING:
    from protein2text.demo_plans import DemoPlan

DEMO_RUN = Path("runs/demo")
"""Folder that ``protein2text demo`` writes and ``protein2text serve`` looks for."""

app = typer.Typer(
    cls=OneLineErrors,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app.command("literature")(data_literature)
app.add_typer(data_app, name="data")
cli_model.add_to(app)
app.command()(train)
app.command()(predict)
app.command()(ask)
app.command()(record)
app.command()(report)
app.command()(embed)
app.add_typer(checkpoint_app, name="checkpoint")
app.add_typer(encoder_app, name="encoder")
app.add_typer(index_app, name="index")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show logs, and tracebacks of errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Ask a protein in plain language: train, judge, version and serve Protein2Text models on Ray.

    [bold]Start here[/bold]

    protein2text doctor                   what this machine can run

    protein2text demo                     the whole chain on a synthetic corpus, in minutes

    protein2text serve                    keep the demo's model up

    protein2text ask my.fasta             about a protein of yours
    """
    from protein2text.cli_display import log_to

    log_to(stderr(), verbose=verbose)


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder that holds run folders.")] = DEMO_RUN.parent,
    as_json: Json = False,
) -> None:
    """Run the whole chain on the synthetic sample corpus: data, training, evaluation, registry, service, questions.

    Finished stages are skipped when it runs again; delete the run's folder to begin anew.

    [bold]Example[/bold]

    protein2text demo --output /data/runs
    """
    from protein2text.demo_plans import sample_demo

    _run_demo(sample_demo(output), as_json)


@app.command("demo-real")
def demo_real(
    data: Annotated[
        Path, typer.Argument(help="Folder with uniprot/human_function.tsv and qa/microbiome_benchmark.json.")
    ],
    output: Annotated[Path, typer.Option(help="Folder that holds run folders.")] = DEMO_RUN.parent,
    as_json: Json = False,
) -> None:
    """Run the same chain on real proteins. The tiny model cannot learn biology in minutes; the report says so.

    [bold]Example[/bold]

    protein2text demo-real /data/proteins
    """
    from protein2text.demo_plans import real_demo

    _run_demo(real_demo(data, output), as_json)


def _run_demo(plan: "DemoPlan", as_json: bool) -> None:
    from protein2text.demo import run
    from protein2text.demo_report import print_report

    outcome = run(plan, stderr())
    if as_json:
        print_json(outcome.as_dict())
    else:
        print_report(outcome, stdout())


@app.command()
def evaluate(
    run_file: RunFile,
    model: Annotated[
        str, typer.Option(help="Model folder, models:/NAME@ALIAS or neighbours:DIR; by default the run's own.")
    ] = "",
    output: Annotated[Path | None, typer.Option(help="Folder of the report; by default the run's own.")] = None,
    as_json: Json = False,
) -> None:
    """Judge a model, or an index of neighbours, on a run's test split, beside its controls and baselines.

    An index answers without the entry of the very protein that it is asked about; the report says how many it held.

    [bold]Examples[/bold]

    protein2text evaluate my-run.yaml --model models:/protein2text@champion --output reports/champion

    protein2text evaluate my-run.yaml --model neighbours:swissprot --output reports/neighbours
    """
    from protein2text.config import load_run

    config = load_run(run_file)
    with large_imports():
        from protein2text.evaluate.run import evaluate as judge

    model = model or str(config.folder / "instruction" / "model")
    folder = str((output or config.folder / "evaluation").absolute())
    with at_work("evaluation") as (row, on_event):
        result = judge(model, config, folder, on_event=on_event)
        row.note = result.verdict
    if as_json:
        print_json(plain(result))
        return
    from protein2text.demo_report import scores_table

    stdout().print(scores_table(result.table), highlight=False)
    print_result({"verdict": result.sentence, "report": result.report_html}, as_json=False)


@app.command()
def register(
    run_file: RunFile,
    model: Annotated[Path | None, typer.Option(help="Model folder; by default the run's own.")] = None,
    stage: Annotated[
        Literal["alignment", "instruction"], typer.Option(help="Whose model: alignment's is one to begin with.")
    ] = "instruction",
    alias: Annotated[
        str | None,
        typer.Option(help="Alias given to the new version; by default champion, or aligned for alignment's."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a trained model a version in the registry, with its evaluation report.

    An alignment's model is what instruction tuning of this or another run can begin with: instruction.start.

    [bold]Examples[/bold]

    protein2text register my-run.yaml --alias challenger

    protein2text register my-run.yaml --stage alignment
    """
    from protein2text.config import load_run

    config = load_run(run_file)
    from protein2text.registry import DEFAULT_ALIASES
    from protein2text.registry import register as add_version
    from protein2text.train.tracking import run_id_of_model

    own = model is None
    alias = alias or DEFAULT_ALIASES[stage]
    report = config.folder / "evaluation" / "report.json"
    version = add_version(
        model or config.folder / stage / "model",
        name=config.tracking.model_name,
        alias=alias,
        tracking_uri=config.tracking.uri,
        run_id=run_id_of_model(config.folder / stage) if own else None,
        report_json=report if report.is_file() and own and stage == "instruction" else None,
    )
    print_result({"name": config.tracking.model_name, "version": version, "alias": alias}, as_json)


@app.command()
def serve(
    model: Annotated[
        str,
        typer.Argument(help="Model folder, models:/NAME@ALIAS or neighbours:DIR; by default the champion of --run."),
    ] = "",
    run: Annotated[Path, typer.Option(help="Run folder whose registry and champion are served.")] = DEMO_RUN,
    tracking_uri: Annotated[str, typer.Option(help="Registry database; by default that of --run.")] = "",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 finds a free one.")] = 8000,
    context: Annotated[
        str | None, typer.Option(metavar="neighbours:DIR", help="Index whose facts the model is given to cite.")
    ] = None,
    context_tokens: Annotated[
        int | None, typer.Option(min=1, help="Most tokens of the prompt that these facts take; 512 by default.")
    ] = None,
) -> None:
    """Serve a model, or an index of neighbours, over HTTP, in OpenAI's shape, until interrupted.

    [bold]Examples[/bold]

    protein2text serve --run runs/demo

    protein2text serve models:/protein2text@champion --tracking-uri sqlite:////data/mlflow.db --port 9000

    protein2text serve neighbours:swissprot

    protein2text serve --run runs/demo --context neighbours:swissprot
    """
    if not model or (model.startswith("models:") and not tracking_uri):
        from protein2text.config import load_run

        config = load_run(run / "run.yaml")
        model = model or f"models:/{config.tracking.model_name}@champion"
        tracking_uri = tracking_uri or config.tracking.uri
    with large_imports():
        from protein2text.cli_display import quiet_libraries
        from protein2text_serve.run import start, stop

    with quiet_libraries():
        given = {"context": context, "context_tokens": context_tokens}
        settings: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        service = start(model, tracking_uri=tracking_uri or None, host=host, port=port, **settings)
    typer.echo(f"serving {model} at {service.url}; stop with Ctrl-C", err=True)
    typer.echo(service.url)
    with quiet_libraries():
        wait_for_interrupt()
        typer.echo("stopping", err=True)
        stop(service)


@app.command()
def doctor(
    output: Annotated[Path, typer.Option(help="Folder whose disk is measured.")] = Path("."),
    as_json: Json = False,
) -> None:
    """Say what this machine can run, what is missing, and how to get it. Exit 0 when the CPU path works.

    [bold]Example[/bold]

    protein2text doctor --json
    """
    from protein2text.doctor import examine

    examination = examine(output.absolute())
    if as_json:
        print_json(examination.as_dict())
    else:
        table = Table("", "found", "how to get it", box=None, pad_edge=False)
        marks = {"ok": "[green]ok[/green]", "note": "[yellow]note[/yellow]", "missing": "[red]missing[/red]"}
        for finding in examination.findings:
            table.add_row(f"{marks[finding.status]} {finding.name}", finding.detail, finding.remedy)
        stdout().print(table)
        typer.echo("ready: the CPU path works" if examination.healthy else "not ready: see 'missing' above")
    raise typer.Exit(0 if examination.healthy else EXIT_RUNTIME)


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    leave_on_termination()
    app(args=arguments, prog_name="protein2text")


if __name__ == "__main__":
    main()
