"""``protein2text data qa``: questions and answers from literature."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from protein2text.cli_common import Json, at_work, plain, print_json, stdout
from protein2text.cli_data import data_app

if TYPE_CHECKING:
    from protein2text.data.qa.run import QaSummary


@data_app.command("qa")
def data_qa(
    literature: Annotated[Path, typer.Argument(metavar="LITERATURE", help="Folder made by `data literature`.")],
    output: Annotated[Path, typer.Option(metavar="DIR", help="Corpus folder to write.")],
    generator: Annotated[
        str, typer.Option(metavar="MODEL", help="Instruct model: a folder or hub id; with --url, its name there.")
    ] = "",
    url: Annotated[str, typer.Option(help="OpenAI-compatible service, such as http://gpu:8000/v1.")] = "",
    revision: Annotated[str | None, typer.Option(help="Commit of a hub id; with --url, the model's version.")] = None,
    rules: Annotated[
        Path | None, typer.Option(metavar="RULES.yaml", help="Limits of the checks that differ from the defaults.")
    ] = None,
    temperature: Annotated[float, typer.Option(min=0, help="Of sampling; 0 takes the most likely token.")] = 0.6,
    top_p: Annotated[float, typer.Option(min=0.01, max=1, help="Nucleus of sampling.")] = 0.9,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest text about one passage, in tokens.")] = 2048,
    seed: Annotated[int, typer.Option(help="With a passage's id it makes that passage's seed.")] = 0,
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"], typer.Option(help="Precision; auto is the weights' own.")
    ] = "auto",
    workers: Annotated[int, typer.Option(min=1, help="Generators side by side.")] = 1,
    gpus_per_worker: Annotated[float, typer.Option(min=0, help="GPUs of each; 0 runs on the CPU.")] = 0,
    batch: Annotated[int, typer.Option(min=1, help="Passages in a batch, or requests under way, per generator.")] = 8,
    as_json: Json = False,
) -> None:
    """Let a language model write questions and answers about proteins from abstracts, and keep what passes the checks.

    Two steps. A generator writes at most ten pairs about each passage, in JSON of a fixed form; the texts are kept in
    DIR/generated. Then every pair is checked; DIR becomes a corpus that `train` reads, with what was refused and why in
    DIR/rejects. A killed run goes on with the same command. Failed passages are tried again by it, and other --rules
    check again without generating; for that no --generator is needed. A service's key is read from OPENAI_API_KEY.

    [bold]Examples[/bold]

    protein2text data qa literature --output qa --generator Llama-3.1-8B-Instruct --gpus-per-worker 1

    protein2text data qa literature --output qa --generator meta-llama/Llama-3.1-8B-Instruct --url http://gpu:8000/v1
    --batch 64

    protein2text data qa literature --output qa --rules stricter.yaml
    """
    if url and not generator:
        raise typer.BadParameter("--url needs the name of the model there", param_hint="--generator")
    from protein2text.data.qa.generator_config import GeneratorConfig, GeneratorScaling
    from protein2text.data.qa.run import load_rules, make_qa

    settings: dict[str, Any] = {"model": generator, "url": url or None, "revision": revision, "dtype": dtype}
    settings |= {"max_new_tokens": max_new_tokens, "temperature": temperature, "top_p": top_p, "seed": seed}
    config = GeneratorConfig.parse(settings, path="data qa") if generator else None
    scaling = GeneratorScaling(num_workers=workers, gpus_per_worker=gpus_per_worker, batch_passages=batch)
    with at_work("qa") as (row, on_event):
        summary = make_qa(literature, output, config, rules=load_rules(rules), scaling=scaling, progress=on_event)
        row.note = f"{summary.records} pairs accepted, {summary.rejected} rejected"
    if as_json:
        print_json(plain(summary))
    else:
        _show(summary)


def _show(summary: "QaSummary") -> None:
    from protein2text.data.qa.card import MEANINGS

    table = Table("", "count", "", box=None)
    table.add_row("passages", str(summary.passages), f"{summary.generated} taken up by this command")
    table.add_row("[bold]accepted[/bold]", str(summary.records), f"pairs about {summary.proteins} proteins")
    table.add_row("[bold]rejected[/bold]", str(summary.rejected), "")
    for reason, count in summary.reasons.items():
        table.add_row(f"  {reason}", str(count), MEANINGS.get(reason, ""))
    stdout().print(table)
    if summary.note:
        typer.echo(summary.note)
    typer.echo(summary.output)
