"""Questions and answers in the published schema, and its extension to two proteins.

Published: ``long_format_id, id, protein, pmc_id, amino_seq, conversations``. For a question about two proteins ``id``,
``protein`` and ``amino_seq`` are lists of two and the human turn holds two placeholders. ``question_kind`` and
``facts`` are optional. `data.published_qa` is the way back.
"""

import re
from functools import partial
from typing import Any

from protein2text.data.evidence import strip_evidence
from protein2text.data.published_qa import original_of
from protein2text.data.readers.entries import Place, checked_protein
from protein2text.data.records import PLACEHOLDER, Message, Record, make_record
from protein2text.data.whole_text import closes
from protein2text.errors import UnusableRecord

_ESCAPED_QUOTE = re.compile(r"""\\(['"])""")


def parse(entry: dict[str, Any], place: Place) -> Record:
    """One question with its answer.

    Raises:
        UnusableRecord: turns, placeholders or proteins that do not fit each other, or a truncated question or answer.
    """
    accessions, sequences = (_listed(entry.get(key), key, place) for key in ("id", "amino_seq"))
    made_id = f"{'+'.join(accessions)}:{place.place}"
    record_id = _text(entry.get("long_format_id") or made_id, "long_format_id", place)
    kind, licence = (
        None if entry.get(key) is None else _text(entry[key], key, place) for key in ("question_kind", "licence")
    )
    facts = entry.get("facts")
    facts = None if facts is None else _listed(facts, "facts", place)
    if len(accessions) != len(sequences) or len(sequences) not in (1, 2):
        raise UnusableRecord(
            "bad_proteins",
            record_id,
            "id, amino_seq",
            f"{len(accessions)} accessions and {len(sequences)} sequences",
            "a question is about one protein or two",
            "Give one accession per sequence.",
        )
    proteins = [checked_protein(*pair, place) for pair in zip(accessions, sequences, strict=True)]
    question, answer = _turns(entry.get("conversations"), record_id)
    opening = f"{PLACEHOLDER}\n" * len(proteins)
    if not question.startswith(opening) or question.count(PLACEHOLDER) != len(proteins):
        raise UnusableRecord(
            "bad_placeholder",
            record_id,
            "conversations, human turn",
            f"{question.count(PLACEHOLDER)} placeholders in {question[:60]!r}",
            f"it must begin with {PLACEHOLDER} and a line break, once for each of its {len(proteins)} proteins",
            "Write the placeholders first, then the question.",
        )
    mended_question, mended_answer = _mend(question.removeprefix(opening)), _mend(answer)
    _whole(mended_question, record_id, "question")
    _whole(mended_answer, record_id, "answer")
    messages: list[Message] = [
        {"role": "user", "content": opening + mended_question},
        {"role": "assistant", "content": mended_answer},
    ]
    mended = (mended_question, mended_answer) != (question.removeprefix(opening).strip(), answer.strip())
    provenance = {
        "name": entry.get("protein"),
        "pmc": entry.get("pmc_id"),
        "category": entry.get("category"),
        "licence": licence,
        "mended": mended or None,
    }
    record = partial(
        make_record,
        record_id,
        proteins,
        source=place.source,
        messages=messages,
        question_kind=kind,
        facts=facts,
    )
    original = original_of(entry, record(provenance=provenance))
    return record(provenance={**provenance, "original": original})


def _text(value: Any, key: str, place: Place) -> str:
    """A text; a whole number may stand for one."""
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise UnusableRecord(
            "bad_field", place.source, f"{place.place}, {key}", repr(value)[:60], "a text is needed",
            "Write it in quotes, or leave it out.",
        )  # fmt: skip
    return str(value)


def _listed(value: Any, key: str, place: Place) -> list[str]:
    values = [] if value is None else value if isinstance(value, list) else [value]
    return [_text(item, key, place) for item in values]


def _turns(conversations: Any, record_id: str) -> tuple[str, str]:
    turns = conversations if isinstance(conversations, list) else []
    speakers = [turn.get("from") if isinstance(turn, dict) else turn for turn in turns]
    if speakers != ["human", "gpt"]:
        raise UnusableRecord(
            "bad_turns",
            record_id,
            "conversations",
            f"turns from {speakers}",
            "one human turn and one gpt turn are needed",
            "Write one record per question.",
        )
    texts = [turn.get("value") or "" for turn in turns]
    for text, speaker in zip(texts, speakers, strict=True):
        if not isinstance(text, str):
            raise UnusableRecord(
                "bad_turns", record_id, f"conversations, {speaker} turn", f"value {text!r}"[:60], "a text is needed",
                "Write it in quotes, or leave the record out.",
            )  # fmt: skip
    return texts[0], texts[1]


def _mend(text: str) -> str:
    """Undo escaped quotes and drop references that no sequence can reveal; white space at the ends goes too."""
    return _strip_lines(_ESCAPED_QUOTE.sub(r"\1", text))


def _strip_lines(text: str) -> str:
    """Strip evidence line by line, so that a text of several lines keeps them."""
    return "\n".join(strip_evidence(line) for line in text.strip().split("\n"))


def _whole(text: str, record_id: str, place: str) -> None:
    """Refuse a text that is empty or was cut: a trailing backslash, or quotes and brackets that do not close."""
    if not text:
        raise UnusableRecord("empty_text", record_id, place, "no text", "one is needed", "Remove the record.")
    if not closes(text):
        raise UnusableRecord(
            "truncated",
            record_id,
            place,
            f"ends in {text[-40:]!r}",
            "a whole text closes its quotes and brackets and does not end in a backslash",
            "Restore the text from its origin, or leave it out.",
        )
