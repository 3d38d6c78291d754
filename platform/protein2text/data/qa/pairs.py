"""Texts to checked pairs, one row each, in parallel: the first half of step 2, which Ray Data runs."""

import json
from collections.abc import Iterator
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from protein2text.data.passages import Passage
from protein2text.data.qa.checks import CheckedPair, check_generated
from protein2text.data.qa.duplicates import fingerprint
from protein2text.data.qa.generated_folder import GENERATED_SCHEMA, GeneratedFolder, GeneratedRow
from protein2text.data.qa.passage_folder import PassageFolder, read_group
from protein2text.data.qa.rules import QaRules
from protein2text.data.records import RECORD_SCHEMA, make_record, provenance_json
from protein2text.models.chat import question_messages
from protein2text.proteins import Protein

PAIR_SCHEMA = pa.schema(
    [
        *RECORD_SCHEMA,
        ("passage_id", pa.string()),
        ("number", pa.int32()),
        ("accession", pa.string()),
        ("question", pa.string()),
        ("answer", pa.string()),
        ("reason", pa.string()),
        ("message", pa.string()),
        ("flags", pa.list_(pa.string())),
        ("words", pa.binary()),
        ("shingles", pa.list_(pa.uint32())),
        ("stated", pa.int64()),
    ]
)
"""A record, what was found about it, and the fingerprint of an accepted pair, by which duplicates are told.
``number`` is the pair's place in its passage, from 1; number 0 stands for a passage without pairs, refused if
there is a reason."""
SORTED_BY = ["passage_id", "number"]
SOURCE = "literature"


def plan(passages: PassageFolder, texts: GeneratedFolder) -> list[dict[str, Any]]:
    """What is to be checked: row groups of texts, each with the row groups that hold its passages."""
    tasks = []
    for kind in ("generated", "failed"):
        for path, group, ids in texts.groups(kind):
            places = sorted({passages.place[passage_id] for passage_id in ids}, key=lambda at: (at.path, at.number))
            tasks.append(
                {
                    "path": str(path),
                    "group": group,
                    "passage_paths": [place.path for place in places],
                    "passage_groups": [place.number for place in places],
                }
            )
    return tasks


def check_texts(batch: pa.Table, *, rules: QaRules) -> Iterator[pa.Table]:
    """Planned texts to rows of ``PAIR_SCHEMA``, one table per row group of texts."""
    for task in batch.to_pylist():
        with pq.ParquetFile(task["path"]) as file:
            written = file.read_row_group(task["group"]).select(GENERATED_SCHEMA.names).to_pylist()
        wanted = {row["passage_id"] for row in written}
        found: dict[str, Passage] = {}
        for path, group in zip(task["passage_paths"], task["passage_groups"], strict=True):
            rows = read_group(path, group).to_pylist()
            found |= {row["passage_id"]: cast(Passage, row) for row in rows if row["passage_id"] in wanted}
        pairs = [pair for row in written for pair in _pairs(cast(GeneratedRow, row), found[row["passage_id"]], rules)]
        yield pa.Table.from_pylist(pairs, schema=PAIR_SCHEMA)


def _pairs(row: GeneratedRow, passage: Passage, rules: QaRules) -> list[dict[str, Any]]:
    base = {"passage_id": row["passage_id"], "accession": passage["protein"]["accession"], "number": 0}
    if row["text"] is None:
        refusal = {"reason": row["reason"], "message": row["message"]}
        return [{**base, **refusal, "record_id": row["passage_id"], "provenance": _provenance(row, passage, None)}]
    checked = check_generated(row["text"], passage, rules)
    if not checked:
        return [base]
    return [_pair(number, pair, row, passage) | base | {"number": number} for number, pair in enumerate(checked, 1)]


def _pair(number: int, pair: CheckedPair, row: GeneratedRow, passage: Passage) -> dict[str, Any]:
    found: dict[str, Any] = {
        "question": pair.question,
        "answer": pair.answer,
        "reason": pair.reason,
        "message": pair.message,
        "flags": list(pair.flags),
    }
    record_id = f"{row['passage_id']}:{number}"
    if pair.reason is not None:
        provenance = _provenance(row, passage, pair)
        return {"record_id": record_id, "question_kind": pair.kind, "provenance": provenance, **found}
    protein = Protein(passage["protein"]["accession"], passage["protein"]["sequence"])
    messages = [*question_messages(pair.question, num_proteins=1), {"role": "assistant", "content": pair.answer}]
    record = make_record(record_id, [protein], source=SOURCE, messages=cast(Any, messages), question_kind=pair.kind)
    read = fingerprint(pair.question, pair.answer)
    found |= {"words": read.words, "shingles": list(read.shingles), "stated": read.facts}
    return {**record, "provenance": _provenance(row, passage, pair), **found}


def _provenance(row: GeneratedRow, passage: Passage, pair: CheckedPair | None) -> str:
    """Where a pair comes from, down to the sentences and the seed; the flags are added when all are known."""
    origin = {
        "name": (passage["names"] or passage["found"])[0],
        "pmc": [passage["pmcid"]] if passage["pmcid"] else [],
        "article_version": passage["article_version"],
        "passage_id": passage["passage_id"],
        "generator": json.loads(row["generator"]),
        "prompt_version": row["prompt_version"],
        "decoding": json.loads(row["decoding"]),
        "seed": row["seed"],
    }
    return provenance_json({**origin, "licence": passage["licence"], "grounding": pair.grounding if pair else ()}) or ""
