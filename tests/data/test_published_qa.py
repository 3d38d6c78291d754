"""`data.published_qa`: what was read in the published layout comes back key for key, value for value."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protein2text.data.corpus_writer import CorpusWriter
from protein2text.data.parsing import OUTCOME_SCHEMA
from protein2text.data.published_qa import entry_of, export_questions
from protein2text.data.readers.entries import Place
from protein2text.data.readers.qa_json import parse
from protein2text.data.records import RECORD_SCHEMA
from protein2text.errors import ConfigError, CorruptCheckpoint, MissingFile, RecordError

QUESTION = "<protein_sequence>\nWhat is it?"
TWO_PROTEINS: dict[str, Any] = {
    "id": ["P1", "P2"],
    "long_format_id": "P1+P2_0",
    "amino_seq": ["MKV", "MKL"],
    "protein": ["One", "Two"],
    "conversations": [
        {"from": "human", "value": "<protein_sequence>\n<protein_sequence>\nAre they alike?"},
        {"value": "Yes, both bind ATP (PubMed:1).", "from": "gpt"},
    ],
    "facts": [],
    "question_kind": "pair",
}


def same(one: Any, other: Any) -> bool:
    """Equal with the order of keys, and with numbers of one type."""
    return json.dumps(one) == json.dumps(other)


def outcome(entry: dict[str, Any], number: int) -> dict[str, Any]:
    """A row as ingest makes it: a record, or a refusal."""
    place = f"entry {number}"
    try:
        return {**parse(entry, Place("qa.json", place, 4096)), "place": place}
    except RecordError as error:
        refusal = {"record": error.record, "reason": error.reason, "value": error.value[:50], "message": str(error)}
        return {"source": "qa.json", "place": place, **refusal}


def corpus_of(entries: list[dict[str, Any]], folder: Path) -> tuple[str, dict[int, str]]:
    """A corpus of entries, and the places and names of those that were refused."""
    rows = [outcome(entry, number) for number, entry in enumerate(entries)]
    writer = CorpusWriter(folder)
    writer.add(pa.Table.from_pylist(rows, schema=OUTCOME_SCHEMA))
    writer.finish([{"name": "qa.json", "sha256": "0" * 64}], max_residues=4096)
    return str(folder), {place: row["record"] for place, row in enumerate(rows) if row.get("reason")}


@pytest.mark.parametrize("name", ["protein2text_sample.json", "microbiome_benchmark.json"])
def test_real_files_come_back_as_they_were(real_data: Path, tmp_path: Path, name: str) -> None:
    entries = json.loads((real_data / "qa" / name).read_text())
    corpus, refused = corpus_of(entries, tmp_path / "corpus")
    made = export_questions([corpus], tmp_path / "out.json")
    expected = [entry for place, entry in enumerate(entries) if place not in refused]
    assert same(json.loads((tmp_path / "out.json").read_text()), expected)
    assert made.exported == len(expected) == len(entries) - len(refused)
    left_out = [json.loads(line) for line in Path(made.left_out_file).read_text().splitlines()]
    assert [row["record"] for row in left_out] == list(refused.values())
    assert sum(made.left_out.values()) == len(refused)
    if name == "microbiome_benchmark.json":
        mended = [entry for entry in expected if "PubMed" in entry["conversations"][1]["value"]]
        assert mended, "the way back is exact although references are stripped on the way in"


def test_an_export_takes_the_place_of_an_earlier_one_only(tmp_path: Path) -> None:
    writer = CorpusWriter(tmp_path / "corpus")
    writer.add(pa.Table.from_pylist([outcome(TWO_PROTEINS, 0)], schema=OUTCOME_SCHEMA))
    writer.finish([{"name": "mixed", "sha256": "0" * 64}], max_residues=10)
    card = tmp_path / "corpus" / "card.json"
    before = card.read_bytes()
    with pytest.raises(ConfigError, match="exists and is no earlier export"):
        export_questions([tmp_path / "corpus"], card)
    assert card.read_bytes() == before
    for _ in range(2):
        assert export_questions([tmp_path / "corpus"], tmp_path / "questions.json").exported == 1
    card.write_text("<html>")
    with pytest.raises(CorruptCheckpoint, match=r"card\.json: no JSON"):
        export_questions([tmp_path / "corpus"], tmp_path / "other.json")
    assert not list(tmp_path.glob("other*"))


def test_what_is_no_question_is_left_out_and_named(tmp_path: Path, described: Any) -> None:
    writer = CorpusWriter(tmp_path / "corpus")
    bad = TWO_PROTEINS | {"amino_seq": ["MKV"], "long_format_id": "bad"}
    rows = [outcome(TWO_PROTEINS, 0), outcome(bad, 1), {**described("D1", "MKV"), "place": "line 1"}]
    writer.add(pa.Table.from_pylist(rows, schema=OUTCOME_SCHEMA))
    writer.finish([{"name": "mixed", "sha256": "0" * 64}], max_residues=10)
    made = export_questions([tmp_path / "corpus"], tmp_path / "new" / "out.json")
    assert made.exported == 1
    assert made.left_out == {"no_question": 1, "bad_proteins": 1}
    assert same(json.loads(Path(made.output).read_text()), [TWO_PROTEINS])
    lines = [json.loads(line) for line in Path(made.left_out_file).read_text().splitlines()]
    assert [(line["record"], line["reason"]) for line in lines] == [("D1", "no_question"), ("bad", "bad_proteins")]
    with pytest.raises(MissingFile):
        export_questions([tmp_path / "nothing"], tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()


words = st.text(st.characters(codec="utf-8", exclude_characters="\ufffd"), max_size=20)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
answers = st.lists(
    st.sampled_from(
        [
            "It binds ATP.",
            " It\\'s ",
            '"quoted"',
            "(PubMed:12)",
            "{ECO:0000269|PubMed:1}",
            "\n",
            "  ",
            "é\u2028",
            "(",
            ".",
        ]
    ),
    min_size=1,
    max_size=5,
).map("".join)


@st.composite
def entries(draw: st.DrawFn) -> dict[str, Any]:
    """An entry with keys in any order, some missing, some of other types, some that the layout does not know."""
    num = draw(st.sampled_from([1, 1, 2]))
    accessions, sequences = (
        [f"P{n}" for n in range(num)],
        [draw(st.sampled_from(["MKV", "mkv ", "ACDE*"])) for _ in range(num)],
    )
    single = num == 1 and draw(st.booleans())
    human = f"{'<protein_sequence>' + chr(10)}" * num + draw(answers)
    known: dict[str, Any] = {
        "long_format_id": draw(words | st.integers()),
        "id": accessions[0] if single else accessions,
        "protein": draw(anything),
        "pmc_id": draw(anything),
        "amino_seq": sequences[0] if single else sequences,
        "conversations": [
            draw(st.permutations([("from", "human"), ("value", human)]).map(dict)),
            {"from": "gpt", "value": draw(answers), **draw(st.dictionaries(words, anything, max_size=1))},
        ],
        "question_kind": draw(st.none() | words),
        "facts": draw(st.none() | st.lists(words, max_size=2)),
        "category": draw(anything),
        "licence": draw(st.none() | words),
    }
    needed = ["id", "amino_seq", "conversations"]
    kept = draw(st.sets(st.sampled_from(sorted(known.keys() - set(needed)))))
    items = [(key, known[key]) for key in (*needed, *sorted(kept))] + list(
        draw(st.dictionaries(words, anything, max_size=2)).items()
    )
    return dict(draw(st.permutations(items)))


@settings(deadline=None)
@given(entries())
def test_any_entry_that_is_read_comes_back(entry: dict[str, Any]) -> None:
    try:
        record = parse(json.loads(json.dumps(entry)), Place("qa.json", "entry 0", 4096))
    except RecordError:
        return
    (stored,) = pa.Table.from_pylist([dict(record)], schema=RECORD_SCHEMA).to_pylist()
    assert same(entry_of(stored), entry)
