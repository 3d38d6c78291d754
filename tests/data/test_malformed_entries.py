"""`data.readers`: a malformed entry costs only itself, and says why; what is in no known format is refused by name."""

import json
import re
from pathlib import Path

import pytest

from protein2text.data.readers.formats import detect
from protein2text.errors import ConfigError, RecordError
from tests.data.read_in_process import read


def test_too_long_protein_names_value_limit_and_remedy(tmp_path: Path) -> None:
    path = tmp_path / "long.fasta"
    path.write_text(f">P1 long\n{'M' * 60}\n{'K' * 41}\n")
    _, (error,) = read(path, max_residues=100)
    assert "101 residues" in str(error)
    assert "max_residues=100" in str(error)
    assert "Raise" in str(error)


TABLE = "Entry\tLength\tFunction [CC]\tSequence\n"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("P1\t3\tFUNCTION: Binds.", "bad_row"),
        ("P1\t4\tFUNCTION: Binds.\tMKV", "length_mismatch"),
        ("P1\t3\t\tMKV", "no_function"),
        ("P1\t3\tFUNCTION: Binds.\tMK1", "invalid_residue"),
        ("\t3\tFUNCTION: Binds.\tMKV", "no_accession"),
    ],
)
def test_bad_table_row_costs_only_itself(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "table.tsv"
    path.write_text(f"{TABLE}{line}\nP2\t3\tFUNCTION: Binds.\tMKV\n\n")
    records, refused = read(path)
    assert [record["record_id"] for record in records] == ["P2"]
    assert [error.reason for error in refused if isinstance(error, RecordError)] == [reason]


def test_table_without_a_needed_column_says_which(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    path.write_text("Entry\tSequence\nP1\tMKV\n")
    _, (error,) = read(path)
    assert "Function [CC]" in str(error)


def flat_entry(real_data: Path, name: str) -> str:
    return (real_data / "uniprot" / "flatfile" / name).read_text()


def test_malformed_flat_entry_costs_only_itself(real_data: Path, tmp_path: Path) -> None:
    good, other = flat_entry(real_data, "P60904.txt"), flat_entry(real_data, "P62258.txt")
    bad = good.replace("ID   ", "ID   broken line ", 1)
    cut = good[: len(good) // 2]
    path = tmp_path / "mixed.dat"
    path.write_text(bad + other + cut)
    records, refused = read(path)
    assert [record["record_id"] for record in records] == ["P62258"]
    assert isinstance(refused[0], RecordError)
    assert refused[0].place == "line 1"
    assert isinstance(refused[1], str)
    assert "ends inside this entry" in refused[1]


def test_malformed_xml_entry_costs_only_itself(real_data: Path, tmp_path: Path) -> None:
    text = (real_data / "uniprot" / "xml" / "multi_ex.xml").read_text()
    healthy = {record["record_id"] for record in read(real_data / "uniprot" / "xml" / "multi_ex.xml")[0]}
    path = tmp_path / "mixed.xml"
    path.write_text(text.replace("<accession>P56540</accession>", "<accession>P56540</wrong>"))
    records, refused = read(path)
    assert {record["record_id"] for record in records} == healthy - {"P56540"}
    errors = [error for error in refused if isinstance(error, RecordError) and error.reason == "unreadable"]
    line = text.count("\n", 0, text.rindex("<entry", 0, text.index("<accession>P56540"))) + 1
    assert [error.place for error in errors] == [f"line {line}"]


def test_rest_sequence_is_checked_against_its_md5(real_data: Path, tmp_path: Path) -> None:
    entry = json.loads((real_data / "uniprot" / "rest_entries.json").read_text())["results"][0]
    residues = entry["sequence"]["value"]
    entry["sequence"]["value"] = residues[:-1] + ("A" if residues[-1] != "A" else "G")
    path = tmp_path / "entry.json"
    path.write_text(json.dumps(entry))
    _, (error,) = read(path)
    assert isinstance(error, RecordError)
    assert error.reason == "checksum_mismatch"


@pytest.mark.parametrize("content", ["", "hello world\n", "a\tb\n1\t2\n"])
def test_unknown_content_names_the_known_formats(tmp_path: Path, content: str) -> None:
    path = tmp_path / "file.txt"
    path.write_text(content)
    with pytest.raises(ConfigError, match="known are FASTA"):
        detect(str(path))


TWICE = "Entry\tFunction [CC]\tSequence\tEntry\nP1\tFUNCTION: Binds.\tMKV\tP2\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html>\n<html><body>404</body></html>\n", "a web page, or XML of another kind; download it again"),
        (b"<?xml version='1.0'?><PubmedArticleSet><entryterm/></PubmedArticleSet>", "XML of another kind"),
        (TWICE.encode(), "names the column 'Entry' twice; keep one"),
        (">P1\nMKV\n".encode("utf-16-le"), "UTF-16 without the mark.* save it as UTF-8"),
        (">P1\nMKV\n".encode("utf-16-be"), "UTF-16 without the mark.* save it as UTF-8"),
        (b'"Entry","Function [CC]","Sequence"\n', "as a CSV table; save it as TSV"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "uniprot_sprot.dat"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        detect(str(path))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"proteinDescription": {"recommendedName": {"fullName": None}}}, "recommendedName.fullName: null; an object"),
        ({"comments": [None]}, r"comments\[0\]: null; an object is expected"),
        (
            {"comments": [{"commentType": "FUNCTION", "texts": [{"value": 5}]}]},
            r"comments\[0\].texts\[0\].value: 5; a text",
        ),
        ({"primaryAccession": None}, "primaryAccession: null; a text is expected"),
        ({"sequence": {"value": "MKV", "length": "3"}}, 'sequence.length: "3"; a whole number'),
    ],
)
def test_a_rest_entrys_field_of_another_kind_is_named(tmp_path: Path, change: dict[str, object], said: str) -> None:
    path = tmp_path / "entry.json"
    function = [{"commentType": "FUNCTION", "texts": [{"value": "Binds."}]}]
    entry = {"primaryAccession": "P1", "sequence": {"value": "MKV"}, "comments": function, **change}
    path.write_text(json.dumps(entry))
    _, (error,) = read(path)
    assert re.search(f"{said}.*Fetch the entry again", str(error))


ENTRY = """\
ID   ONE_TEST                Reviewed;           4 AA.
AC   P00001;
DT   01-JAN-2020, entry version 7.
DE   RecName: Full=One;
OS   Homo sapiens (Human).
RN   [1]
CC   -!- FUNCTION: Binds ATP.
SQ   SEQUENCE   4 AA;  500 MW;  0123456789ABCDEF CRC64;
     MKVL
//
"""


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("ID   ONE_TEST", "XX   ONE_TEST"), "line 1 of the entry begins with 'XX'"),
        (("OS   Homo", "\nOS   Homo"), "line 5 of the entry begins with ''"),
        (("AC   P00001;\n", ""), "0 lines with the code 'AC'"),
        (("     MKVL\n", ""), "0 lines with the code '  '"),
        (("RN   [1]\n", ENTRY.removesuffix("//\n")), "2 lines with the code 'ID'"),
        (("OS   Homo sapiens (Human).\nRN   [1]\n", "RN   [1]\nOS   Homo sapiens (Human).\n"), "in the order"),
        (("4 AA.", "5 AA."), "state one length"),
        (("Reviewed;  ", "Reviewed   "), "state one length"),
        (("SEQUENCE   4", "SEQUENCE   four"), "state one length"),
    ],
)
def test_a_flat_entry_that_is_none_says_why_and_costs_only_itself(
    tmp_path: Path, change: tuple[str, str], problem: str
) -> None:
    path = tmp_path / "entries.dat"
    other = ENTRY.replace("P00001", "P00002")
    path.write_text(other + ENTRY.replace(*change) + other.replace("P00002", "P00003"))
    records, refused = read(path)
    assert [record["record_id"] for record in records] == ["P00002", "P00003"]
    (error,) = refused
    assert isinstance(error, RecordError)
    assert error.reason == "unreadable"
    assert error.place == "line 11"
    assert problem in str(error)
