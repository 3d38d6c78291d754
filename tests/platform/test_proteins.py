"""`proteins`: what a user may type, and what is refused with value, place, limit and remedy."""

import gzip
import hashlib
import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protein2text import proteins as module
from protein2text.errors import (
    BeyondTraining,
    EmptySequence,
    InvalidResidue,
    MissingFile,
    NucleotideSequence,
    RecordError,
    SequenceTooLong,
)
from protein2text.proteins import (
    ALPHABET,
    Protein,
    accession_of,
    clean_sequence,
    parse_protein,
    parse_proteins,
    read_proteins,
)

sequences = st.text(alphabet=ALPHABET, min_size=1, max_size=80)


@settings(deadline=None)
@given(sequences, st.integers(1, 30), st.booleans(), st.booleans())
def test_case_line_breaks_and_a_closing_stop_do_not_matter(residues: str, width: int, lower: bool, stop: bool) -> None:
    typed = "\n ".join(residues[start : start + width] for start in range(0, len(residues), width))
    typed = (typed.lower() if lower else typed) + ("*\n" if stop else "")
    assert clean_sequence(typed, record="input") == residues
    assert parse_protein(typed).sequence == residues
    assert parse_protein(f">sp|P1|ONE_HUMAN some protein\r\n{typed}") == Protein("P1", residues)


@pytest.mark.parametrize(
    ("typed", "position", "letter"),
    [
        ("MKJ", 3, "J"),
        ("mk1v", 3, "1"),
        ("M-K", 2, "-"),
        ("MK*V", 3, "*"),
        ("**", 1, "*"),
        ("MKÅ", 3, "Å"),
        ("MKß", 3, "ß"),
        ("MKı", 3, "ı"),
    ],
)
def test_a_letter_outside_the_alphabet_is_named_with_its_place(typed: str, position: int, letter: str) -> None:
    with pytest.raises(InvalidResidue) as caught:
        clean_sequence(typed, record="P1")
    assert (caught.value.record, caught.value.position, caught.value.letter) == ("P1", position, letter)
    assert (caught.value.line, caught.value.column) == (1, position)
    assert f"P1, line 1, column {position}, residue {position}:" in str(caught.value)
    assert ALPHABET in str(caught.value)
    assert "write X" in str(caught.value)


def test_nucleotides_are_said_to_be_such_and_proteins_of_their_letters_pass() -> None:
    for typed in ("ATGGCCAAGTTCGACGTTAA", "auggccaaguucgacguuaa", "ACGTN" * 900):
        with pytest.raises(NucleotideSequence, match="DNA or RNA"):
            clean_sequence(typed, record="P1")
    for protein in ("ATGGCCAAGTTCGACGTTA", "ATGGCCAAGTTCGACGTTAM", "GAGAGAGAGAGAGAGAGAGA", "A" * 50):
        assert clean_sequence(protein, record="P1") == protein


@pytest.mark.parametrize("typed", ["", " \n\t", "*", ">P1 only a title\n"])
def test_no_residues_is_an_error(typed: str) -> None:
    with pytest.raises(EmptySequence, match="0 residues; at least 1"):
        parse_protein(typed)


def test_the_limit_counts_residues_and_nothing_is_cut() -> None:
    assert len(clean_sequence("M" * 50 + "*\n", record="P1", max_residues=50)) == 50
    with pytest.raises(SequenceTooLong, match=r"51 residues; the limit is max_residues=50\. Raise"):
        clean_sequence("M" * 51, record="P1", max_residues=50)


def test_several_records_where_one_is_expected() -> None:
    two = ">P1\nMKV\n>tr|P2|TWO\nMKL\n"
    assert parse_proteins(two) == [Protein("P1", "MKV"), Protein("P2", "MKL")]
    with pytest.raises(RecordError, match="2 records; exactly 1"):
        parse_protein(two)
    with pytest.raises(RecordError, match="text before the first"):
        parse_proteins("MKV\n>P1\nMKV")


NEWLINES = ["\n", "\r\n", "\r"]


@pytest.mark.parametrize("newline", NEWLINES)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_files_of_any_system_read_alike(newline: str, mark: str, tmp_path: Path) -> None:
    lines = ["", ">sp|P1|ONE_HUMAN first", "mkv ", "", "\tLAG*", "", "   >P2", "MKL", " ", ""]
    text = mark + newline.join(lines)
    expected = [Protein("P1", "MKVLAG"), Protein("P2", "MKL")]
    assert parse_proteins(text) == expected
    (tmp_path / "plain.fasta").write_bytes(text.encode())
    (tmp_path / "packed.fasta.gz").write_bytes(gzip.compress(text.encode()))
    assert read_proteins(tmp_path / "plain.fasta") == read_proteins(tmp_path / "packed.fasta.gz") == expected
    assert parse_proteins(mark + newline.join(["", "mk", "v"])) == [Protein("input", "MKV")]


@pytest.mark.parametrize("newline", NEWLINES)
@pytest.mark.parametrize(
    ("lines", "record", "place", "letter"),
    [
        (["MKV", " ", "  ", "mk jv"], "input", (4, 4, 6), "j"),
        ([">P1", "MKV", ">P2 with, a-title", "", "MK", "\tV- K"], "P2", (6, 3, 4), "-"),
        ([">P1", "MKV", ">", "1 mkv"], "input record 2", (4, 1, 1), "1"),
        ([">P1", "        1 malwm rllpl", "       11 lallalwgpd"], "P1", (2, 9, 1), "1"),
        ([">P1", "MK*V*"], "P1", (2, 3, 3), "*"),
        (["", "", ">P1", "MK>V"], "P1", (4, 3, 3), ">"),
        (["M\u200bK"], "input", (1, 2, 2), "\u200b"),
        (["M\u2028K\u00a0\u00e9"], "input", (1, 5, 3), "\u00e9"),
        (["MKV", "\uff2d"], "input", (2, 1, 4), "\uff2d"),
        (["M\x00"], "input", (1, 2, 2), "\x00"),
    ],
)
def test_a_foreign_letter_is_found_in_the_text_as_given(
    newline: str, lines: list[str], record: str, place: tuple[int, int, int], letter: str
) -> None:
    with pytest.raises(InvalidResidue) as caught:
        parse_proteins(newline.join(lines))
    error = caught.value
    assert (error.record, (error.line, error.column, error.position), error.letter) == (record, place, letter)


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet=">MKVmkv-J1* \n\r\t\ufeff\u00e9", max_size=60))
def test_any_text_is_read_whole_or_refused_at_a_place_that_holds_the_letter(text: str) -> None:
    found, refused = outcome(text)
    assert all(set(protein.sequence) <= set(ALPHABET) and protein.sequence for protein in found)
    if isinstance(refused, InvalidResidue):
        lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
        assert lines[refused.line - 1][refused.column - 1] == refused.letter
        assert refused.letter.upper() not in ALPHABET


def outcome(text: str) -> tuple[list[Protein], RecordError | None]:
    try:
        return parse_proteins(text), None
    except RecordError as error:
        return [], error


@pytest.mark.parametrize(
    ("letter", "hint"),
    [("-", "Remove alignment gaps"), ("7", "remove them"), ("*", "at the end"), (">", "a line of its own")],
)
def test_errors_say_what_to_do_about_the_usual_strangers(letter: str, hint: str) -> None:
    with pytest.raises(InvalidResidue, match=hint):
        clean_sequence(f"MK{letter}V", record="P1")


def test_an_encoders_alphabet_decides_which_letters_pass() -> None:
    assert parse_protein("MKXBZUO", alphabet=ALPHABET).sequence == "MKXBZUO"
    narrow = ALPHABET.removesuffix("XBZUO")
    for letter in "XBZUOxbzuo":
        with pytest.raises(InvalidResidue, match=f"residue 3: '{letter}'") as caught:
            parse_protein(f"MK{letter}", alphabet=narrow)
        assert "write X" not in str(caught.value)


def test_an_empty_record_is_named_with_its_line() -> None:
    with pytest.raises(EmptySequence, match="P2, line 4, sequence: 0 residues"):
        parse_proteins("\n>P1\nMKV\n>P2 empty\n\n>P3\nMKL\n")


def test_files_that_hold_no_text_are_refused_with_the_place(tmp_path: Path) -> None:
    path = tmp_path / "protein.fasta"
    with pytest.raises(MissingFile, match=r"protein\.fasta"):
        read_proteins(path)
    damaged = gzip.compress(b">P1\nMKV\n" * 100)[:-12]
    for content, fragment in (
        (b">P1\nMK\xffV", "line 2: byte 0xff; text must be UTF-8"),
        (">P1\nMKV".encode("utf-16"), "UTF-16; text must be UTF-8"),
        (damaged, "it cannot be read"),
        (b"", "0 residues"),
    ):
        path.write_bytes(content)
        with pytest.raises(RecordError, match=fragment):
            read_proteins(path)


def test_more_text_than_the_guard_allows_is_refused_before_it_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert module.MAX_TEXT_BYTES == 100 * 2**20
    monkeypatch.setattr(module, "MAX_TEXT_BYTES", 2**20)
    (tmp_path / "fits.fasta").write_bytes(b">P1\n" + b"M" * (2**20 - 4))
    assert len(read_proteins(tmp_path / "fits.fasta")[0]) == 2**20 - 4
    (tmp_path / "large.fasta").write_bytes(b">P1\n" + b"M" * 2**20)
    (tmp_path / "bomb.fasta.gz").write_bytes(gzip.compress(b"M" * 2**24))
    for read in (
        lambda: read_proteins(tmp_path / "large.fasta"),
        lambda: read_proteins(tmp_path / "bomb.fasta.gz"),
        lambda: parse_proteins("M" * (2**20 + 1)),
    ):
        with pytest.raises(RecordError, match="at most 1 MiB are read at once"):
            read()


@pytest.mark.parametrize(
    ("title", "accession"),
    [
        ("sp|P01308|INS_HUMAN Insulin", "P01308"),
        ("tr|A0A0|X", "A0A0"),
        ("P01308 Insulin", "P01308"),
        ("gnl|other|thing", "gnl|other|thing"),
        ("", ""),
        ("  ", ""),
    ],
)
def test_accessions_in_titles(title: str, accession: str) -> None:
    assert accession_of(title) == accession


def test_a_record_without_a_name_is_called_by_its_place() -> None:
    assert parse_proteins(">\nMKV\n>\nMKL\n", record="upload") == [
        Protein("upload record 1", "MKV"),
        Protein("upload record 2", "MKL"),
    ]


def test_checksum_is_that_of_the_sequence_alone() -> None:
    assert Protein("P1", "MKV").checksum == hashlib.sha256(b"MKV").hexdigest() == Protein("P2", "MKV").checksum
    assert len(Protein("P1", "MKV")) == 3


@pytest.mark.parametrize(
    "error",
    [
        InvalidResidue("P1", 3, "J", ALPHABET),
        NucleotideSequence("P1", 40),
        InvalidResidue("P1", 3, "-", "ACD", 7, 2),
        EmptySequence("P1"),
        EmptySequence("P1", 4),
        SequenceTooLong("P1", 51, 50),
        BeyondTraining("P1", 51, 50, 2**30, 2**31),
        RecordError("P1", "place", "value", "limit", "remedy"),
    ],
)
def test_errors_survive_the_way_between_processes(error: RecordError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert (copy.reason, copy.value) == (error.reason, error.value)
