"""``protein2text embed``: encode proteins before a training that reads them again and again."""

from pathlib import Path
from typing import Annotated

import typer

from protein2text.cli_common import Device, Json, at_work, plain, print_result, usable_device
from protein2text.large_imports import large_imports


def embed(
    sources: Annotated[
        list[str], typer.Argument(metavar="CORPUS|FASTA...", help="Corpus folders, or files as `data ingest` takes.")
    ],
    model: Annotated[
        str, typer.Option(metavar="MODEL", help="Run file, preset or model folder that names the encoder.")
    ],
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder of residue states: data.features of a run.")],
    max_gib: Annotated[float, typer.Option(min=0, help="Disk that the folder may take.")] = 64.0,
    workers: Annotated[int, typer.Option(min=1, help="Encoders at work at once.")] = 1,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Fill a folder with the residue states of proteins, so that training does not encode them again.

    What the folder lacks is encoded, each distinct sequence once; a killed embedding goes on where it stopped. It is
    refused before it starts where the states would not fit. What cannot be read is listed in DIR/quarantine.jsonl.

    [bold]Examples[/bold]

    protein2text embed corpus --model my-run.yaml --output features --max-gib 16

    protein2text embed corpus more.fasta.gz --model protein2text-8b --output /data/features --device cuda --workers 8
    """
    with large_imports():
        from protein2text.train.embed import Pool, embed_job
        from protein2text.train.embed import embed as fill

    job = embed_job(model, str(output), max_gib, usable_device(device))
    with at_work("embed") as (row, on_event):
        summary = fill(sources, job, Pool(workers, 1, 1 if device == "cuda" else 0), progress=on_event)
        row.note = f"{summary.embedded} of {summary.proteins} proteins embedded now"
    print_result(plain(summary), as_json)
