"""`data.report`: any finished folder becomes one page that fetches nothing, and records stay text in it."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from protein2text.data.records import QUARANTINE_SCHEMA, make_record, write_json, write_shard
from protein2text.data.report.page import write_report
from protein2text.data.report.sections import sections_of, shown
from protein2text.data.split import split
from protein2text.errors import ConfigError, CorruptCheckpoint, MissingFile
from protein2text.proteins import Protein

HOSTILE = "<script>alert(1)</script><img src='http://evil/x'>$\\frac$\x00\x1b[31m"


class Page(HTMLParser):
    """Text by tag, the rows of each table under its heading, and every address that a browser would fetch."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: set[str] = set()
        self.tables: dict[str, list[list[str]]] = {}
        self._open: list[str] = []
        self._heading = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._open.append(tag)
        self.fetched += [value for key, value in attrs if key in {"src", "href", "data"} and value and value[0] != "#"]
        if tag == "tr":
            self.tables.setdefault(self._heading, []).append([])
        if tag == "td":
            self.tables[self._heading][-1].append("")
        if tag == "h2":
            self._heading = ""

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "h2" in self._open:
            self._heading += data
        if "td" in self._open:
            self.tables[self._heading][-1][-1] += data

    def rows(self, heading: str) -> dict[str, str]:
        """First cell to second, of the table under a heading."""
        return {row[0]: row[1] for row in self.tables[heading] if len(row) > 1}


def asked(record_id: str, protein: Protein, answer: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": "<protein_sequence>\nWhat?"}, {"role": "assistant", "content": answer}]
    return dict(make_record(record_id, [protein], source="made", messages=messages))  # type: ignore[arg-type]


@pytest.fixture
def corpus(make_corpus: Any, described: Any) -> Path:
    proteins = [Protein(f"P{number}", "MKV" * (number + 10)) for number in range(4)]
    records = [described(protein.accession, protein.sequence) for protein in proteins]
    for number, answer in enumerate(
        ["Yes, it does.", "No.", "“No”, it is not.", "Nothing binds it.", "It binds.", HOSTILE]
    ):
        records.append(asked(f"P0_{number}", proteins[0], answer))
    records.append(asked("P1_0", proteins[1], "yes"))
    return Path(make_corpus(records))


def test_a_corpus_shows_its_counts_and_the_balance_of_its_questions(corpus: Path) -> None:
    made = write_report(corpus)
    page = Page(Path(made.report))
    card = json.loads((corpus / "card.json").read_text())
    assert page.rows("Counts")["records"] == str(card["counts"]["records"]) == "11"
    assert page.rows("Funnel") == {step["step"]: str(step["left"]) for step in card["funnel"]}
    assert page.rows("Licences") == {"not stated": "11"}
    assert page.rows("Answers") == {"other": "3", "no": "2", "yes": "2"}
    assert page.rows("Questions per protein") == {"1": "1", "2": "0", "3–5": "0", "6–10": "1", **dict.fromkeys(
        ("11–20", "21–50", "51–100", "101–200", "201 or more"), "0")}  # fmt: skip
    lengths = page.rows("Length histogram")
    assert lengths["1–50"] == "4"
    assert "svg" in page.tags
    assert card["checksum"] in page.rows("Made with").values()


def test_refused_rows_are_shown_by_reason_and_stay_text(corpus: Path) -> None:
    rows = [
        {"source": "x.tsv", "place": f"line {number}", "record": f"R{number}", "reason": reason, "value": HOSTILE,
         "message": "m" * 1000}
        for number, reason in enumerate(["truncated"] * 5 + ["too_long"] + [HOSTILE])
    ]  # fmt: skip
    write_shard(pa.Table.from_pylist(rows, schema=QUARANTINE_SCHEMA), corpus / "quarantine" / "part-00001.parquet")
    rejects = [{"reason": "R7", "question": HOSTILE, "pairs": [HOSTILE], "flags": None}]
    write_shard(pa.Table.from_pylist(rejects), corpus / "rejects" / "part-00000.parquet")
    card = json.loads((corpus / "card.json").read_text())
    strange = {HOSTILE: 3, "surrogate": "\ud800", "reasons": {HOSTILE: 2}, "note": HOSTILE, "kind": HOSTILE}
    (corpus / "card.json").write_text(json.dumps(card | strange))
    page = Page(Path(write_report(corpus).report))
    assert page.fetched == []
    assert not page.tags & {"script", "img", "iframe", "link"}
    table = [row for row in page.tables["Refused, by reason (quarantine)"] if row]
    assert [row[0] for row in table[:3]] == ["truncated"] * 3, "three examples of the commonest reason"
    assert [row[1] for row in table] == ["5", "5", "5", "1", "1"]
    assert "record: R0" in table[0][2]
    assert "<script>alert(1)</script>" in table[0][2]
    assert "(1,000 letters)" in table[0][2]
    (reject,) = (row for row in page.tables["Refused, by reason (rejects)"] if row)
    assert reject[:2] == ["R7", "1"]
    text = Path(write_report(corpus).report).read_bytes()
    assert b"\x00" not in text
    assert b"\x1b" not in text


def test_a_split_shows_what_it_claims_and_what_lies_nearest(
    make_corpus: Any, described: Any, sequences: Any, tmp_path: Path
) -> None:
    ancestor = sequences.random(100)
    proteins = {
        "A": ancestor,
        "B": sequences.mutant(ancestor, 0.2),
        "C": sequences.random(100),
        "D": sequences.random(90),
    }
    corpus = make_corpus([described(name, residues) for name, residues in proteins.items()])
    table = tmp_path / "sides.tsv"
    table.write_text("A\ttrain\tg\nB\ttest\tg\nC\ttest\th\nD\tvalidation\ti\n")
    folder = split([corpus], str(tmp_path / "split"), kind="by_member", assignment=str(table)).output
    made = write_report(folder, tmp_path / "pages" / "split.html")
    page = Page(Path(made.report))
    assert made.kind == "split, by_member"
    assert "claim recall only" in Path(made.report).read_text()
    assert page.rows("Proteins")["test"] == "2"
    (pair,) = (row for row in page.tables["Nearest pairs"] if row)
    assert pair[:2] == ["B", "A"]
    assert float(pair[2]) == pytest.approx(0.8, abs=0.03)
    identities = page.rows("Identity histogram")
    assert (identities["none"], identities["0.7–0.8"], identities["0.8–0.9"]).count("1") == 2
    assert not (Path(folder) / "report.html").exists()


def test_any_card_is_shown_by_the_shape_of_its_values(tmp_path: Path) -> None:
    """Cards that this test makes up, as another stage may write them."""
    card = {
        "version": 1,
        "statistics": {"pairs": 12, "mean": 1.5},
        "questions_per_protein": {"mean": 2.25, "histogram": [{"above": 0, "up_to": 1, "proteins": 7}]},
        "passages_funnel": [{"step": "found", "left": 10}, {"step": "named", "left": 0, "reasons": {"a": 7, "b": 3}}],
        "passages_per_protein": {f"P{number}": 100 - number for number in range(90)},
        "generator": {"model": "m", "decoding": {"seed": 0, "stops": []}},
        "articles": [{"pmcid": "PMC1", "year": 2001}, {"pmcid": "PMC2", "licence": None}],
        "odd_histogram": [{"above": "low", "up_to": HOSTILE, "proteins": "many"}],
        "empty": {}, "nothing": None, "is_whole": True, "not_a_number": float("nan"),
    }  # fmt: skip
    (tmp_path / "passages").mkdir()
    write_json(card, tmp_path / "card.json")
    made = write_report(tmp_path)
    page = Page(Path(made.report))
    assert made.kind == "literature"
    assert page.rows("Statistics") == {"pairs": "12", "mean": "1.5"}
    assert page.rows("Questions per protein") == {"1": "7"}
    assert page.rows("Passages funnel") == {"found": "10", "named": "0"}
    assert page.tables["Passages funnel"][-1][:3] == ["named", "0", "7 a, 3 b"]
    others = page.rows("Passages per protein")
    assert len(others) == 41
    assert others["50 others"] == "1775", "11 to 60 together"
    assert [row for row in page.tables["Articles"] if row] == [["PMC1", "2001", "–"], ["PMC2", "–", "–"]]
    facts = page.rows("Made with")
    assert facts["generator.decoding.seed"] == "0"
    assert facts["generator.decoding.stops"] == "[]"
    assert (facts["is_whole"], facts["nothing"], facts["empty"]) == ("yes", "–", "{}")
    assert any("Odd histogram" in title for title in made.sections)


def test_what_is_no_finished_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"card\.json does not exist"):
        write_report(tmp_path)
    for content in ('{"version": 1', "[1, 2]"):
        (tmp_path / "card.json").write_text(content)
        with pytest.raises(CorruptCheckpoint, match=r"card\.json"):
            write_report(tmp_path)
    (tmp_path / "card.json").write_text("{}")
    (tmp_path / "quarantine").mkdir()
    (tmp_path / "quarantine" / "part-00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(CorruptCheckpoint, match=r"quarantine/part-00000\.parquet: it cannot be read"):
        write_report(tmp_path)


def test_a_page_never_takes_the_place_of_data(corpus: Path) -> None:
    before = (corpus / "card.json").read_bytes()
    with pytest.raises(ConfigError, match=r"card\.json: output: is no page"):
        write_report(corpus, corpus / "card.json")
    assert (corpus / "card.json").read_bytes() == before


def test_values_are_shown_whole_or_said_to_be_cut() -> None:
    assert shown(1234567) == "1,234,567"
    assert shown(0.123456) == "0.1235"
    assert shown("x" * 300) == "x" * 300
    assert shown("x" * 301).endswith("… (301 letters)")
    assert shown({"a": [1]}) == '{"a": [1]}'
    assert shown({"a": 1, "b": 20_000}) == "1 a, 20,000 b"
    assert shown(["ACT", HOSTILE[:8]]) == "ACT, <script>"
    assert sections_of({}) == []
