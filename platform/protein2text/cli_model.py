"""``convert``, ``export``, ``parity``, ``rehearse``, ``selfcheck``: published checkpoints in, out, and put to proof."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from protein2text.cli_common import (
    EXIT_RUNTIME,
    Device,
    Json,
    at_work,
    plain,
    print_json,
    print_result,
    stdout,
    usable_device,
)
from protein2text.outputs import naming_a_full_disk

if TYPE_CHECKING:
    from protein2text.models.long_proteins import Reading
    from protein2text.models.selfcheck import GoldAnswer


def convert(
    published: Annotated[Path, typer.Argument(metavar="PUBLISHED", help="Folder in the published layout.")],
    base: Annotated[str, typer.Option(help="The decoder it was trained on: a folder, or a hub id with a revision.")],
    encoder: Annotated[str, typer.Option(help="The protein encoder it was trained on, likewise.")],
    output: Annotated[Path, typer.Option(help="Model folder to write.")],
    embed_base: Annotated[bool, typer.Option("--embed-base", help="Copy decoder and encoder into the folder.")] = False,
    base_revision: Annotated[str | None, typer.Option(help="Commit, when --base is a hub id.")] = None,
    encoder_revision: Annotated[str | None, typer.Option(help="Commit, when --encoder is a hub id.")] = None,
    licence: Annotated[
        list[str] | None,
        typer.Option(metavar="PART=ID", help="A licence you know: encoder, decoder, corpus or qa_generator."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Turn a published checkpoint into a model folder: safetensors, sums of every file, and a model card.

    Nothing is guessed: a tensor that is missing, unexpected or of another shape stops the conversion and is named.

    [bold]Examples[/bold]

    protein2text convert protein2text-llama3.1-8B-instruct-esm2-650M --base Llama-3.1-8B-Instruct
    --encoder esm2_t33_650M_UR50D --output models/published

    protein2text convert downloaded --base base --encoder esm2 --output models/whole --embed-base
    """
    from protein2text.models.conversion import convert as run

    stated = dict(_pair(text) for text in licence or [])
    with at_work("conversion") as (row, _):
        result = run(
            published, output, base=base, encoder=encoder, base_revision=base_revision,
            encoder_revision=encoder_revision, embed_bases=embed_base, licences=stated,
        )  # fmt: skip
        row.note = f"{result.num_tensors} tensors"
    if as_json:
        print_json(plain(result))
        return
    for name in result.dropped:
        typer.echo(f"dropped: {name} (nothing reads it)")
    print_result({key: value for key, value in plain(result).items() if key != "dropped"}, as_json)


def _pair(text: str) -> tuple[str, str]:
    part, equals, licence = text.partition("=")
    if not equals or not licence:
        raise typer.BadParameter(f"{text!r} is not of the form PART=ID", param_hint="--licence")
    return part, licence


def export(
    native: Annotated[Path, typer.Argument(metavar="NATIVE", help="Model folder.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    layout: Annotated[Literal["published"], typer.Option(help="Layout to write.")] = "published",
    as_json: Json = False,
) -> None:
    """Write a model folder in another layout. A converted checkpoint comes back as it was, bit for bit.

    [bold]Example[/bold]

    protein2text export models/published --layout published --output checkpoints/again
    """
    from protein2text.models.conversion import export as run

    with at_work("export"):
        files = run(native, output)
    print_result({"output": str(output), "layout": layout, "files": files}, as_json)


def parity(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Checkpoint, bases, input.json and recorded.safetensors.")
    ],
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Run our model on what the reference implementation recorded; exit 1 where they differ.

    The folder's parts are found by what they hold, whatever they are called.

    [bold]Example[/bold]

    protein2text parity recordings/reference-tiny
    """
    from protein2text.models.parity import STAGES, compare

    with at_work("parity") as (display, _):
        rows = []
        for result in compare(folder, device=usable_device(device)):
            rows.append(result)
            display.note = f"{len(rows)} records"
    passed = bool(rows) and all(row.passed for row in rows)
    if as_json:
        print_json(
            {"passed": passed, "limits": STAGES, "records": [{**plain(row), "passed": row.passed} for row in rows]}
        )
    else:
        table = Table(
            "record", "residues", *(stage.replace("_", " ") for stage in STAGES), "prompt", "ids", "", box=None
        )
        for row in rows:
            ids = f"{row.num_matching}/{row.num_ids}" + (f", {len(row.ties)} tied" if row.ties else "")
            table.add_row(
                row.record, str(row.num_residues), *(f"{row.errors[stage]:.1e}" for stage in STAGES),
                "same" if row.prompt_matches else "differs", ids, "ok" if row.passed else "[red]differs[/red]",
            )  # fmt: skip
        table.add_row("limit", "", *(f"{limit:.0e}" for limit in STAGES.values()), "", "", "")
        stdout().print(table)
        for row in rows:
            for line in (*(f"tie, {tie}" for tie in row.ties), *row.differences):
                typer.echo(f"{row.record}: {line}")
        typer.echo("parity holds" if passed else "parity does not hold")
    raise typer.Exit(0 if passed else EXIT_RUNTIME)


def rehearse(
    preset: Annotated[str, typer.Option(help="Preset whose true shapes are rehearsed.")],
    output: Annotated[Path, typer.Option(help="Folder for the random checkpoint and the record.")],
    scale: Annotated[float, typer.Option(help="Share of layers, heads and vocabulary; 1 is the true shape.")] = 1.0,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Rehearse the first hour with weights that are not there yet: random ones of the same shapes.

    Writes bases and a checkpoint, converts, loads, predicts 64 proteins and takes steps of both stages. Finished steps
    are not repeated when it runs again.

    [bold]Examples[/bold]

    protein2text rehearse --preset protein2text-8b --output /data/rehearsal --device cuda

    protein2text rehearse --preset protein2text-8b --scale 0.1 --output /tmp/rehearsal
    """
    from protein2text.rehearsal import Rehearsal

    steps = []
    with at_work("rehearsal") as (display, _), naming_a_full_disk(output):
        for measured in Rehearsal(output, preset, scale=scale, device=usable_device(device)).run():
            steps.append(measured)
            display.note = f"{measured.step}: {measured.seconds:.1f} s"
    if as_json:
        print_json({"preset": preset, "scale": scale, "steps": [plain(step) for step in steps]})
        return
    table = Table("step", "seconds", "peak memory", "disk", "", box=None)
    for step in steps:
        sizes = (f"{step.memory_bytes / 2**30:.2f} GiB", f"{step.disk_bytes / 2**30:.2f} GiB")
        table.add_row(step.step, f"{step.seconds:.1f}", *sizes, step.note)
    stdout().print(table)


def selfcheck(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Model folder.")],
    questions: Annotated[
        Path | None, typer.Argument(metavar="[QA.json]", help="Gold answers in the published layout; by default a few.")
    ] = None,
    compat: Annotated[bool, typer.Option("--compat", help="Prompt and precision of the published one.")] = False,
    base: Annotated[str | None, typer.Option(help="Where the decoder lies now, if it moved.")] = None,
    encoder: Annotated[str | None, typer.Option(help="Where the encoder lies now, if it moved.")] = None,
    as_json: Json = False,
) -> None:
    """Say whether a model's latents matter: gold answers under the true protein, another one, and none.

    Needs no recording. Weights can load and change nothing; then this says so, and ends with exit code 1.

    [bold]Example[/bold]

    protein2text selfcheck models/published questions.json --compat
    """
    from protein2text.models.protein_to_text import ProteinToText
    from protein2text.models.selfcheck import known_answers
    from protein2text.models.selfcheck import selfcheck as check

    with at_work("selfcheck"):
        loaded = ProteinToText.from_pretrained(model, compat=compat, base=base, encoder=encoder)
        result = check(loaded, known_answers() if questions is None else _gold_answers(questions, loaded.reading))
    print_result({**plain(result), "verdict": result.verdict}, as_json)
    raise typer.Exit(0 if result.over_swapped.is_gain else EXIT_RUNTIME)


def _gold_answers(path: Path, reading: "Reading") -> "list[GoldAnswer]":
    """Answered questions about one protein; the rest of a file has nothing to swap."""
    from protein2text.generate.predict_records import Question, read_questions
    from protein2text.models.selfcheck import GoldAnswer

    return [
        GoldAnswer(record.proteins[0].sequence, record.text, record.answer)
        for record in read_questions(path, reading)
        if isinstance(record, Question) and record.answer and len(record.proteins) == 1
    ]


def add_to(app: typer.Typer) -> None:
    """Register these commands."""
    for command in (convert, export, parity, rehearse, selfcheck):
        app.command()(command)
