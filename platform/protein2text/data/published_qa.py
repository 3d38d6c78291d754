"""The published layout of questions and answers: what a record gives back, key for key as it was read.

Ingest mends texts (escaped quotes, references) and keeps what the layout does not name apart. Whatever cannot be told
from the record itself is kept in its provenance under ``original``, so that the way back is exact.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protein2text.data.records import load_card, open_shard, stream_records
from protein2text.errors import ConfigError
from protein2text.outputs import naming_a_full_disk, refuse_url

KEYS = ("long_format_id", "id", "protein", "pmc_id", "amino_seq", "conversations")
OPTIONAL_KEYS = ("question_kind", "facts")
_SPEAKERS = {"user": "human", "assistant": "gpt"}
_EVERY = 1000

Progress = Callable[[dict[str, Any]], None]
"""Called with ``{"stage": "export", "records": int}``."""


@dataclass(frozen=True)
class Export:
    """What was written. ``left_out`` counts by reason what was not."""

    output: str
    exported: int
    left_out: dict[str, int]
    left_out_file: str
    """JSON lines that name each of them."""


def entry_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """The entry that a question was read from; for one that was made here, an entry in the published layout."""
    provenance = json.loads(record["provenance"] or "{}")
    kept = json.loads(provenance["original"]) if "original" in provenance else {}
    plain = _plain_entry(record, provenance)
    values = {**plain, **kept.get("values", {})}
    return {key: values[key] for key in kept.get("keys", plain)}


def original_of(entry: Mapping[str, Any], record: Mapping[str, Any]) -> str | None:
    """What `entry_of` needs beside the record to give the entry back: its keys and the values that differ, as JSON."""
    plain = _plain_entry(record, json.loads(record["provenance"] or "{}"))
    values = {key: value for key, value in entry.items() if key not in plain or not _same(value, plain[key])}
    if not values and list(entry) == list(plain):
        return None
    return json.dumps({"keys": list(entry), "values": values})


def _plain_entry(record: Mapping[str, Any], provenance: Mapping[str, Any]) -> dict[str, Any]:
    """The published keys as a record tells them, in their order; those that it knows nothing of are not there."""
    accessions = [protein["accession"] for protein in record["proteins"]]
    sequences = [protein["sequence"] for protein in record["proteins"]]
    single = len(accessions) == 1
    values = {
        "long_format_id": record["record_id"],
        "id": accessions[0] if single else accessions,
        "protein": provenance.get("name"),
        "pmc_id": provenance.get("pmc"),
        "amino_seq": sequences[0] if single else sequences,
        "conversations": [
            {"from": _SPEAKERS.get(turn["role"], turn["role"]), "value": turn["content"]}
            for turn in record["messages"] or ()
        ],
        "question_kind": record["question_kind"],
        "facts": record["facts"],
    }
    return {key: values[key] for key in (*KEYS, *OPTIONAL_KEYS) if values[key] is not None}


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON, the order of keys included; 1, 1.0 and true are three values."""
    return json.dumps(one) == json.dumps(other)


def export_questions(corpus: Sequence[str | Path], output: str | Path, progress: Progress | None = None) -> Export:
    """Write the questions of finished corpora as one JSON list, in the order of the corpora.

    Args:
        corpus: folders written by ingest or by QA generation.
        output: file to write; it appears only when it is whole.
        progress: told how far it is.

    Raises:
        MissingFile: no finished corpus.
        CorruptCheckpoint: a card or shard that cannot be read.
        ConfigError: the file exists, and no export wrote it.
        DiskFull: it does not fit on its disk; nothing of it stays.
    """
    path = Path(output).resolve()
    refuse_url(path)
    apart = path.with_name(f"{path.name}.left_out.jsonl")
    if path.exists() and not apart.is_file():
        raise ConfigError(str(path), "output", "exists and is no earlier export; choose another name")
    for folder in corpus:
        load_card(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = [file.with_name(f"{file.name}.tmp") for file in (apart, path)]
    try:
        with naming_a_full_disk(path.parent):
            exported, left_out = _write(corpus, parts[1], parts[0], progress)
            for part, file in zip(parts, (apart, path), strict=True):
                os.replace(part, file)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
    return Export(str(path), exported, dict(left_out.most_common()), str(apart))


def _write(
    corpus: Sequence[str | Path], part: Path, apart: Path, progress: Progress | None
) -> tuple[int, Counter[str]]:
    """Write both files; how many questions there are, and what was left out by reason."""
    left_out, exported = Counter[str](), 0
    with part.open("w", encoding="utf-8") as file, apart.open("w", encoding="utf-8") as others:
        file.write("[")
        for record in stream_records(corpus):
            if not record["messages"]:
                _leave_out(others, left_out, record["source"], record["record_id"], "no_question")
                continue
            lines = _text_of(entry_of(record)).split("\n")
            file.write(("," if exported else "") + "\n" + "\n".join(f"  {line}" for line in lines))
            exported += 1
            if progress is not None and exported % _EVERY == 0:
                progress({"stage": "export", "records": exported})
        file.write("\n]\n")
        for row in _refused(corpus):
            _leave_out(others, left_out, row["source"], row["record"] or row["place"], row["reason"])
    return exported, left_out


def _text_of(entry: Mapping[str, Any]) -> str:
    """Indented JSON; escaped where a letter stands alone that UTF-8 has no form for (half of a surrogate pair)."""
    text = json.dumps(entry, ensure_ascii=False, indent=2)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(entry, indent=2)
    return text


def _leave_out(file: Any, counts: Counter[str], source: str, record: str, reason: str) -> None:
    counts[reason] += 1
    file.write(json.dumps({"source": source, "record": record, "reason": reason}, ensure_ascii=False) + "\n")


def _refused(corpus: Sequence[str | Path]) -> Iterator[Mapping[str, Any]]:
    for folder in corpus:
        for name in load_card(folder)["shards"].get("quarantine", ()):
            with open_shard(str(Path(folder) / "quarantine" / name)) as shard:
                for batch in shard.iter_batches(columns=["source", "place", "record", "reason"]):
                    yield from batch.to_pylist()
