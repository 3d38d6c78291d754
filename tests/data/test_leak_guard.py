"""`data.leak_guard`: what stands in a registered test set is not trained on, or the run says that it is."""

import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from protein2text.data import mmseqs
from protein2text.data.data_config import DataConfig
from protein2text.data.leak_guard import check_training
from protein2text.data.records import make_record
from protein2text.data.split import split
from protein2text.data.split_folder import load_split
from protein2text.data.trained_on import is_in, read_trained_on, write_trained_on
from protein2text.errors import CorruptCheckpoint, LeakError, MissingFile, RecordError
from protein2text.proteins import Protein


def member_split(tmp_path: Path, corpora: list[str], sides: dict[str, str], name: str = "split") -> str:
    table = tmp_path / f"{name}.tsv"
    table.write_text("".join(f"{accession}\t{side}\tg\n" for accession, side in sides.items()))
    return split(corpora, str(tmp_path / name), kind="by_member", assignment=str(table)).output


def leaks(corpora: list[str], folder: str | None = None, *test_sets: str) -> str:
    """What the guard says when it lets the run pass, in one text."""
    return "; ".join(check_training(DataConfig(corpus=corpora, split=folder, test_sets=test_sets, allow_leak=True)))


def test_a_run_on_other_corpora_than_its_split_is_refused(
    make_corpus: Any, described: Any, sequences: Any, tmp_path: Path
) -> None:
    one, other = sequences.random(60), sequences.random(60)
    corpus = make_corpus([described("A", one), described("B", other, "Cleaves lactose into two.")])
    folder = member_split(tmp_path, [corpus], {"A": "train", "B": "test"})
    assert check_training(DataConfig(corpus=[corpus], split=folder)) == ()
    later = make_corpus([described("N", sequences.random(60))], "later")
    for allowed in (False, True):
        with pytest.raises(LeakError, match=r"1 proteins.*N among them"):
            check_training(DataConfig(corpus=[corpus, later], split=folder, allow_leak=allowed))
    copied = make_corpus([described("A", other, "Another text.") | {"record_id": "A2"}], "copied")
    with pytest.raises(
        LeakError, match=r"shares 1 sequences, 0 accessions and 0 texts.*; 1 training records: A2\. Run"
    ):
        check_training(DataConfig(corpus=[corpus, copied], split=folder))
    told = make_corpus([described("A", one, "Cleaves lactose into two.") | {"record_id": "A3"}], "told")
    with pytest.raises(LeakError, match=r"0 sequences, 0 accessions and 1 texts.*A3"):
        check_training(DataConfig(corpus=[corpus, told], split=folder))
    assert "1 texts" in leaks([corpus, told], folder)


def test_a_by_cluster_split_that_measures_above_its_promise_is_refused(
    make_corpus: Any, described: Any, sequences: Any, tmp_path: Path
) -> None:
    ancestor = sequences.random(100)
    corpus = make_corpus([described("A", ancestor), described("B", sequences.mutant(ancestor, 0.2))])
    folder = Path(member_split(tmp_path, [corpus], {"A": "train", "B": "test"}))
    assert leaks([corpus], str(folder)) == "", "by_member promises recall only"
    card = json.loads((folder / "split.json").read_text())
    (folder / "split.json").write_text(json.dumps(card | {"kind": "by_cluster"}))
    with pytest.raises(LeakError, match=r"1 of its proteins are up to 8\d% identical.*below 30% is promised"):
        check_training(DataConfig(corpus=[corpus], split=str(folder)))


@pytest.fixture
def benchmark(make_corpus: Any, described: Any, sequences: Any, tmp_path: Path) -> dict[str, Any]:
    """A test set of three proteins in each of its forms, and what they are."""
    proteins = {name: sequences.random(90) for name in ("T1", "T2", "T3")}
    others = {f"O{number}": sequences.random(90) for number in range(3)}
    records = [described(name, residues) for name, residues in (proteins | others).items()]
    whole = make_corpus(records, "benchmark")
    sides = dict.fromkeys(proteins, "test") | dict.fromkeys(others, "train")
    fasta = tmp_path / "benchmark.fasta"
    fasta.write_text("".join(f">sp|{name}|X\n{residues.lower()}\n" for name, residues in proteins.items()))
    return {
        "proteins": proteins,
        "split": member_split(tmp_path, [whole], sides, "benchmark-split"),
        "corpus": make_corpus(records[:3], "benchmark-corpus"),
        "fasta": str(fasta),
    }


@pytest.mark.parametrize("form", ["split", "corpus", "fasta"])
def test_every_form_of_a_registered_test_set_finds_every_overlap(
    benchmark: dict[str, Any], form: str, make_corpus: Any, described: Any, sequences: Any
) -> None:
    proteins, test_set = benchmark["proteins"], benchmark[form]
    clean = make_corpus(
        [described("N1", sequences.random(80)), described("O1", sequences.random(80), "Else.")], "clean"
    )
    assert leaks([clean], None, test_set) == "", "the training side of a benchmark's split may be trained on"
    leaking = make_corpus(
        [
            described("N2", proteins["T1"], "New text."),
            described("T2", sequences.random(70), "New too."),
            described("N4", sequences.random(70), "the only   text of T3."),
            dict(make_record("T1", [Protein("T1", proteins["T1"])], source="made")),
        ],
        "leaking",
    )
    told = leaks([clean, leaking], None, test_set)
    texts, records = ("0 texts", "2 training records: N2, T2") if form == "fasta" else ("1 texts", "3 training records")
    assert f"test set {test_set} shares 1 sequences, 1 accessions and {texts} with training; {records}" in told
    with pytest.raises(LeakError, match="--allow-leak") as caught:
        check_training(DataConfig(corpus=[clean, leaking], test_sets=[test_set]))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_what_is_not_trained_on_does_not_leak(
    benchmark: dict[str, Any], make_corpus: Any, described: Any, sequences: Any, tmp_path: Path
) -> None:
    """Records on the run's own test and validation side, and of mixed sides, are left out of training."""
    proteins = benchmark["proteins"]
    train = Protein("N1", sequences.random(60))
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "Yes."}]
    pair = make_record("N1+T1", [train, Protein("T1", proteins["T1"])], source="made", messages=messages)  # type: ignore[arg-type]
    records = [described("N1", train.sequence), described("T1", proteins["T1"]), described("T2", proteins["T2"])]
    corpus = make_corpus([*records, dict(pair)], "own")
    folder = member_split(tmp_path, [corpus], {"N1": "train", "T1": "test", "T2": "validation"}, "own-split")
    assert leaks([corpus], folder, benchmark["split"], benchmark["fasta"], folder) == ""


def test_relatives_of_a_registered_by_cluster_split_are_searched_for(
    make_corpus: Any, described: Any, sequences: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strangers = {f"S{number}": sequences.random(120) for number in range(6)}
    benchmark = make_corpus([described(name, residues) for name, residues in strangers.items()], "benchmark")
    test_set = split([benchmark], str(tmp_path / "held-out"), kind="by_cluster", test_share=0.4).output
    tested = [name for name, side in load_split(test_set).by_accession.items() if side == "test"]
    near, far = strangers[tested[0]], next(residues for name, residues in strangers.items() if name not in tested)
    related = make_corpus([described("R", sequences.mutant(near, 0.3))], "related")
    unrelated = make_corpus([described("U", sequences.mutant(far, 0.3))], "unrelated")
    assert leaks([unrelated], None, test_set) == ""
    told = leaks([related], None, test_set)
    assert re.search(r"1 of its proteins are up to 7\d% identical to training proteins, where below 30%", told)
    own = split([unrelated, related], str(tmp_path / "own"), kind="by_cluster", test_share=0.5).output
    monkeypatch.setattr(mmseqs, "search_into", lambda *_: pytest.fail("the split has measured these corpora"))
    assert leaks([unrelated, related], own) == ""


def test_a_test_set_that_is_none_is_named(make_corpus: Any, described: Any, tmp_path: Path) -> None:
    corpus = make_corpus([described("A", "MKV")])
    with pytest.raises(MissingFile, match=r"nothing.*data\.test_sets"):
        leaks([corpus], None, str(tmp_path / "nothing"))
    broken = tmp_path / "broken.fasta"
    broken.write_text(">A\nMK1\n")
    with pytest.raises(RecordError, match="line 2, column 3"):
        leaks([corpus], None, str(broken))
    assert leaks([corpus]) == "", "nothing is registered"


def test_a_model_remembers_what_it_and_its_start_were_trained_on(tmp_path: Path) -> None:
    proteins = [Protein(f"P{number}", "MKV" * (number + 1)) for number in range(40)]
    checksums = [protein.checksum for protein in proteins]
    assert read_trained_on(tmp_path) is None
    write_trained_on(tmp_path / "first", checksums[:10], None)
    write_trained_on(tmp_path / "second", checksums[8:20], tmp_path / "first")
    known = read_trained_on(tmp_path / "second")
    assert known is not None
    assert [is_in(checksum, known) for checksum in checksums] == [True] * 20 + [False] * 20
    path = tmp_path / "second" / "trained_on.bin"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(CorruptCheckpoint, match="no whole number"):
        read_trained_on(tmp_path / "second")
