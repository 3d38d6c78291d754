"""What only the shards show: examples of what was refused, the balance of questions, a split's nearest pairs.

Shards are read a few rows at a time. What is kept is bounded: a few examples per reason, a number per protein.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from protein2text.data.records import open_shard
from protein2text.data.report.sections import Section, counts_section, sections_of, shown
from protein2text.data.tallies import QUESTION_EDGES, histogram

EXAMPLES_PER_REASON = 3
MAX_REASONS = 60
NUM_NEAREST = 20
_LEFT_OUT = ("reason", "raw", "sequence")


def refused_sections(folder: Path) -> list[Section]:
    """Examples by reason from every subfolder whose rows have one, ``quarantine/`` and ``rejects/`` among them."""
    sections = []
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        counts: Counter[str] = Counter()
        examples: dict[str, list[str]] = {}
        for row in _rows(place, "reason"):
            reason = str(row["reason"])
            counts[reason] += 1
            kept = examples.setdefault(reason, []) if reason in examples or len(examples) < MAX_REASONS else None
            if kept is not None and len(kept) < EXAMPLES_PER_REASON:
                kept.append(_told(row))
        if counts:
            rows = [(shown(reason), shown(counts[reason]), text) for reason in examples for text in examples[reason]]
            rows.sort(key=lambda row: (-counts[row[0]], row[0]))
            left = len(counts) - len(examples)
            note = f"{left} further reasons are not shown." if left else ""
            header = ("Reason", "Rows", "Example")
            sections.append(Section(f"Refused, by reason ({place.name})", header, tuple(rows), note=note))
    return sections


def question_sections(folder: Path) -> list[Section]:
    """How questions are answered, and how many there are per protein; nothing where there are no questions."""
    answers: Counter[str] = Counter()
    per_protein: Counter[bytes] = Counter()
    for row in _rows(folder / "records", "messages", ("messages", "proteins.list.element.checksum")):
        if row["messages"]:
            answers[_answer_kind(row["messages"][-1]["content"])] += 1
            per_protein.update({bytes.fromhex(protein["checksum"][:16]) for protein in row["proteins"]})
    if not answers:
        return []
    mean = per_protein.total() / len(per_protein)
    note = f"{len(per_protein):,} proteins have {mean:.1f} questions each on average."
    (questions,) = sections_of({"questions_per_protein": histogram(per_protein.values(), QUESTION_EDGES)})
    return [
        counts_section("Answers", answers, "Answers that begin with yes or no, and all others."),
        replace(questions, note=note),
    ]


def split_sections(folder: Path) -> list[Section]:
    """Test proteins with the nearest training protein, the nearest first."""
    rows = [row for row in _rows(folder, "max_identity") if row["split"] == "test" and row["nearest"] is not None]
    rows.sort(key=lambda row: (-(row["max_identity"] or 0.0), -row["max_local_identity"], row["accession"]))
    header = ("Test protein", "Nearest outside test", "Highest identity", "Highest local identity", "Cluster")
    keys = ("accession", "nearest", "max_identity", "max_local_identity", "cluster")
    table = tuple(tuple(shown(row[key]) for key in keys) for row in rows[:NUM_NEAREST])
    note = f"{len(rows):,} test proteins have a significant alignment outside test; the nearest {len(table)} are shown."
    return [Section("Nearest pairs", header, table, note=note)]


def _rows(folder: Path, column: str, columns: Sequence[str] | None = None) -> Iterator[Mapping[str, Any]]:
    """Rows of a folder's shards that have a column."""
    for path in sorted(folder.glob("*.parquet")):
        with open_shard(str(path)) as shard:
            if column in shard.schema_arrow.names:
                yield from (row for batch in shard.iter_batches(256, columns=columns) for row in batch.to_pylist())


def _told(row: Mapping[str, Any]) -> str:
    """A refused row in one text: what it says of itself, field by field."""
    fields = ((key, value) for key, value in row.items() if key not in _LEFT_OUT and value not in (None, "", []))
    return "\n".join(f"{key}: {shown(value)}" for key, value in fields)


def _answer_kind(answer: str) -> str:
    first = answer.casefold().lstrip("\"'“‘( ").split(maxsplit=1)[:1]
    word = first[0].rstrip(".,;:!\"'”’)") if first else ""
    return word if word in ("yes", "no") else "other"
