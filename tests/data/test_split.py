"""`data.split`: no relative of a test protein is trained on, and what is measured is told."""

from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from protein2text.data import mmseqs
from protein2text.data.data_config import DataConfig
from protein2text.data.leak_guard import check_training
from protein2text.data.leaks import texts_of
from protein2text.data.records import make_record
from protein2text.data.split import load_split, split
from protein2text.data.split_folder import SPLITS
from protein2text.errors import ConfigError, CorruptCheckpoint, LeakError, MissingFile, ResumeMismatch, UnusableRecord
from protein2text.proteins import Protein


def test_by_cluster_leaves_no_relative_outside_test(
    families: dict[str, str], make_corpus: Any, described: Any, identity: Any, tmp_path: Path
) -> None:
    corpus = make_corpus([described(name, sequence) for name, sequence in families.items()])
    summary = split([corpus], str(tmp_path / "split"), kind="by_cluster", test_share=0.4, seed=1)
    divided = load_split(tmp_path / "split")
    sides = {name: divided.of(name) for name in families}
    test = [name for name in families if sides[name] == "test"]
    rest = [name for name in families if sides[name] != "test"]
    assert 8 <= len(test) <= round(0.4 * len(families))
    assert summary.num_moved > 0, "the fragments are the trap: clustering alone puts them on both sides"
    highest = 0.0
    for one, other in product(test, rest):
        measured, covered = identity(families[one], families[other])
        if covered >= 0.8:
            highest = max(highest, measured)
    assert highest < 0.3
    assert summary.max_identity is None or summary.max_identity < 0.3
    assert summary.proteins == {name: sum(side == name for side in sides.values()) for name in SPLITS}
    for number in range(12):
        assert len({sides[f"F{number:02d}{letter}"] == "test" for letter in "abc"}) == 1
        assert (sides[f"L{number:02d}"] == "test") == (sides[f"L{number:02d}frag"] == "test")
    assert check_training(DataConfig(corpus=[corpus], split=str(tmp_path / "split"))) == ()


def test_by_member_moves_nothing_and_measures_what_stands(
    families: dict[str, str], make_corpus: Any, described: Any, identity: Any, tmp_path: Path
) -> None:
    chosen = {name: sequence for name, sequence in families.items() if name.startswith("F0")}
    given = {name: "test" if name.endswith("c") else "train" for name in chosen}
    corpus = make_corpus([described(name, sequence) for name, sequence in chosen.items()])
    lines = [f"{name}\t{side}\t{name[:3]}" for name, side in given.items()]
    table = tmp_path / "assignment.tsv"
    table.write_text("accession\tsplit\tgroup\n" + "\n".join(lines) + "\nP99\ttrain\tunused\n")
    summary = split([corpus], str(tmp_path / "split"), kind="by_member", assignment=str(table))
    divided = load_split(tmp_path / "split")
    assert divided.kind == "by_member"
    assert summary.num_moved == 0
    for row in divided.rows:
        assert row["split"] == given[row["accession"]]
        assert row["cluster"] == row["accession"][:3]
        if row["split"] == "test":
            relatives = [
                identity(chosen[row["accession"]], chosen[f"{row['accession'][:3]}{letter}"])[0] for letter in "ab"
            ]
            assert row["max_identity"] == pytest.approx(max(relatives), abs=0.03)
        else:
            assert row["max_identity"] is None
    assert summary.max_identity == pytest.approx(max(row["max_identity"] or 0 for row in divided.rows))


def member_split(tmp_path: Path, corpora: list[str], sides: dict[str, str]) -> str:
    table = tmp_path / "assignment.tsv"
    table.write_text("".join(f"{name}\t{side}\tg\n" for name, side in sides.items()))
    output = tmp_path / "split"
    split(corpora, str(output), kind="by_member", assignment=str(table))
    return str(output)


def test_equal_sequence_or_text_on_both_sides_is_a_leak_in_every_kind(
    make_corpus: Any, described: Any, sequences: Any, tmp_path: Path
) -> None:
    one, other = sequences.random(60), sequences.random(60)
    same_sequence = make_corpus([described("A", one), described("B", one)], "sequence")
    same_text = make_corpus([described("A", one, "Binds ATP."), described("B", other, "binds  ATP")], "text")
    for corpus, kind in ((same_sequence, "1 sequences"), (same_text, "1 texts")):
        with pytest.raises(LeakError, match=kind):
            member_split(tmp_path, [corpus], {"A": "train", "B": "test"})
        assert not (tmp_path / "split" / "split.json").exists()


def test_by_cluster_keeps_equal_sequences_texts_and_accessions_together(
    make_corpus: Any, described: Any, sequences: Any, tmp_path: Path
) -> None:
    records, versions = [], []
    for number in range(10):
        shared = sequences.random(90)
        records += [described(f"S{number}a", shared), described(f"S{number}b", shared)]
        records += [described(f"T{number}{letter}", sequences.random(90), f"Text {number}.") for letter in "ab"]
        records.append(described(f"V{number}", sequences.random(90)))
        versions.append(described(f"V{number}", sequences.random(90)) | {"record_id": f"V{number}_1"})
    corpora = [make_corpus(records, "one"), make_corpus(versions, "two")]
    summary = split(corpora, str(tmp_path / "split"), kind="by_cluster", test_share=0.3, seed=3)
    divided = load_split(tmp_path / "split")
    assert summary.proteins["test"] >= 10
    for number in range(10):
        for letter in "ST":
            assert divided.of(f"{letter}{number}a") == divided.of(f"{letter}{number}b")
    assert check_training(DataConfig(corpus=corpora, split=summary.output)) == ()


def test_the_same_corpora_and_seed_give_the_same_split_in_any_order(
    families: dict[str, str], make_corpus: Any, described: Any, tmp_path: Path
) -> None:
    few = [described(name, families[name]) for name in sorted(families)[:30]]
    forward, backward = make_corpus(few, "forward"), make_corpus(few[::-1], "backward")
    first = split([forward], str(tmp_path / "a"), kind="by_cluster", seed=5)
    second = split([backward], str(tmp_path / "b"), kind="by_cluster", seed=5)
    assert load_split(first.output).by_accession == load_split(second.output).by_accession


def test_questions_about_proteins_of_two_splits_belong_to_none(
    make_corpus: Any, described: Any, sequences: Any, tmp_path: Path
) -> None:
    proteins = {name: Protein(name, sequences.random(50)) for name in "ABC"}
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "Yes."}]
    pairs = [
        dict(make_record(f"{one}+{two}", [proteins[one], proteins[two]], source="made", messages=messages))  # type: ignore[arg-type]
        for one, two in ("AB", "AC", "BC")
    ]
    corpus = make_corpus([described(name, protein.sequence) for name, protein in proteins.items()] + pairs)
    divided = load_split(member_split(tmp_path, [corpus], {"A": "train", "B": "train", "C": "test"}))
    assert divided.card["records"] == {"train": 3, "validation": 0, "test": 1, "dropped": 0, "mixed": 2}
    assert [divided.of_record(pair) for pair in pairs] == ["train", None, None]


@pytest.mark.parametrize("on_hit", ["move", "drop"])
def test_what_still_hits_is_moved_or_dropped(
    families: dict[str, str], make_corpus: Any, described: Any, identity: Any, tmp_path: Path, on_hit: Any
) -> None:
    corpus = make_corpus([described(name, sequence) for name, sequence in families.items()])
    summary = split([corpus], str(tmp_path / on_hit), kind="by_cluster", test_share=0.4, seed=1, on_hit=on_hit)
    divided = load_split(summary.output)
    sides = divided.by_accession
    dropped = {name for name, side in sides.items() if side == "dropped"}
    moved, gone = summary.num_moved, summary.num_dropped
    assert (moved > 0, gone > 0) == ((True, False) if on_hit == "move" else (False, True))
    assert gone == len(dropped) == summary.records["dropped"]
    card = divided.card
    assert card["num_related"] <= card["num_drawn"] == summary.proteins["test"] + moved + gone
    for one in dropped:
        assert any(
            identity(families[one], families[other])[0] >= 0.3
            for other, side in sides.items()
            if side in ("train", "validation") and other[:3] == one[:3]
        ), "only what has a relative in training is dropped"
    rest = [name for name, side in sides.items() if side in ("train", "validation")]
    for one, other in product([name for name, side in sides.items() if side == "test"], rest):
        measured, covered = identity(families[one], families[other])
        assert covered < 0.8 or measured < 0.3
    assert sum(part["proteins"] for part in card["identity_histogram"]) == summary.proteins["test"]
    sizes = {part["from"]: part["clusters"] for part in card["cluster_size_histogram"]}
    assert sum(sizes.values()) == summary.num_clusters


def test_nothing_left_for_test_is_an_error(make_corpus: Any, described: Any, sequences: Any, tmp_path: Path) -> None:
    ancestor = sequences.random(100)
    corpus = make_corpus([described(f"A{number}", sequences.mutant(ancestor, 0.1)) for number in range(5)])
    with pytest.raises(LeakError, match="no protein is left for test"):
        split([corpus], str(tmp_path / "split"), kind="by_cluster")


def test_what_counts_as_a_text() -> None:
    protein = [Protein("A", "MKV")]
    question = {"role": "user", "content": "<protein_sequence>\nWhat is it?"}

    def answered(answer: str, facts: list[str] | None) -> list[str]:
        messages = [question, {"role": "assistant", "content": answer}]
        return texts_of(dict(make_record("A:q", protein, source="m", messages=messages, facts=facts)))  # type: ignore[arg-type]

    assert texts_of(dict(make_record("A", protein, source="m", text=" Binds\nATP. "))) == ["binds atp"]
    assert answered("Yes, it is an enzyme.", None) == [], "a short answer is true of many proteins"
    long = "It hydrolyzes lactose into glucose and galactose in the gut."
    assert answered(long, None) == [long.casefold().rstrip(".")]
    assert answered(long, ["kind=enzyme"]) == [], "a known fact is the task, not the protein's text"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("A\ttrain\tg\n", "1 proteins of the corpora are not in it, B among them"),
        ("A\ttrain\tg\nB\tdev\tg\n", "line 2.*one of train, validation, test"),
        ("A\ttrain\tg\nB test g\n", "line 2"),
        ("A\ttrain\tg\nB\ttest\tg\nA\ttest\tg\n", "line 3.*A is test here and train above"),
    ],
)
def test_bad_assignments_name_the_line(
    make_corpus: Any, described: Any, sequences: Any, tmp_path: Path, content: str, problem: str
) -> None:
    corpus = make_corpus([described("A", sequences.random(40)), described("B", sequences.random(40))])
    table = tmp_path / "assignment.tsv"
    table.write_text(content)
    with pytest.raises(ConfigError, match=problem):
        split([corpus], str(tmp_path / "split"), kind="by_member", assignment=str(table))


def test_an_assignment_of_a_spreadsheet_has_a_mark_or_is_refused_for_its_encoding(
    make_corpus: Any, described: Any, sequences: Any, tmp_path: Path
) -> None:
    corpus = make_corpus([described("A", sequences.random(40)), described("B", sequences.random(40))])
    table, lines = tmp_path / "assignment.tsv", "accession\tsplit\tgroup\nA\ttrain\tg\nB\ttest\th\n"
    table.write_text(lines, encoding="utf-8-sig")
    split([corpus], str(tmp_path / "split"), kind="by_member", assignment=str(table))
    assert dict(load_split(tmp_path / "split").by_accession) == {"A": "train", "B": "test"}
    for encoding, text in (("utf-16", lines), ("latin-1", lines + "\xd6\ttest\tg\n")):
        table.write_text(text, encoding=encoding)
        with pytest.raises(ConfigError, match=r"assignment\.tsv: after line \d: is not UTF-8"):
            split([corpus], str(tmp_path / encoding), kind="by_member", assignment=str(table))


def test_arguments_that_do_not_fit(make_corpus: Any, described: Any, tmp_path: Path) -> None:
    corpus, output = make_corpus([described("A", "MKV")]), str(tmp_path / "split")
    for arguments, key in (
        ({"kind": "by_member"}, "assignment"),
        ({"kind": "by_member", "assignment": "x", "on_hit": "drop"}, "on_hit"),
        ({"kind": "by_cluster", "assignment": "x"}, "assignment"),
        ({"kind": "by_cluster", "dates": "x"}, "dates"),
        ({"kind": "by_member", "assignment": "x", "test_share": 0.5}, "test_share"),
        ({"kind": "temporal", "after": "2024-01-31", "seed": 0}, "seed"),
        ({"kind": "temporal"}, "after"),
        ({"kind": "temporal", "after": "2024-01-31", "assignment": "x"}, "assignment"),
    ):
        with pytest.raises(ConfigError, match=f"data split: {key}: .* by_member needs an assignment, temporal the day"):
            split([corpus], output, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"after: '31\.1\.2024' is no day"):
        split([corpus], output, kind="temporal", after="31.1.2024")
    with pytest.raises(ConfigError, match="kind 'by_date'"):
        split([corpus], output, kind="by_date")  # type: ignore[arg-type]
    with pytest.raises(MissingFile, match=r"assignment\.tsv"):
        split([corpus], output, kind="by_member", assignment=str(tmp_path / "assignment.tsv"))
    with pytest.raises(MissingFile, match="data ingest"):
        split([str(tmp_path)], output, kind="by_cluster")


def test_a_split_goes_to_a_folder_of_its_own(make_corpus: Any, described: Any) -> None:
    corpus = make_corpus([described("A", "MKV")])
    with pytest.raises(ConfigError, match=r"holds 'card\.json', no split; choose an empty folder"):
        split([corpus], corpus, kind="by_cluster")


def test_a_finished_split_is_used_again_or_refused(
    make_corpus: Any, described: Any, sequences: Any, tmp_path: Path
) -> None:
    corpus = make_corpus([described("A", sequences.random(40)), described("B", sequences.random(40))])
    folder = member_split(tmp_path, [corpus], {"A": "train", "B": "test"})
    table = str(tmp_path / "assignment.tsv")
    assert split([corpus], folder, kind="by_member", assignment=table).already_done
    with pytest.raises(ResumeMismatch, match="min_identity"):
        split([corpus], folder, kind="by_member", assignment=table, min_identity=0.5)
    with pytest.raises(ResumeMismatch, match="assignment"):
        member_split(tmp_path, [corpus], {"A": "test", "B": "train"})
    with pytest.raises(UnusableRecord, match="unknown accession"):
        load_split(folder).of("Z")
    parquet = Path(folder) / "split.parquet"
    rows = pq.read_table(parquet).to_pylist()
    rows[0]["split"] = "test"
    pq.write_table(pa.Table.from_pylist(rows, schema=pq.read_schema(parquet)), parquet)
    with pytest.raises(CorruptCheckpoint, match="differs from its card"):
        load_split(folder)


def test_two_real_corpora_are_split_without_leaks(
    real_data: Path, make_corpus: Any, tmp_path: Path, identity: Any
) -> None:
    from protein2text.data.readers.entries import Place
    from protein2text.data.readers.formats import READERS, read_entries

    records = []
    for name, reader in (("uniprot/human_function.tsv", "uniprot-tsv"), ("qa/microbiome_benchmark.json", "json")):
        entries = [entry for entry in read_entries(str(real_data / name), reader) if len(entry.raw) < 1500][:60]
        for entry in entries:
            try:
                records.append(dict(READERS[reader].parse(entry.raw, Place(name, entry.place, 500))))
            except Exception:  # noqa: BLE001
                continue
    corpus = make_corpus(records)
    summary = split([corpus], str(tmp_path / "split"), kind="by_cluster", seed=2)
    divided = load_split(tmp_path / "split")
    assert summary.proteins["test"] > 0
    assert check_training(DataConfig(corpus=[corpus], split=summary.output)) == ()
    sequence_of = {row["proteins"][0]["accession"]: row["proteins"][0]["sequence"] for row in records}
    test = [name for name in sequence_of if divided.of(name) == "test"][:8]
    for one, other in product(test, [name for name in sequence_of if divided.of(name) != "test"]):
        measured, covered = identity(sequence_of[one], sequence_of[other])
        assert covered < 0.8 or measured < 0.35, "what Smith-Waterman sees at 35 % and 80 % coverage is a relative"


def test_mmseqs_version_is_in_the_card(make_corpus: Any, described: Any, sequences: Any, tmp_path: Path) -> None:
    corpus = make_corpus([described("A", sequences.random(40)), described("B", sequences.random(40))])
    card = load_split(member_split(tmp_path, [corpus], {"A": "train", "B": "test"})).card
    assert card["tool"] == f"MMseqs2 {mmseqs.version()}"
    assert card["min_identity"] == 0.3
    assert card["coverage"] == 0.8
