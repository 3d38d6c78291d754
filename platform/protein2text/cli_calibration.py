"""``protein2text index calibration``: what an index knows about how far its answers can be trusted."""

from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column, Table

from protein2text.cli_common import Json, at_work, print_json, stdout
from protein2text.cli_index import index_app
from protein2text.outputs import naming_a_full_disk

if TYPE_CHECKING:
    from protein2text.neighbours.calibration import Calibration
    from protein2text.neighbours.reliability import Reliability


@index_app.command("calibration")
def index_calibration(
    index: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a finished index.")],
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Test it on held-out proteins and draw that: a .png or .svg.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show how often facts of homologues were right when entries were left out, by kind, identity and coverage.

    With --plot the entries fall into two halves of unrelated proteins; each half's facts get the frequencies that the
    other half alone would have quoted. The plot sets these against how often the facts were right, and ECE, the
    expected calibration error, is the mean distance; the table gives its mean over 20 halvings.

    [bold]Examples[/bold]

    protein2text index calibration swissprot

    protein2text index calibration swissprot --plot reliability.png
    """
    from protein2text.neighbours.calibration import Calibration
    from protein2text.neighbours.index_folder import NeighbourIndex

    opened = NeighbourIndex.open(index)
    calibration, measured = Calibration.load(opened.calibration_path), None
    if plot is not None:
        from protein2text.neighbours.reliability import checked_format, held_out, write_plot

        checked_format(plot)
        with at_work("calibration", on_ray=False) as (row, _), naming_a_full_disk(plot):
            drawn = calibration.drawn
            measured = held_out(opened, max_entries=drawn.max_entries, seed=drawn.seed)
            write_plot(measured, plot)
            row.note = f"{drawn.num_drawn} entries left out in turn"
    if as_json:
        print_json(_told(calibration, measured))
        return
    stdout().print(_frequencies(calibration))
    if measured is not None:
        stdout().print(_errors(measured))


def _told(calibration: "Calibration", measured: "dict[str, Reliability] | None") -> dict[str, Any]:
    told = {"draw": asdict(calibration.drawn), "bins": calibration.rows()}
    if measured is None:
        return told
    return told | {"held_out": {label: shown.as_dict() for label, shown in measured.items()}}


def _frequencies(calibration: "Calibration") -> Table:
    """The bins that an answer quotes."""
    right = [Column(name, justify="right") for name in ("right", "of", "proteins", "share", "95 % interval")]
    table = Table("kind", "digits", "identity", "coverage", *right, box=None, pad_edge=False)
    for quoted in calibration.quotable():
        table.add_row(
            quoted.kind, str(quoted.level or ""), quoted.identity_bin, quoted.coverage_bin,
            *map(str, (quoted.num_agreeing, quoted.n, quoted.num_proteins)),
            f"{quoted.share:.2f}", f"{quoted.low:.2f}-{quoted.high:.2f}",
        )  # fmt: skip
    return table


def _errors(measured: "dict[str, Reliability]") -> Table:
    right = [Column(name, justify="right") for name in ("facts", "not calibrated", "ECE", "lowest-highest")]
    table = Table("held out", *right, box=None, pad_edge=False)
    for label, shown in measured.items():
        counts = f"{shown.num_facts:,}", f"{shown.num_uncalibrated:,}"
        errors = shown.errors
        spread = (f"{mean(errors):.3f}", f"{min(errors):.3f}-{max(errors):.3f}") if errors else ()
        table.add_row(label, *counts, *spread)
    return table
