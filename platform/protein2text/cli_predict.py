"""``protein2text predict``: answer the questions of a file."""

from pathlib import Path
from typing import Annotated, Any

import typer

from protein2text.cli_common import EXIT_RUNTIME, Json, at_work, print_result


def predict(
    source: Annotated[Path, typer.Option("--input", metavar="FILE.json", help="Questions, in the published layout.")],
    model: Annotated[
        str, typer.Option(metavar="MODEL", help="Model folder, models:/NAME@ALIAS, or neighbours:DIR for an index.")
    ],
    output: Annotated[Path, typer.Option(metavar="OUT.jsonl", help="Answers, one line per record.")],
    compat: Annotated[
        bool, typer.Option("--compat", help="Prompt, precision and decoding of the published implementation.")
    ] = False,
    greedy: Annotated[
        bool, typer.Option("--greedy", help="Most likely token at every step, as temperature 0.")
    ] = False,
    temperature: Annotated[float | None, typer.Option(help="Of sampling; the model's own by default.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Nucleus of sampling; the model's own by default.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="With a record's id it makes that record's seed; 0 by default.")
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(help="Longest answer, in tokens; the model's own by default.")
    ] = None,
    batch_tokens: Annotated[
        int | None,
        typer.Option(
            min=1, help="Memory bound: tokens in the decoder, and residues in the encoder, at once; 8192 by default."
        ),
    ] = None,
    base: Annotated[str | None, typer.Option(help="Where the decoder lies now, if it moved.")] = None,
    encoder: Annotated[str | None, typer.Option(help="Where the encoder lies now, if it moved.")] = None,
    context: Annotated[
        str | None, typer.Option(metavar="neighbours:DIR", help="Index whose facts the model is given to cite.")
    ] = None,
    context_tokens: Annotated[
        int | None, typer.Option(min=1, help="Most tokens of the prompt that these facts take; 512 by default.")
    ] = None,
    tracking_uri: Annotated[str | None, typer.Option(help="Registry database, for a models:/ name.")] = None,
    as_json: Json = False,
) -> None:
    """Answer every question of a file, in batches; each protein is encoded once.

    The same command goes on where a killed one stopped. Rows are appended as answers come, and stand in the input's
    order in the end. A record that cannot be asked is listed with its reason in OUT.jsonl.rejected.jsonl. Sampled
    answers depend on --seed and the record's id alone, neither on the order of records nor on --batch-tokens.

    An index of neighbours in place of a model answers with facts of characterised homologues and their sources, under
    the key neighbours of each row; as --context of a model it puts the same facts into the prompt, and the key context
    says which of them the answer cites.

    [bold]Examples[/bold]

    protein2text predict --input questions.json --model runs/demo/instruction/model --output answers.jsonl

    protein2text predict --input questions.json --model native --compat --greedy --output answers.jsonl --json

    protein2text predict --input questions.json --model neighbours:swissprot --output answers.jsonl

    protein2text predict --input questions.json --model native --context neighbours:swissprot --output answers.jsonl
    """
    from protein2text.generate.predict import predict as answer_all

    if greedy and temperature:
        raise typer.BadParameter("it samples, --greedy does not; give one of the two", param_hint="--temperature")
    config = answer_config(
        compat=compat, greedy=greedy, temperature=temperature, top_p=top_p, max_new_tokens=max_new_tokens, seed=seed,
        batch_tokens=batch_tokens, base=base, encoder=encoder, context=context, context_tokens=context_tokens,
    )  # fmt: skip
    with at_work("predict", on_ray=False) as (_, on_event):
        summary = answer_all(source, model, output, config, tracking_uri=tracking_uri, on_event=on_event)
    typer.echo(summary.line, err=True)
    print_result(summary.as_dict(), as_json)
    if summary.records and summary.rejected == summary.records:
        raise typer.Exit(EXIT_RUNTIME)


def answer_config(**options: Any) -> Any:
    """How a model answers, of the options that were given: what was not given counts as not said.

    Raises:
        ConfigError: a value outside its range.
    """
    from protein2text.answerers import AnswerConfig

    given = {name: value for name, value in options.items() if value is not None and value is not False}
    return AnswerConfig.parse(given, path="options")
