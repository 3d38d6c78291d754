"""``protein2text data literature``: articles of PubMed Central that name proteins."""

from pathlib import Path
from typing import Annotated

import typer

from protein2text.cli_common import Json, at_work, plain, print_funnel, print_json, print_result


def data_literature(
    proteins: Annotated[
        list[str],
        typer.Option(metavar="FILE", help="UniProt file of any format, FASTA, or a corpus folder."),
    ],
    output: Annotated[Path, typer.Option(help="Literature folder to write.")],
    articles: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="Read JATS files, or folders of them, instead of searching PubMed Central."),
    ] = None,
    email: Annotated[
        str, typer.Option(envvar="NCBI_EMAIL", help="Yours; NCBI wants to know who asks. Needed to search.")
    ] = "",
    licence: Annotated[
        list[str] | None,
        typer.Option(metavar="CODE", help="Accept this licence; may be repeated. Default: CC0, CC BY, CC BY-SA."),
    ] = None,
    max_residues: Annotated[int, typer.Option(min=1, help="Longer proteins are left out and counted.")] = 4096,
    entrez_url: Annotated[str, typer.Option(help="Another address of NCBI's E-utilities.")] = "",
    bucket_url: Annotated[str, typer.Option(help="Another address of PMC's cloud bucket.")] = "",
    as_json: Json = False,
) -> None:
    """Find open-access articles whose abstracts name your proteins, for `data qa` to ask questions about.

    Names and gene symbols are searched in titles and abstracts of PubMed Central, and fetched from its bucket.

    Names that are English words, or that proteins of one organism share, do not count. `docs/data.md` has the rules.

    Articles under another licence, and retracted ones, are not used. Quarantine holds what was refused, with reasons.

    The same command goes on where a killed one stopped. An API key in NCBI_API_KEY makes it search faster.

    [bold]Examples[/bold]

    protein2text data literature --proteins uniprot.tsv --email you@example.org --output literature

    protein2text data literature --proteins corpus --licence "CC BY" --licence CC0 --email you@example.org --output lit

    protein2text data literature --proteins uniprot.tsv --articles pmc-mirror/ --output literature
    """
    from protein2text.data.licence_codes import REUSABLE
    from protein2text.data.literature.bucket import BUCKET_URL
    from protein2text.data.literature.entrez import ENTREZ_URL
    from protein2text.data.literature.retrieve import Services, literature

    services = Services(email=email, entrez_url=entrez_url or ENTREZ_URL, bucket_url=bucket_url or BUCKET_URL)
    with at_work("literature") as (row, on_event):
        summary = literature(
            proteins,
            output.absolute(),
            articles=articles or None,
            services=services,
            licences=tuple(licence) if licence else REUSABLE,
            max_residues=max_residues,
            progress=on_event,
        )
        row.note = f"{summary.passages} passages from {summary.articles} of {summary.found} articles"
    if as_json:
        print_json(plain(summary))
    else:
        print_funnel(summary.funnel)
        print_result({key: value for key, value in plain(summary).items() if key != "funnel"}, False)
