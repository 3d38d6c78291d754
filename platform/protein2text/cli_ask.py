"""``protein2text ask``: a question about proteins, answered by an index of neighbours, a model folder or a service."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from protein2text.cli_common import Json, at_work, plain, print_json
from protein2text.errors import ConfigError, MissingFile, RecordError
from protein2text.proteins import UNIPROT_ACCESSION

if TYPE_CHECKING:
    from protein2text.answerers import Answerer
    from protein2text.proteins import Protein

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_QUESTION = "What is the function of this protein?"
_ACCESSION = re.compile(rf"{UNIPROT_ACCESSION}(?:-\d+)?", re.IGNORECASE)
"""Of UniProt; the digits in it are no residues, so nothing can be both."""

Row = dict[str, Any]


def ask(
    proteins: Annotated[
        list[str],
        typer.Argument(
            metavar="PROTEIN...", help="Residues, a FASTA file, - for standard input, or an accession of the index."
        ),
    ],
    question: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="In plain language; the function by default, for an index all it knows."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="neighbours:DIR for an index, or a model folder.")
    ] = None,
    url: Annotated[str | None, typer.Option(help=f"Address of a service; {DEFAULT_URL} without --model.")] = None,
    together: Annotated[
        bool, typer.Option("--together", help="One question about all the proteins, not one about each.")
    ] = False,
    context: Annotated[
        str | None, typer.Option(metavar="neighbours:DIR", help="Index whose facts a model folder is told and cites.")
    ] = None,
    context_tokens: Annotated[
        int | None, typer.Option(min=1, help="Most tokens of the prompt that these facts take; 512 by default.")
    ] = None,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="Longest answer of a model, in tokens.")] = None,
    as_json: Json = False,
) -> None:
    """Ask about proteins: an index of characterised neighbours, a model, or a running service.

    An index answers with facts of homologues and their sources, without a model; it refuses a protein that it holds no
    characterised homologue of. Every record of a FASTA file is answered; --json prints one line for each.

    [bold]Examples[/bold]

    protein2text ask my.fasta --model neighbours:swissprot

    protein2text ask MALWMRLLPLLALLALWGPDPAAA --model neighbours:swissprot --question "Where is it found?" --json

    protein2text ask P01308 --model neighbours:swissprot

    protein2text ask my.fasta --model runs/demo/instruction/model --question "What does this protein bind?"

    protein2text ask my.fasta --model runs/demo/instruction/model --context neighbours:swissprot

    protein2text ask my.fasta --url http://127.0.0.1:8000 --question "What does this protein bind?"
    """
    if model is not None and url is not None:
        raise typer.BadParameter("give a model or the address of a service, not both", param_hint="--url")
    for name, value in (("--context", context), ("--context-tokens", context_tokens)):
        if value is not None and model is None:
            remedy = f"to ask a service with it, start that with `protein2text serve MODEL {name} ...`"
            raise typer.BadParameter(f"needs --model; {remedy}", param_hint=name)
    asked = [(text, read_proteins_of(text, number)) for number, text in enumerate(proteins, start=1)]
    if model is None:
        rows = _ask_service(url or DEFAULT_URL, _groups(_given(asked), together), question, max_new_tokens)
    else:
        settings = {"context": context, "context_tokens": context_tokens, "max_new_tokens": max_new_tokens}
        given = {name: value for name, value in settings.items() if value is not None}
        rows = iter(_ask_model(model, asked, question, given, together))
    several = not together and sum(1 if read is None else len(read) for _, read in asked) > 1
    for row in rows:
        _print(row, several, as_json)


def read_proteins_of(text: str, number: int) -> "list[Protein] | None":
    """The proteins that one argument names; None for an accession, which only an index may know.

    Raises:
        RecordError: no protein, or one that cannot be read.
        MissingFile: it looks like a path and is none.
        ConfigError: it is a folder.
    """
    from protein2text.proteins import parse_proteins, read_proteins

    if text == "-":
        return parse_proteins(typer.get_text_stream("stdin").read(), record="standard input")
    if os.path.isfile(text):  # false, as isdir, for residues that are longer than a file's name may be
        return read_proteins(text)
    if _ACCESSION.fullmatch(text):
        return None
    if os.path.isdir(text):
        raise ConfigError(text, "PROTEIN", "is a folder here; give a FASTA file, residues, or - for standard input")
    if "." in Path(text).name or "/" in text:
        raise MissingFile(text, "a protein", "Give a FASTA file, residues, or - for standard input.")
    return parse_proteins(text, record=f"PROTEIN {number}")


def _given(asked: Sequence[tuple[str, "list[Protein] | None"]], held: str = "") -> "list[Protein]":
    """The proteins of all arguments.

    Args:
        asked: each argument and what was read of it.
        held: what to say of where accessions were looked up.

    Raises:
        RecordError: an accession that stands for no sequence here.
    """
    found = []
    for text, read in asked:
        if read is None:
            remedy = f"Give its residues, or a FASTA file: https://rest.uniprot.org/uniprotkb/{text.upper()}.fasta"
            raise RecordError(text, "PROTEIN", f"an accession{held}", "a sequence is needed", remedy)
        found += read
    return found


def _groups(proteins: "list[Protein]", together: bool) -> "list[tuple[Protein, ...]]":
    return [tuple(proteins)] if together else [(protein,) for protein in proteins]


def _ask_service(
    url: str, groups: "list[tuple[Protein, ...]]", question: str | None, max_new_tokens: int | None
) -> Iterator[Row]:
    from protein2text_serve.client import ask as send

    question = question or DEFAULT_QUESTION
    for group in groups:
        yield _row(group, question, plain(send(url, [*map(_fasta, group)], question, max_tokens=max_new_tokens)))


def _fasta(protein: "Protein") -> str:
    """A FASTA record, or bare residues where the name only says where they were read."""
    return protein.sequence if " " in protein.accession else f">{protein.accession}\n{protein.sequence}"


def _ask_model(
    model: str, asked: "list[tuple[str, list[Protein] | None]]", question: str | None, given: Row, together: bool
) -> list[Row]:
    """A row for each group of proteins, in order; all of them are answered in batches."""
    from protein2text.answerers import AnswerConfig, Query, index_folder, open_answerer
    from protein2text.neighbours.grammar import PROFILE_QUESTION

    is_index = index_folder(model) is not None
    question = question or (PROFILE_QUESTION if is_index else DEFAULT_QUESTION)
    with at_work("ask", on_ray=False) as (row, _):
        config = AnswerConfig.parse(given if is_index else {"greedy": True, **given}, path="options")
        answerer = open_answerer(model, config)
        asked, looked_up = _looked_up(asked, answerer)
        groups = _groups(_given(asked, f" that {model} does not hold" if is_index else ""), together)
        queries = [Query(str(number), "", question, _readable(group, answerer)) for number, group in enumerate(groups)]
        for query in queries:
            answerer.check(query)
        replies = {reply.id: reply for batch in answerer.answer(queries) for reply in batch}
        row.note = f"{len(replies)} answers from {answerer.identity['name']}"
    rows = []
    for number, group in enumerate(groups):
        reply = replies[str(number)]
        known = {"read_from_index": True} if any(protein.accession in looked_up for protein in group) else {}
        rows.append(_row(group, question, {**known, "text": reply.text, **reply.details}))
    return rows


def _looked_up(
    asked: "list[tuple[str, list[Protein] | None]]", answerer: "Answerer"
) -> "tuple[list[tuple[str, list[Protein] | None]], set[str]]":
    """The same with the sequences of accessions that an index holds, and those accessions."""
    from protein2text.neighbours.index_answerer import IndexAnswerer
    from protein2text.proteins import Protein

    names = [text.upper() for text, read in asked if read is None]
    held = answerer.index.entries(names) if isinstance(answerer, IndexAnswerer) else {}
    found = [
        (text, [Protein(text.upper(), held[text.upper()].sequence)] if read is None and text.upper() in held else read)
        for text, read in asked
    ]
    return found, set(held)


def _readable(group: "tuple[Protein, ...]", answerer: "Answerer") -> "tuple[Protein, ...]":
    """The proteins, if the answerer can read their letters and lengths.

    Raises:
        RecordError: it cannot.
    """
    from protein2text.models.asking import residues_of

    for protein in group:
        residues_of(protein.sequence, answerer.reading, protein.accession)
    return group


def _row(group: "tuple[Protein, ...]", question: str, answer: Row) -> Row:
    return {"proteins": [protein.accession for protein in group], "question": question, **answer}


def _print(row: Row, several: bool, as_json: bool) -> None:
    if as_json:
        print_json(row)
        return
    told = {**row.get("provenance", {}), **row}
    about, invented = told.get("neighbours", {}), told.get("context", {}).get("not_in_context", ())
    lines = [f">{' '.join(row['proteins'])}"] if several else []
    if row.get("read_from_index"):
        lines.append("The index holds this protein: its own entry is among the sources.")
    lines += [row["text"], *(f"Note: {note}." for note in about.get("notes", ()))]
    lines += [f"Note: it cites {', '.join(invented)}, which stood in no fact that it was given."] if invented else []
    if about.get("status") == "no_homologue":
        lines += map(_part, about["domain_hits"])
        lines += [near["text"] for near in about.get("remote", ())]
    typer.echo("\n".join([*lines, ""] if several else lines))


def _part(hit: Row) -> str:
    """What a characterised protein shares with a part of the query."""
    domains = ", ".join(f"{domain['value']} {domain['begin']}-{domain['end']}" for domain in hit["domains"])
    return (
        f"Part: residues {hit['query_begin']}-{hit['query_end']} align with residues {hit['target_begin']}-"
        f"{hit['target_end']} of {hit['accession']} {hit['name'] or ''} ({hit['identity']:.0%} identity, "
        f"E = {hit['evalue']:.0e}){f', which hold {domains}' if domains else ''}."
    )
