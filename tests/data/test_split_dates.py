"""`data.split_dates`: entries created later are test, and no date is guessed."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from protein2text.data.data_config import DataConfig
from protein2text.data.leak_guard import check_training
from protein2text.data.split import load_split, split
from protein2text.errors import ConfigError, LeakError


def dated(
    described: Any, accession: str, sequence: str, created: str | None, text: str | None = None
) -> dict[str, Any]:
    record = described(accession, sequence, text)
    return record | {"provenance": None if created is None else json.dumps({"created": created})}


@pytest.mark.parametrize("on_hit", ["move", "drop"])
def test_entries_created_later_are_test_unless_they_were_known_before(
    make_corpus: Any, described: Any, sequences: Any, identity: Any, tmp_path: Path, on_hit: Any
) -> None:
    old, older = sequences.random(100), sequences.random(100)
    corpus = make_corpus(
        [
            dated(described, "OLD", old, "2001-05-30"),
            dated(described, "EDGE", older, "2020-12-31"),
            dated(described, "NEW", sequences.random(100), "2021-01-01"),
            dated(described, "MUTANT", sequences.mutant(old, 0.3), "2024-02-29"),
            dated(described, "COPY", old, "2022-01-01"),
            dated(described, "QUOTE", sequences.random(100), "2022-01-01", "The only text of EDGE"),
        ]
    )
    output = str(tmp_path / on_hit)
    summary = split([corpus], output, kind="temporal", after="2020-12-31", on_hit=on_hit)
    divided = load_split(output)
    known = "train" if on_hit == "move" else "dropped"
    assert dict(divided.by_accession) == {
        "OLD": "train", "EDGE": "train", "NEW": "test", "MUTANT": "test", "COPY": known, "QUOTE": known,
    }  # fmt: skip
    assert (summary.num_moved, summary.num_dropped) == ((2, 0) if on_hit == "move" else (0, 2))
    measured = {row["accession"]: row for row in divided.rows}
    assert measured["MUTANT"]["max_identity"] == pytest.approx(0.7, abs=0.03), "a relative stays, and is measured"
    assert measured["MUTANT"]["nearest"] in ("OLD", "COPY")
    assert measured["NEW"]["max_identity"] is None
    train = ["2001-05-30", "2022-01-01" if on_hit == "move" else "2020-12-31"]
    assert divided.card["days"] == {"train": train, "test": ["2021-01-01", "2024-02-29"]}
    assert check_training(DataConfig(corpus=[corpus], split=output)) == (), "it promises nothing about identity"
    again = split([corpus], output, kind="temporal", after="2020-12-31", on_hit=on_hit)  # type: ignore[arg-type]
    assert again.already_done


def test_dates_may_come_from_a_table_and_none_is_guessed(
    make_corpus: Any, described: Any, sequences: Any, tmp_path: Path
) -> None:
    records = [dated(described, name, sequences.random(60), None) for name in "ABC"]
    corpus = make_corpus([*records, dated(described, "D", sequences.random(60), "2024-01-01")])
    table = tmp_path / "dates.tsv"

    def made(lines: str) -> dict[str, str]:
        table.write_text(lines)
        folder = tmp_path / hashlib.sha256(lines.encode()).hexdigest()
        split([corpus], str(folder), kind="temporal", after="2020-01-01", dates=str(table))
        return dict(load_split(folder).by_accession)

    sides = made("accession\tdate\nA\t2019-01-01\nB\t2020-01-02\nC\t2020-01-01\nZ\t1999-01-01\n")
    assert sides == {"A": "train", "B": "test", "C": "train", "D": "test"}
    lines = "A\t2019-01-01\nB\t2020-01-02\nC\t2020-01-01\nD\t2000-01-01\n"
    assert made(lines)["D"] == "train", "the table counts where both know a date"
    for lines, problem in (
        ("A\t2019-01-01\nB\t2020-01-02\n", "1 of 4 proteins have no date, C among them"),
        ("A\t2019-01-01\nB\t2020-13-02\n", "line 2.*accession, date as in 2024-01-31"),
        ("A\t2019-01-01\nB 2020-01-02\n", "line 2"),
        ("A\t2019-01-01\nA\t2020-01-02\n", "line 2: A has 2020-01-02 here and 2019-01-01 above"),
    ):
        with pytest.raises(ConfigError, match=problem):
            made(lines)
    with pytest.raises(ConfigError, match=r"3 of 4 proteins have no date, A among them.*--dates"):
        split([corpus], str(tmp_path / "none"), kind="temporal", after="2020-01-01")
    with pytest.raises(LeakError, match=r"no protein is left for test .0 drawn.*earlier day"):
        made("A\t2019-01-01\nB\t2019-01-02\nC\t2019-01-01\nD\t2000-01-01\n")
