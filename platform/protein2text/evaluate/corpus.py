"""From stored records and their split to the items of an evaluation."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from protein2text.data.split_folder import Split, load_split
from protein2text.errors import MissingFile, RecordError
from protein2text.evaluate.evaluation_config import EvaluationConfig
from protein2text.evaluate.facts import Vocabulary, parse_facts
from protein2text.evaluate.items import Corpus, Item
from protein2text.models.chat import description_messages, question_of
from protein2text.proteins import Protein

DESCRIPTION_KIND = "description"
OTHER_KIND = "other questions"
MIN_REPEATS = 5
"""A question without a kind becomes a kind of its own when its wording stands in this many records."""


def load_corpus(records: Sequence[dict[str, Any]], split_dir: str | None, config: EvaluationConfig) -> Corpus:
    """Divide records by the split.

    Questions are the test items; where the test side has none, descriptions are (alignment-style records).

    Args:
        records: rows as ``data.records.iter_local`` gives them.
        split_dir: folder written by ``data split``.
        config: how many items at most, and the seed of the draw.

    Raises:
        MissingFile: no split is configured, or it holds no test record.
    """
    if split_dir is None:
        raise MissingFile(
            "data.split", "the division into training and test", "Run `protein2text data split` and name its folder."
        )
    split = load_split(split_dir)
    kinds = question_kinds(records)
    sides: dict[str, list[Item]] = {"train": [], "validation": [], "test": []}
    identities = {row["accession"]: row["max_identity"] for row in split.rows}
    num_mixed = 0
    for record in records:
        side = split.of_record(record)
        if side is None:
            num_mixed += 1
        elif side in sides and (record["messages"] is not None or record["text"] is not None):
            sides[side].append(make_item(record, split, identities, kinds))
    test = [item for item in sides["test"] if item.kind != DESCRIPTION_KIND] or sides["test"]
    if not test:
        raise MissingFile(
            f"{split_dir}: test side",
            "test questions",
            "It holds no record; check that the split was made for this corpus.",
        )
    drawn = draw(test, config.max_items, config.seed)
    vocabulary = Vocabulary(item.facts for side in sides.values() for item in side if item.facts)
    return Corpus(tuple(drawn), tuple(sides["train"]), vocabulary, split.kind, split.card, num_mixed, len(test))


def draw(items: Sequence[Item], max_items: int | None, seed: int) -> list[Item]:
    """At most ``max_items``, chosen by hash of id and seed, in the order given: file order has no say in the choice."""
    if max_items is None or len(items) <= max_items:
        return list(items)
    keyed = sorted(items, key=lambda item: hashlib.sha256(f"{seed}/{item.item_id}".encode()).digest())
    kept = {item.item_id for item in keyed[:max_items]}
    return [item for item in items if item.item_id in kept]


def make_item(
    record: dict[str, Any], split: Split, identities: Mapping[str, float | None], kinds: Mapping[str, str]
) -> Item:
    """One item from one record.

    Args:
        record: a stored row.
        split: for the cluster of its first protein.
        identities: highest measured identity (0 to 1) by accession.
        kinds: kind by question, for records that name none.

    Raises:
        RecordError: a conversation that does not end with an assistant's answer, or unreadable facts.
    """
    record_id = str(record["record_id"])
    messages = record["messages"] or description_messages(record["text"], record_id)
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        raise RecordError(
            record_id,
            "messages",
            f"{len(messages)} turns",
            "a question and the assistant's answer are needed",
            "Correct the record.",
        )
    proteins = tuple(Protein(entry["accession"], entry["sequence"]) for entry in record["proteins"])
    question = question_of(messages)
    try:
        facts = None if record["facts"] is None else parse_facts(record["facts"])
    except ValueError as error:
        raise RecordError(
            record_id, "facts", str(error), "facts are a list of kind=value", "Correct the record."
        ) from None
    kind = (
        DESCRIPTION_KIND if record["messages"] is None else record["question_kind"] or kinds.get(question, OTHER_KIND)
    )
    measured = [identities.get(protein.accession) for protein in proteins]
    return Item(
        item_id=record_id,
        kind=kind,
        proteins=proteins,
        messages=tuple({"role": turn["role"], "content": turn["content"]} for turn in messages[:-1]),
        question=question,
        gold=messages[-1]["content"],
        facts=facts,
        unit=split.clusters.get(proteins[0].accession) or proteins[0].checksum,
        identity=max((identity for identity in measured if identity is not None), default=None),
    )


def question_kinds(records: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Wordings that occur often enough to be a kind, for records that name none."""
    wordings = Counter(
        question_of(record["messages"]) for record in records if record["messages"] and record["question_kind"] is None
    )
    return {wording: wording for wording, count in wordings.items() if count >= MIN_REPEATS}
