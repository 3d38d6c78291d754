"""A corpus and a split folder as ingest and split leave them, made of the sample world without Ray."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa

from protein2text.data.records import RECORD_SCHEMA, RECORD_VERSION, Record, make_record, write_shard
from protein2text.data.sample import SampleSize, pair_questions, questions_of, sample_proteins
from protein2text.data.sample_proteins import SampleProtein
from protein2text.data.sample_texts import describe
from protein2text.data.split_folder import write_split
from protein2text.models.chat import PLACEHOLDER
from protein2text.proteins import Protein

SMALL = SampleSize(per_combination=1, per_single_family=1, per_held_out_combination=1)


def question_record(record_id: str, proteins: list[Protein], question: str, answer: str, **known: Any) -> Record:
    messages = [
        {"role": "user", "content": f"{PLACEHOLDER}\n" * len(proteins) + question},
        {"role": "assistant", "content": answer},
    ]
    return make_record(record_id, proteins, source="made", messages=messages, **known)  # type: ignore[arg-type]


def write_corpus(folder: Path, records: list[Record]) -> str:
    write_shard(pa.Table.from_pylist(records, schema=RECORD_SCHEMA), folder / "records" / "part-00000.parquet")
    card = {"version": RECORD_VERSION, "checksum": "0" * 64, "shards": {"records": ["part-00000.parquet"]}}
    (folder / "card.json").write_text(json.dumps(card))
    return str(folder)


def write_sides(folder: Path, rows: list[dict[str, Any]], kind: str = "by_member") -> str:
    folder.mkdir(parents=True, exist_ok=True)
    empty = {"max_identity": None, "max_local_identity": None}
    write_split(folder, [{**empty, **row} for row in rows], {"kind": kind, "tool": "by hand"})
    return str(folder)


def write_sample_world(folder: Path, size: SampleSize = SMALL) -> dict[str, Any]:
    """Write the world of seed 0; returns the data section of a run configuration."""
    records: list[Record] = []
    rows: list[dict[str, Any]] = []
    rng = random.Random(0)
    for side, proteins in sample_proteins(0, size).items():
        rows += [{"accession": p.accession, "split": side, "cluster": p.group} for p in proteins]
        for protein in proteins:
            records.append(
                make_record(protein.accession, [_plain(protein)], source="made", text=describe(protein.facts, rng))
            )
            for number, asked in enumerate(questions_of(protein, rng)):
                records.append(_record(f"{protein.accession}:q{number}", [protein], asked))
        for number, (first, second, asked) in enumerate(pair_questions(proteins, 0.25, rng)):
            records.append(_record(f"{first.accession}+{second.accession}:q{number}", [first, second], asked))
    return {"corpus": [write_corpus(folder / "corpus", records)], "split": write_sides(folder / "split", rows)}


def _plain(protein: SampleProtein) -> Protein:
    return Protein(protein.accession, protein.sequence)


def _record(record_id: str, proteins: list[SampleProtein], asked: Any) -> Record:
    return question_record(
        record_id,
        [_plain(protein) for protein in proteins],
        asked.question,
        asked.answer,
        question_kind=asked.question_kind,
        facts=list(asked.facts),
    )
