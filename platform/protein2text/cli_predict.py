"""``protein2text predict``: answer the questions of a file."""

from pathlib import Path
from typing import Annotated

import typer

from protein2text.cli_common import EXIT_RUNTIME, Json, at_work, plain, print_result


def predict(
    source: Annotated[Path, typer.Option("--input", metavar="FILE.json", help="Questions, in the published layout.")],
    model: Annotated[Path, typer.Option(metavar="DIR", help="Model folder.")],
    output: Annotated[Path, typer.Option(metavar="OUT.jsonl", help="Answers, one line per record.")],
    compat: Annotated[
        bool, typer.Option("--compat", help="Prompt, precision and decoding of the published implementation.")
    ] = False,
    greedy: Annotated[
        bool, typer.Option("--greedy", help="Most likely token at every step, as temperature 0.")
    ] = False,
    temperature: Annotated[float | None, typer.Option(help="Of sampling; the model's own by default.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Nucleus of sampling; the model's own by default.")] = None,
    seed: Annotated[int, typer.Option(help="With a record's id it makes that record's seed.")] = 0,
    max_new_tokens: Annotated[
        int | None, typer.Option(help="Longest answer, in tokens; the model's own by default.")
    ] = None,
    batch_tokens: Annotated[
        int, typer.Option(min=1, help="Memory bound: tokens in the decoder, and residues in the encoder, at once.")
    ] = 8192,
    base: Annotated[str | None, typer.Option(help="Where the decoder lies now, if it moved.")] = None,
    encoder: Annotated[str | None, typer.Option(help="Where the encoder lies now, if it moved.")] = None,
    as_json: Json = False,
) -> None:
    """Answer every question of a file, in batches; each protein is encoded once.

    The same command goes on where a killed one stopped. Rows are appended as answers come, and stand in the input's
    order in the end. A record that cannot be asked is listed with its reason in OUT.jsonl.rejected.jsonl. Sampled
    answers depend on --seed and the record's id alone, neither on the order of records nor on --batch-tokens.

    [bold]Examples[/bold]

    protein2text predict --input questions.json --model runs/demo/instruction/model --output answers.jsonl

    protein2text predict --input questions.json --model native --compat --greedy --output answers.jsonl --json
    """
    from protein2text.generate.predict import PredictConfig
    from protein2text.generate.predict import predict as answer_all

    if greedy and temperature:
        raise typer.BadParameter("it samples, --greedy does not; give one of the two", param_hint="--temperature")
    config = PredictConfig(
        compat=compat,
        temperature=0.0 if greedy else temperature,
        top_p=1.0 if greedy else top_p,
        max_new_tokens=max_new_tokens,
        seed=seed,
        batch_tokens=batch_tokens,
    )
    with at_work("predict", on_ray=False) as (_, on_event):
        summary = answer_all(source, model, output, config, base=base, encoder=encoder, on_event=on_event)
    typer.echo(summary.line, err=True)
    print_result(plain(summary), as_json)
    if summary.records and summary.rejected == summary.records:
        raise typer.Exit(EXIT_RUNTIME)
