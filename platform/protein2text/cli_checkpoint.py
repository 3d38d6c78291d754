"""``protein2text checkpoint``: whether what training wrote is still what it wrote."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from protein2text.cli_common import EXIT_RUNTIME, Json, print_json

checkpoint_app = typer.Typer(no_args_is_help=True, help="Verify checkpoints and models.", rich_markup_mode="rich")


@checkpoint_app.callback()
def checkpoint() -> None:
    """Verify checkpoints and models."""


@checkpoint_app.command("verify")
def checkpoint_verify(
    place: Annotated[
        Path,
        typer.Argument(metavar="DIR", file_okay=False, help="Folder of a run, a stage, checkpoints, one, or a model."),
    ],
    as_json: Json = False,
) -> None:
    """Read checkpoints and models byte by byte, and say which are good. Exit 1 when one is damaged.

    A checkpoint is good when every file has the SHA-256 of its manifest, none is missing or too many, weights and both
    of Adam's moments hold the same names and shapes, every value is finite, the folder's name is its step, and the
    stage that it lies in has its settings and that many steps. A model is good when its files are those of its manifest
    and its values are finite.

    Nothing is changed. Training verifies by itself when it goes on: it sets a damaged checkpoint aside as
    `corrupt-step-…`, says so, and uses the one before it. A copy from the store (`checkpoint_store.url`) can be put
    back under its name by hand.

    [bold]Examples[/bold]

    protein2text checkpoint verify runs/my-run

    protein2text checkpoint verify runs/my-run/instruction/checkpoints/step-00000200

    protein2text checkpoint verify runs/my-run --json
    """
    from protein2text.train.checkpoint_report import Examined, examine

    found: list[Examined] = []
    for one in examine(place):
        found.append(one)
        if not as_json:
            step = "model" if one.step is None else f"step {one.step}"
            name = Path(one.path).relative_to(place) if one.path != str(place) else place
            typer.echo(f"{one.state:<13}  {step:<13}  {one.bytes / 2**20:>10.1f} MiB  {name}  {one.problem}".rstrip())
    num_bad = sum(not one.good for one in found)
    if as_json:
        print_json({"checkpoints": [asdict(one) for one in found], "bad": num_bad})
    else:
        counts = Counter(one.state for one in found)
        typer.echo(", ".join(f"{number} {state}" for state, number in counts.items()))
    raise typer.Exit(EXIT_RUNTIME if num_bad else 0)
