"""What the tests of whole runs share: a generator's answers by hand, and what a finished folder must hold."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from protein2text.data.passages import Passage
from protein2text.data.qa.generator_config import GeneratorConfig
from protein2text.data.qa.run import QaSummary
from protein2text.data.records import corpus_checksum, iter_local, load_card, record_shards
from tests.data.qa.answer_server import AnswerServer, Reply
from tests.data.qa.literature import passage


def pair(question: str, answer: str) -> dict[str, str]:
    return {"question": question, "answer": answer}


def wrote(pairs: list[dict[str, str]]) -> Reply:
    return Reply(json.dumps({"pairs": pairs}))


def config(server: AnswerServer, **changed: Any) -> GeneratorConfig:
    settings = {"max_new_tokens": 500, "temperature": 0.0, "top_p": 1.0, **changed}
    return GeneratorConfig(model="hand", url=server.url, **settings)


def many(count: int) -> list[Passage]:
    return [
        passage(number, f"P{number % 7:05d}", [f"NAME{number % 7}"], f"NAME{number % 7} binds ligand number {number}.")
        for number in range(1, count + 1)
    ]


def abstract_in(body: dict[str, Any]) -> str:
    (abstract,) = re.findall(r"<abstract>\n(.*)\n</abstract>", body["messages"][0]["content"])
    return str(abstract)


def rows_of(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [row for path in sorted((folder / kind).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def assert_nothing_lost(summary: QaSummary, folder: Path) -> None:
    """Summary, shards and card tell the same, and each refusal says why."""
    records, rejects = iter_local([folder]), rows_of(folder, "rejects")
    assert (summary.records, summary.rejected) == (len(records), len(rejects))
    assert summary.rows == len(records) + len(rejects)
    ids = [row["record_id"] for row in (*records, *rejects)]
    assert len(set(ids)) == len(ids)
    assert summary.reasons == Counter(row["reason"] for row in rejects)
    assert all(row["message"] for row in rejects)
    card = load_card(folder)
    assert card["funnel"][0]["left"] == summary.rows
    assert card["funnel"][-1]["left"] == summary.records
    assert corpus_checksum(folder) == card["checksum"] == summary.checksum
    assert len(record_shards(folder)) == len(card["shards"]["records"])
