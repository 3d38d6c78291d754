"""``protein2text index``: make an index of characterised proteins, keep it up to date, and embed it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from protein2text.cli_common import Device, Json, at_work, plain, print_funnel, print_json, print_result, usable_device

if TYPE_CHECKING:
    from protein2text.neighbours.build import IndexSummary
    from protein2text.neighbours.update import UpdateSummary

index_app = typer.Typer(
    no_args_is_help=True,
    help="Make an index of characterised proteins, which answers without a model.",
    rich_markup_mode="rich",
)

_SOURCES_HELP = "Files or folders of files, here or at s3://, gs:// or https://."
_Release = Annotated[str, typer.Option(help="Release of the sources that state none, such as 2026_01.")]
_Licence = Annotated[str, typer.Option(help="Licence of the entries that state none, such as 'CC BY 4.0'.")]
_Mixed = Annotated[bool, typer.Option("--allow-mixed-releases", help="Accept several releases; each entry says its.")]


@index_app.command("build")
def index_build(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help=_SOURCES_HELP)],
    output: Annotated[Path, typer.Option(help="Folder of the index.")],
    release: _Release = "",
    licence: _Licence = "",
    allow_mixed_releases: _Mixed = False,
    calibration_entries: Annotated[
        int, typer.Option(min=0, help="Most entries that are left out in turn to measure how often neighbours agree.")
    ] = 5_000,
    seed: Annotated[int, typer.Option(help="Which entries those are.")] = 0,
    as_json: Json = False,
) -> None:
    """Read characterised proteins into an index that is searched by sequence.

    Takes what `data ingest` takes: UniProt flat files, XML, tables, REST JSON, question JSON, gzipped or not. Entries
    that say nothing but a name are left out. A killed build is begun anew; a finished one is not repeated.

    [bold]Examples[/bold]

    protein2text index build uniprot_sprot.dat.gz --output swissprot --release 2026_01

    protein2text index build human.tsv extra.json --output human --licence "CC BY 4.0"

    protein2text index build old.dat new.dat --output both --allow-mixed-releases
    """
    from protein2text.neighbours.build import build

    with at_work("index") as (row, on_event):
        summary = build(
            sources,
            str(output.absolute()),
            release=release or None,
            licence=licence or None,
            allow_mixed_releases=allow_mixed_releases,
            calibration_entries=calibration_entries,
            seed=seed,
            progress=on_event,
        )
        row.note = f"{summary.entries} characterised of {summary.rows} entries"
    _print(summary, as_json)


@index_app.command("update")
def index_update(
    index: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a finished index.")],
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help=_SOURCES_HELP)],
    release: _Release = "",
    licence: _Licence = "",
    allow_mixed_releases: _Mixed = False,
    as_json: Json = False,
) -> None:
    """Add entries to an index, and replace those that the sources hold in a later version.

    The index answers from its old entries until the new ones are all in place. Where nothing is newer nothing is done.

    [bold]Examples[/bold]

    protein2text index update swissprot uniprot_sprot.dat.gz --release 2026_02

    protein2text index update swissprot mine.tsv --release 2026_01
    """
    from protein2text.neighbours.update import update

    with at_work("index") as (row, on_event):
        summary = update(
            str(index.absolute()),
            sources,
            release=release or None,
            licence=licence or None,
            allow_mixed_releases=allow_mixed_releases,
            progress=on_event,
        )
        row.note = f"{summary.added} added, {summary.replaced} replaced"
    _print(summary, as_json)


@index_app.command("embed")
def index_embed(
    index: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a finished index.")],
    encoder: Annotated[str, typer.Option(metavar="ENCODER", help="Folder, .pt file, preset:NAME or hub id.")],
    revision: Annotated[str | None, typer.Option(help="Commit of a hub id.")] = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Embed an index's sequences with a protein encoder, to show what lies near where nothing aligns.

    Where a protein has no characterised homologue, `ask` and `predict` then list the nearest entries beside the
    refusal, with how often such entries agreed; no fact is taken from them. A killed run goes on; an update drops the
    embeddings. Needs `pip install -e .\\[remote]`.

    [bold]Examples[/bold]

    protein2text index embed swissprot --encoder esm2_t33_650M_UR50D --device cuda

    protein2text index embed human --encoder preset:tiny/esm2
    """
    from protein2text.models.model_config import EncoderConfig
    from protein2text.neighbours.embed import embed

    config = EncoderConfig(source=encoder, revision=revision)
    with at_work("embed", on_ray=False) as (row, on_event):
        summary = embed(str(index.absolute()), config, device=usable_device(device), progress=on_event)
        row.note = f"{summary.embedded} of {summary.sequences} sequences embedded now"
    if as_json:
        print_json(plain(summary))
    else:
        _print_values(plain(summary))


def _print(summary: "IndexSummary | UpdateSummary", as_json: bool) -> None:
    if as_json:
        print_json(plain(summary))
        return
    print_funnel(summary.funnel)
    _print_values(plain(summary))


def _print_values(summary: dict[str, Any]) -> None:
    shown = {key: value for key, value in summary.items() if key not in ("funnel", "reasons", "peak_bytes", "seconds")}
    shown |= {"peak memory": f"{summary['peak_bytes'] / 2**20:.0f} MiB", "time": f"{summary['seconds']:.1f} s"}
    print_result(shown, as_json=False)
