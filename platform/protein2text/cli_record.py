"""``protein2text record``: what the reference implementation computes, kept for ``parity``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from protein2text.cli_common import Json, at_work, plain, print_result
from protein2text.outputs import naming_a_full_disk


def record(
    clone: Annotated[Path, typer.Argument(metavar="CLONE", help="Your clone of github.com/alaaj27/Protein2Text.")],
    weights: Annotated[Path, typer.Option(metavar="DIR", help="Published checkpoint.")],
    base: Annotated[Path, typer.Option(metavar="DIR", help="The decoder it was trained on.")],
    encoder: Annotated[Path, typer.Option(metavar="DIR", help="The protein encoder it was trained on.")],
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write, for parity.")],
    source: Annotated[
        Path | None,
        typer.Option("--input", metavar="FILE.json", help="Questions, in the published layout; by default eight."),
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 24,
    python: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Python of the clone's environment; by default CLONE/.venv/bin/python."),
    ] = None,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where the clone runs.")] = "cpu",
    copy: Annotated[bool, typer.Option("--copy", help="Copy the weights into the folder rather than link.")] = False,
    as_json: Json = False,
) -> None:
    """Run your own clone of the reference in its own environment, and keep what each stage computes, for parity.

    Greedy answers, one record at a time; the same command goes on where a killed one stopped.

    The clone's loader unpickles the weights with torch.load, and a pickle can run any program: record only weights that
    you trust, or that `protein2text convert` has accepted. This command itself reads no pickle.

    [bold]Example[/bold]

    protein2text record Protein2Text --python Protein2Text/.venv/bin/python --weights checkpoint
    --base Llama-3.1-8B-Instruct --encoder esm2_t33_650M_UR50D --output recordings/published --device cuda
    """
    from protein2text.models.recording import find_clone, find_python, versions_of
    from protein2text.models.recording import record as run
    from protein2text.models.recording_inputs import Checkpoints, default_records, read_records

    clone = find_clone(clone)
    checkpoints = Checkpoints.find(weights, base, encoder)
    records = default_records() if source is None else read_records(source)
    interpreter = find_python(clone, python)
    versions = versions_of(interpreter)
    typer.echo("clone's environment: " + ", ".join(f"{name} {version}" for name, version in versions.items()), err=True)
    with at_work("record", on_ray=False) as (row, on_event), naming_a_full_disk(output):
        result = run(
            clone, checkpoints, records, output, python=interpreter, versions=versions, device=device,
            max_new_tokens=max_new_tokens, copy=copy, on_event=on_event,
        )  # fmt: skip
        row.note = f"{result.recorded_now} of {result.records} records now"
    print_result(plain(result), as_json)
    typer.echo(f"next: protein2text parity {output}", err=True)
