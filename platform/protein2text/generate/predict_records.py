"""Questions from the published JSON, and a reason for every record that cannot be asked.

Published: a list of ``long_format_id, id, protein, pmc_id, amino_seq, conversations``; JSON lines of the same are read
too. For a question about several proteins ``id`` and ``amino_seq`` are lists.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from protein2text.data.readers.entries import Entry
from protein2text.data.readers.formats import read_entries
from protein2text.data.sources import read_chunks
from protein2text.errors import ConfigError, MissingFile, RecordError, UnusableRecord
from protein2text.models.asking import residues_of
from protein2text.models.chat import PLACEHOLDER
from protein2text.models.long_proteins import Reading
from protein2text.proteins import Protein

SPEAKERS = (["human"], ["human", "gpt"])
SHOWN = 60
"""Letters of a bad value that an error shows."""


@dataclass(frozen=True)
class Question:
    """One record of the input."""

    entry: int
    """Its number in the input, from 0."""
    place: str
    """Where it stands in the input."""
    record_id: str
    proteins: tuple[Protein, ...]
    text: str
    """The human turn without placeholders, as the published outputs call ``Prompt``."""
    answer: str | None
    """Ground truth, where there is one."""


@dataclass(frozen=True)
class Rejection:
    """A record that cannot be asked."""

    entry: int
    place: str
    """Where it stands in the input."""
    record: str
    reason: str
    """A code to count by."""
    message: str
    """What is wrong, the value, the limit and what to do."""


def read_questions(path: Path, reading: Reading) -> Iterator[Question | Rejection]:
    """Every record of a file, gzipped or not, in order.

    Args:
        path: a JSON list, or JSON lines.
        reading: the model's letters, and the lengths that it refuses.

    Raises:
        MissingFile: no such file.
        ConfigError: an empty one.
    """
    if not path.is_file():
        raise MissingFile(str(path), "questions", "Give a JSON list of records in the published layout.")
    sequences: dict[str, str] = {}
    for number, entry in enumerate(_entries(path)):
        try:
            question = _parse(entry, number, reading)
        except RecordError as error:
            yield Rejection(number, entry.place, error.record, error.reason, str(error))
            continue
        proteins = tuple(
            Protein(protein.accession, sequences.setdefault(protein.sequence, protein.sequence))
            for protein in question.proteins
        )
        yield replace(question, proteins=proteins)


def _entries(path: Path) -> Iterator[Entry]:
    entries = read_entries(str(path), "json")
    first = next(entries, None)
    if first is not None:
        return chain([first], entries)
    if not any(chunk.strip() for chunk in read_chunks(str(path))):
        raise ConfigError(str(path), "input", "is empty; give a JSON list of records in the published layout")
    return entries


def _parse(entry: Entry, number: int, reading: Reading) -> Question:
    fields = _fields(entry)
    accessions, sequences = ([*map(str, _listed(fields.get("id")))], _listed(fields.get("amino_seq")))
    record = str(fields.get("long_format_id") or "+".join(accessions) or entry.place)
    for key in ("id", "amino_seq", "conversations"):
        if not fields.get(key):
            limit, remedy = "each record needs id, amino_seq and conversations", f"Add {key}."
            raise UnusableRecord("missing_key", record, key, "missing or empty", limit, remedy)
    if len(accessions) != len(sequences) or not all(isinstance(sequence, str) for sequence in sequences):
        kinds = ", ".join(type(sequence).__name__ for sequence in sequences)
        value = f"{len(accessions)} accessions, {len(sequences)} sequences ({kinds})"
        limit, remedy = "each sequence is a text and has its accession", "Give a text, or two lists of one length."
        raise UnusableRecord("bad_proteins", record, "id, amino_seq", value, limit, remedy)
    names = [record] if len(sequences) == 1 else [f"{record} ({accession})" for accession in accessions]
    cleaned = [residues_of(sequence, reading, name) for name, sequence in zip(names, sequences, strict=True)]
    proteins = tuple(Protein(*pair) for pair in zip(accessions, cleaned, strict=True))
    turns = _turns(fields["conversations"], record)
    question = _question(turns[0], len(proteins), record)
    return Question(number, entry.place, record, proteins, question, turns[1] if len(turns) > 1 else None)


def _fields(entry: Entry) -> dict[str, Any]:
    remedy = "Write it as one JSON object in UTF-8."
    if entry.raw.lstrip().startswith(">"):
        remedy = "FASTA is what `protein2text ask FILE --question TEXT` takes, many proteins at once."
    if entry.problem is not None or "\ufffd" in entry.raw:
        value = entry.problem or "bytes that are not UTF-8, or U+FFFD in their place"
        raise UnusableRecord("unreadable", entry.place, "text", value, "a record is a JSON object", remedy)
    try:
        fields = json.loads(entry.raw)
        json.dumps(fields, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:  # of syntax, an escaped half of a surrogate pair, or a deep nest
        limit = "a record is a JSON object"
        raise UnusableRecord("unreadable", entry.place, "text", str(error), limit, remedy) from None
    if not isinstance(fields, dict):
        value = repr(fields)[:SHOWN]
        raise UnusableRecord("unreadable", entry.place, "text", value, "a record is a JSON object", remedy)
    return fields


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _turns(conversations: Any, record: str) -> list[str]:
    """What the human and, where there is ground truth, the model says."""
    turns = [turn if isinstance(turn, dict) else {} for turn in _listed(conversations)]
    speakers, texts = [turn.get("from") for turn in turns], [turn.get("value") for turn in turns]
    if speakers not in SPEAKERS or not all(isinstance(text, str) for text in texts):
        value = repr(conversations)[:SHOWN]
        limit = "one human turn is needed, and at most one gpt turn after it, each with a text"
        raise UnusableRecord("bad_turns", record, "conversations", value, limit, "Write one record per question.")
    return [str(text) for text in texts]


def _question(text: str, num_proteins: int, record: str) -> str:
    opening = f"{PLACEHOLDER}\n" * num_proteins
    question = text.removeprefix(opening)
    if PLACEHOLDER in question:
        value = f"{text.count(PLACEHOLDER)} placeholders in {text[:SHOWN]!r}"
        limit = f"{PLACEHOLDER} and a line break stand first, once for each of its {num_proteins} proteins, or nowhere"
        raise UnusableRecord("bad_placeholder", record, "human turn", value, limit, "Move the placeholders.")
    if not question.strip():
        limit, remedy = "a question is needed", "Write one, or remove the record."
        raise UnusableRecord("empty_text", record, "human turn", "no question", limit, remedy)
    return question
