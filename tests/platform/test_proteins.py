"""`proteins`: what a user may type, and what is refused with value, place, limit and remedy."""

import hashlib
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protein2text.errors import EmptySequence, InvalidResidue, RecordError, SequenceTooLong
from protein2text.proteins import ALPHABET, Protein, accession_of, clean_sequence, parse_protein, parse_proteins

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
    assert f"residue {position}" in str(caught.value)
    assert ALPHABET in str(caught.value)
    assert "write X" in str(caught.value)


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
        EmptySequence("P1"),
        SequenceTooLong("P1", 51, 50),
        RecordError("P1", "place", "value", "limit", "remedy"),
    ],
)
def test_errors_survive_the_way_between_processes(error: RecordError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert (copy.reason, copy.value) == (error.reason, error.value)
