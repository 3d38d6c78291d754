"""``protein2text data``: make corpora and splits."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from protein2text.cli_common import Json, at_work, plain, print_funnel, print_json, print_result
from protein2text.outputs import naming_a_full_disk

data_app = typer.Typer(no_args_is_help=True, help="Make corpora and splits.", rich_markup_mode="rich")


@data_app.command("sample")
def data_sample(
    output: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write.")],
    seed: Annotated[int, typer.Option(help="Another seed is another world.")] = 0,
) -> None:
    """Write the synthetic sample corpus, in the file formats of real sources. It is not biology.

    [bold]Example[/bold]

    protein2text data sample sample

    protein2text data ingest sample/proteins.tsv sample/questions.json --output corpus
    """
    from protein2text.data.sample import write_sample

    with naming_a_full_disk(output):
        write_sample(output, seed=seed)
    typer.echo(str(output))


@data_app.command("ingest")
def data_ingest(
    output: Annotated[Path, typer.Option(help="Corpus folder to write.")],
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="SOURCE...", help="Files or folders of files, here or at s3://, gs:// or https://."),
    ] = None,
    uniprot: Annotated[str, typer.Option(metavar="QUERY", help="Download what this UniProtKB query finds.")] = "",
    max_residues: Annotated[int, typer.Option(min=1, help="Longer proteins are quarantined, never cut.")] = 4096,
    uniprot_url: Annotated[str, typer.Option(help="Another address of UniProtKB's search.")] = "",
    as_json: Json = False,
) -> None:
    """Read proteins with their texts or questions into a corpus; what is refused lies in quarantine with its reason.

    UniProt tables, flat files, XML, REST JSON, FASTA and question JSON, gzipped or not, are told apart by their
    content. The same command begins anew after a stop, and does nothing where the corpus is finished.

    [bold]Examples[/bold]

    protein2text data ingest uniprot.tsv questions.json --output corpus

    protein2text data ingest uniprot_sprot.dat.gz --output corpus

    protein2text data ingest s3://bucket/releases/2026_01 --output corpus

    protein2text data ingest --uniprot "reviewed:true AND cc_function:* AND organism_id:9606" --output corpus
    """
    if not sources and not uniprot:
        raise typer.BadParameter("name at least one file or folder, or a --uniprot query", param_hint="SOURCE...")
    from protein2text.data.ingest import ingest
    from protein2text.data.uniprot_rest import SEARCH_URL

    with at_work("ingest") as (row, on_event):
        summary = ingest(
            list(sources or []),
            str(output.absolute()),
            max_residues=max_residues,
            uniprot=uniprot or None,
            uniprot_url=uniprot_url or SEARCH_URL,
            progress=on_event,
        )
        row.note = f"{summary.records} records, {summary.quarantined} quarantined"
    if as_json:
        print_json(plain(summary))
    else:
        print_funnel(summary.funnel)
        print_result({key: value for key, value in plain(summary).items() if key not in ("funnel", "reasons")}, False)


@data_app.command("split")
def data_split(
    corpus: Annotated[list[str], typer.Argument(metavar="CORPUS...", help="Corpus folders.")],
    output: Annotated[Path, typer.Option(help="Split folder to write.")],
    kind: Annotated[
        Literal["by_cluster", "by_member", "temporal"],
        typer.Option(
            help="by_cluster (claims generalization), by_member (known families) or temporal (later entries)."
        ),
    ] = "by_cluster",
    assignment: Annotated[Path | None, typer.Option(help="Table of accession, split, group; for by_member.")] = None,
    after: Annotated[str | None, typer.Option(metavar="DAY", help="Entries created later are test; temporal.")] = None,
    dates: Annotated[
        Path | None, typer.Option(help="Table of accession and date, beside what provenance says; for temporal.")
    ] = None,
    on_hit: Annotated[
        Literal["move", "drop"], typer.Option(help="A test protein too much like training: move it there, or drop it.")
    ] = "move",
    test_share: Annotated[
        float | None,
        typer.Option(min=0.01, max=0.9, show_default="0.2", help="Share drawn for testing; by_cluster."),
    ] = None,
    seed: Annotated[int | None, typer.Option(show_default="0", help="Which clusters are held out; by_cluster.")] = None,
    min_identity: Annotated[float, typer.Option(min=0.2, max=1.0, help="Relatives from this identity on.")] = 0.3,
    coverage: Annotated[float, typer.Option(min=0.1, max=1.0, help="Share of one of two that must be aligned.")] = 0.8,
    as_json: Json = False,
) -> None:
    """Divide proteins into train, validation and test, and measure how near test lies to train.

    A killed split goes on after its last finished stage.

    [bold]Examples[/bold]

    protein2text data split corpus --output split

    protein2text data split corpus --output split --on-hit drop --test-share 0.1

    protein2text data split corpus --output split --kind by_member --assignment assignment.tsv

    protein2text data split corpus --output split --kind temporal --after 2024-01-31
    """
    from protein2text.data.split import split

    with at_work("split") as (row, on_event):
        summary = split(
            [str(Path(folder).absolute()) for folder in corpus],
            str(output.absolute()),
            kind=kind,
            assignment=None if assignment is None else str(assignment.absolute()),
            after=after,
            dates=None if dates is None else str(dates.absolute()),
            on_hit=on_hit,
            test_share=test_share,
            seed=seed,
            min_identity=min_identity,
            coverage=coverage,
            progress=on_event,
        )
        row.note = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in summary.stage_seconds.items())
    print_result(plain(summary), as_json)
