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
        bool, typer.Option("--compat", help="Prompt and precision of the published implementation.")
    ] = False,
    greedy: Annotated[bool, typer.Option("--greedy", help="Most likely token at every step; no sampling.")] = False,
    temperature: Annotated[float, typer.Option(min=0.0, help="Of sampling; without effect with --greedy.")] = 0.7,
    top_p: Annotated[float, typer.Option(help="Nucleus of sampling, above 0 and up to 1.")] = 0.9,
    seed: Annotated[int, typer.Option(help="With a record's id it makes that record's seed.")] = 0,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 512,
    batch_tokens: Annotated[
        int, typer.Option(min=1, help="Memory bound: tokens in the decoder, and residues in the encoder, at once.")
    ] = 8192,
    as_json: Json = False,
) -> None:
    """Answer every question of a file, in batches; each protein is encoded once.

    The same command goes on where a killed one stopped. Rows are appended as answers come, and stand in the input's
    order in the end. A record that cannot be asked is listed with its reason in OUT.rejected.jsonl. Sampled answers
    depend on --seed and the record's id alone, neither on the order of records nor on --batch-tokens.

    [bold]Examples[/bold]

    protein2text predict --input questions.json --model runs/demo/instruction/model --output answers.jsonl

    protein2text predict --input questions.json --model native --compat --greedy --output answers.jsonl --json
    """
    from protein2text.generate.predict import PredictConfig
    from protein2text.generate.predict import predict as answer_all

    decoding = {
        "max_new_tokens": max_new_tokens, "temperature": 0.0 if greedy else temperature,
        "top_p": 1.0 if greedy else top_p, "seed": seed,
    }  # fmt: skip
    config = PredictConfig.parse(
        {"compat": compat, "decoding": decoding, "batch_tokens": batch_tokens}, path="protein2text predict"
    )
    with at_work("predict", on_ray=False) as (_, on_event):
        summary = answer_all(source, model, output, config, on_event=on_event)
    typer.echo(summary.line, err=True)
    print_result(plain(summary), as_json)
    if summary.records and summary.rejected == summary.records:
        raise typer.Exit(EXIT_RUNTIME)
