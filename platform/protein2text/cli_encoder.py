"""``protein2text encoder``: which protein encoders there are, and their weights in the other published format."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from protein2text.cli_common import Json, print_json, print_result, stdout

encoder_app = typer.Typer(no_args_is_help=True, help="List protein encoders, export one.", rich_markup_mode="rich")


@encoder_app.command("list")
def encoder_list(as_json: Json = False) -> None:
    """List the encoders that are known by name. Others of a listed family load too, from a folder or a .pt file.

    [bold]Example[/bold]

    protein2text encoder list --json
    """
    from protein2text.models.encoders import families

    rows = [
        {
            "name": name,
            "family": family.name,
            "layers": size.num_layers,
            "width": size.width,
            "heads": size.num_heads,
            "default_layer": family.layer,
            "training_residues": family.training_residues,
            "alphabet": family.alphabet.letters,
            "licence": size.licence,
        }
        for family in families()
        for name, size in family.sizes.items()
    ]
    if as_json:
        print_json({"encoders": rows})
        return
    table = Table(*(name.replace("_", " ") for name in rows[0]), box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(str, row.values()))
    stdout().print(table)


@encoder_app.command("export")
def encoder_export(
    source: Annotated[str, typer.Argument(metavar="ENCODER", help="Folder, preset:NAME or hub id of an ESM-2.")],
    output: Annotated[Path, typer.Argument(metavar="FILE.pt", help="File to write, as fair-esm keeps its weights.")],
    revision: Annotated[str | None, typer.Option(help="Commit of a hub id.")] = None,
    as_json: Json = False,
) -> None:
    """Write an ESM-2 as a fair-esm .pt file, for tools that read those. Both formats give the same residue states.

    [bold]Examples[/bold]

    protein2text encoder export my-esm2-folder my-esm2.pt

    protein2text encoder export preset:tiny/esm2 tiny.pt
    """
    if output.suffix != ".pt":
        raise typer.BadParameter(f"{output} does not end in .pt", param_hint="FILE.pt")
    from protein2text.models.encoder_weights import write_fair_esm
    from protein2text.models.sources import resolve_source

    write_fair_esm(resolve_source(source, revision), output)
    print_result({"output": str(output), "bytes": output.stat().st_size}, as_json)
