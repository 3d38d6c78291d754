"""`data.readers`: every format against an independent parse; every malformed entry costs only itself."""

import io
import json
import re
from datetime import datetime
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from Bio import SeqIO, SwissProt

from protein2text.data.evidence import function_text
from protein2text.data.readers.entries import Place
from protein2text.data.readers.formats import READERS, detect, read_entries
from protein2text.data.records import Record
from protein2text.errors import ConfigError, RecordError


def read(path: Path, max_residues: int | None = None) -> tuple[list[Record], list[RecordError | str]]:
    """Records and refusals of a file, as ingest would find them, in this process."""
    format_name = detect(str(path))
    records: list[Record] = []
    refused: list[RecordError | str] = []
    for entry in read_entries(str(path), format_name):
        if entry.problem:
            refused.append(entry.problem)
            continue
        try:
            records.append(READERS[format_name].parse(entry.raw, Place(path.name, entry.place, max_residues)))
        except RecordError as error:
            refused.append(error)
    return records, refused


def test_table_agrees_with_pandas(real_data: Path) -> None:
    path = real_data / "uniprot" / "human_function.tsv"
    frame = pd.read_csv(path, sep="\t", quoting=3)
    frame = frame[frame["Function [CC]"].notna()]
    records, refused = read(path)
    assert [record["record_id"] for record in records] == frame["Entry"].tolist()
    assert [record["proteins"][0]["sequence"] for record in records] == frame["Sequence"].tolist()
    assert [json.loads(record["provenance"] or "")["name"] for record in records] == frame["Protein names"].tolist()
    assert len(records) == 491
    assert len(refused) == 9
    assert {error.reason for error in refused if isinstance(error, RecordError)} == {"no_function"}


def test_flat_files_agree_with_biopython(real_data: Path) -> None:
    for path in sorted((real_data / "uniprot" / "flatfile").glob("*.txt")):
        entries = {entry.id: entry for entry in SeqIO.parse(io.StringIO(path.read_text()), "swiss")}
        records, refused = read(path)
        assert len(records) + len(refused) == len(entries), path
        for record in records:
            entry = entries[record["record_id"]]
            assert record["proteins"][0]["sequence"] == str(entry.seq)
            function = [text for text in entry.annotations["comment"].split("\n") if text.startswith("FUNCTION:")]
            first_words = re.findall(r"[A-Za-z]{3,}", function[0])[1:6]
            assert re.findall(r"[A-Za-z]{3,}", record["text"] or "")[:5] == first_words
            created = json.loads(record["provenance"] or "{}")["created"]
            assert datetime.strptime(entry.annotations["date"], "%d-%b-%Y").date().isoformat() == created


def test_every_field_of_a_flat_file_agrees_with_biopython(
    real_data: Path, swissprot_like: ModuleType, tmp_path: Path
) -> None:
    made = tmp_path / "made.txt"
    swissprot_like.write_flat_file(made, 200, seed=4)
    num_compared = 0
    for path in [made, *sorted((real_data / "uniprot" / "flatfile").glob("*.txt"))]:
        with path.open() as file:
            entries = {entry.accessions[0]: entry for entry in SwissProt.parse(file)}
        records, refused = read(path)
        assert {error.reason for error in refused if isinstance(error, RecordError)} <= {"no_function"}
        assert len(records) + len(refused) == len(entries)
        for record in records:
            entry, provenance = entries[record["record_id"]], json.loads(record["provenance"] or "{}")
            assert record["proteins"][0]["sequence"] == entry.sequence
            assert provenance["name"] == re.search(r"Full=([^;{]+)", entry.description)[1].strip()
            assert provenance["organism"] == entry.organism.rstrip(".")
            assert provenance["entry_version"] == entry.annotation_update[1]
            function = [text for text in entry.comments if text.startswith("FUNCTION:")]
            letters = re.sub(r"\s", "", "".join(function_text([text]).text for text in function))
            assert re.sub(r"\s", "", record["text"] or "") == letters, "but for spaces after hyphens"
            num_compared += 1
    assert num_compared > 19 + 150


def test_xml_agrees_with_biopython(real_data: Path) -> None:
    for path in sorted((real_data / "uniprot" / "xml").glob("*.xml")):
        if path.name == "multiligand.xml":  # a piece of an entry, which Biopython's reader refuses
            continue
        text = path.read_text().replace("https://uniprot.org", "http://uniprot.org")
        entries = {entry.id: entry for entry in SeqIO.parse(io.BytesIO(text.encode()), "uniprot-xml")}
        records, refused = read(path)
        assert len(records) + len(refused) == len(entries), path
        for record in records:
            entry = entries[record["record_id"]]
            assert record["proteins"][0]["sequence"] == str(entry.seq)
            assert json.loads(record["provenance"] or "{}")["created"] == entry.annotations["created"]
            for comment in entry.annotations["comment_function"]:
                assert comment.split("(PubMed")[0].split(" (By sim")[0].strip()[:60] in (record["text"] or "")


def test_flat_file_and_xml_of_one_entry_give_one_text(real_data: Path) -> None:
    folder = real_data / "uniprot"
    texts: dict[str, set[str | None]] = {}
    for name in ("flatfile/multi_ex.txt", "xml/multi_ex.xml", "flatfile/Q13639.txt", "xml/Q13639.xml"):
        for record in read(folder / name)[0]:
            texts.setdefault(record["record_id"], set()).add(record["text"])
    assert len(texts) == 7
    assert all(len(found) == 1 for found in texts.values()), texts


def test_rest_json_agrees_with_its_own_fields(real_data: Path) -> None:
    path = real_data / "uniprot" / "rest_entries.json"
    entries = {entry["primaryAccession"]: entry for entry in json.loads(path.read_text())["results"]}
    records, refused = read(path)
    assert len(records) + len(refused) == len(entries) == 44
    for record in records:
        entry = entries[record["record_id"]]
        comments = [comment for comment in entry["comments"] if comment["commentType"] == "FUNCTION"]
        codes = {
            ev["evidenceCode"] for comment in comments for text in comment["texts"] for ev in text.get("evidences", [])
        }
        assert record["proteins"][0]["sequence"] == entry["sequence"]["value"]
        assert set(json.loads(record["provenance"] or "{}").get("evidence", [])) == codes
        assert json.loads(record["provenance"] or "{}")["created"] == entry["entryAudit"]["firstPublicDate"]
    refused_ids = {error.record for error in refused if isinstance(error, RecordError)}
    without = {
        name for name, entry in entries.items() if all(c["commentType"] != "FUNCTION" for c in entry["comments"])
    }
    assert refused_ids == without


def test_fasta_gives_proteins_without_texts(real_data: Path) -> None:
    path = real_data / "classification" / "deeploc_test.fasta"
    records, refused = read(path)
    entries = list(SeqIO.parse(io.StringIO(path.read_text()), "fasta"))
    assert not refused
    assert [record["proteins"][0]["sequence"] for record in records] == [str(entry.seq) for entry in entries]
    assert [record["record_id"] for record in records] == [entry.id for entry in entries]
    assert all(record["text"] is None and record["messages"] is None for record in records)


def test_published_questions(real_data: Path) -> None:
    path = real_data / "qa" / "protein2text_sample.json"
    source = json.loads(path.read_text())
    records, refused = read(path)
    assert [record["record_id"] for record in records] == [row["long_format_id"] for row in source[:2]]
    assert records[0]["messages"] == [
        {"role": "user", "content": source[0]["conversations"][0]["value"]},
        {"role": "assistant", "content": source[0]["conversations"][1]["value"]},
    ]
    assert json.loads(records[1]["provenance"] or "")["pmc"] == source[1]["pmc_id"]
    (error,) = refused
    assert isinstance(error, RecordError)
    assert error.reason == "truncated"
    assert error.record == "Q9HC52_27"
    assert "backslash" in str(error)


def test_benchmark_questions_lose_only_their_references(real_data: Path) -> None:
    path = real_data / "qa" / "microbiome_benchmark.json"
    source = {row["long_format_id"]: row for row in json.loads(path.read_text())}
    records, refused = read(path)
    assert not refused
    assert len(records) == len(source) == 669
    for record in records:
        row = source[record["record_id"]]
        assert record["messages"] is not None
        question, answer = (turn["content"] for turn in record["messages"])
        assert question == row["conversations"][0]["value"]
        assert "PubMed:" not in answer
        assert "{ECO" not in answer
        raw = row["conversations"][1]["value"]
        if "PubMed" not in raw and "similarity)" not in raw and "(Probable)" not in raw:
            assert answer == " ".join(raw.split())
        assert record["question_kind"] is None
        assert record["facts"] is None


QUESTION = {
    "long_format_id": "P1_0",
    "id": "P1",
    "protein": "One",
    "pmc_id": ["PMC1"],
    "amino_seq": "MKV",
    "conversations": [
        {"from": "human", "value": "<protein_sequence>\nWhat is it?"},
        {"from": "gpt", "value": "It is an enzyme."},
    ],
}


def conversation(human: str, gpt: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": human}, {"from": "gpt", "value": gpt}]


def write_questions(path: Path, *changes: dict[str, object]) -> Path:
    path.write_text(json.dumps([{**QUESTION, **change} for change in changes]))
    return path


def test_question_about_two_proteins(tmp_path: Path) -> None:
    two = {
        "id": ["P1", "P2"],
        "protein": ["One", "Two"],
        "amino_seq": ["MKV", "MKL"],
        "conversations": conversation("<protein_sequence>\n<protein_sequence>\nAre they alike?", "Yes, both: ATP."),
        "question_kind": "pair",
        "facts": ["binds=ATP", "yes_no=yes"],
    }
    records, refused = read(write_questions(tmp_path / "qa.json", two))
    assert not refused
    assert [protein["accession"] for protein in records[0]["proteins"]] == ["P1", "P2"]
    assert records[0]["question_kind"] == "pair"
    assert records[0]["facts"] == ["binds=ATP", "yes_no=yes"]


def test_missing_facts_differ_from_none(tmp_path: Path) -> None:
    records, _ = read(write_questions(tmp_path / "qa.json", {"facts": []}, {}))
    assert [record["facts"] for record in records] == [[], None]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"conversations": conversation("<protein_sequence>\nWhat?", "It is critical to\\")}, "truncated"),
        ({"conversations": conversation("<protein_sequence>\nWhat?", 'It is "critical')}, "truncated"),
        ({"conversations": conversation("<protein_sequence>\nWhat?", "It binds (ATP.")}, "truncated"),
        ({"conversations": conversation("<protein_sequence>\nWhat?", "It binds ATP).")}, "truncated"),
        ({"conversations": conversation("<protein_sequence>\nWhat?", " \n")}, "empty_text"),
        ({"conversations": conversation("<protein_sequence>\n", "It binds.")}, "empty_text"),
        ({"conversations": conversation("What is it?", "It binds.")}, "bad_placeholder"),
        ({"conversations": conversation("<protein_sequence>\n<protein_sequence>\nSame?", "Yes.")}, "bad_placeholder"),
        ({"conversations": conversation("<protein_sequence>\nIs <protein_sequence> it?", "Yes.")}, "bad_placeholder"),
        ({"conversations": QUESTION["conversations"][:1]}, "bad_turns"),  # type: ignore[index]
        ({"conversations": None}, "bad_turns"),
        ({"id": ["P1", "P2"]}, "bad_proteins"),
        ({"id": ["P1", "P2", "P3"], "amino_seq": ["M", "M", "M"]}, "bad_proteins"),
        ({"amino_seq": ""}, "empty_sequence"),
        ({"amino_seq": "MKJ"}, "invalid_residue"),
        ({"amino_seq": "M" * 11}, "too_long"),
        ({"id": " "}, "no_accession"),
    ],
)
def test_unusable_question_is_refused_with_its_reason(tmp_path: Path, change: dict[str, object], reason: str) -> None:
    records, refused = read(write_questions(tmp_path / "qa.json", change, {"long_format_id": "good"}), max_residues=10)
    assert [record["record_id"] for record in records] == ["good"]
    (error,) = refused
    assert isinstance(error, RecordError)
    assert error.reason == reason
    assert len(str(error)) > 40, "an error says value, place, limit and remedy"


def test_escaped_quotes_are_mended_and_said_so(tmp_path: Path) -> None:
    change = {"conversations": conversation("<protein_sequence>\nWhat is this protein\\'s role?", "It\\'s an enzyme.")}
    records, _ = read(write_questions(tmp_path / "qa.json", change, {}))
    messages = records[0]["messages"]
    assert messages is not None
    assert messages[0]["content"].endswith("this protein's role?")
    assert messages[1]["content"] == "It's an enzyme."
    assert json.loads(records[0]["provenance"] or "")["mended"] is True
    assert "mended" not in json.loads(records[1]["provenance"] or "")


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


def test_columns_may_come_in_any_order_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    path.write_bytes(b"Sequence\tEntry\tFunction [CC]\r\nmkv*\tP1\tFUNCTION: Binds.\r\n")
    ((record,), _) = read(path)
    assert record["proteins"][0]["sequence"] == "MKV"
    assert record["text"] == "Binds."


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


@pytest.mark.parametrize("namespace", ["http://uniprot.org/uniprot", "https://uniprot.org/uniprot"])
def test_both_xml_namespaces(tmp_path: Path, namespace: str) -> None:
    path = tmp_path / "entry.xml"
    path.write_text(
        f'<uniprot xmlns="{namespace}"><entry version="7"><accession>P1</accession><comment type="function">'
        '<molecule>Isoform 2</molecule><text evidence="1">Binds ATP (PubMed:5)</text></comment>'
        '<evidence key="1" type="ECO:0000269"><source><dbReference type="PubMed" id="5"/></source></evidence>'
        '<sequence length="3">MK\nV</sequence></entry></uniprot>'
    )
    ((record,), refused) = read(path)
    assert not refused
    assert record["text"] == "[Isoform 2]: Binds ATP."
    assert record["proteins"][0]["sequence"] == "MKV"
    assert json.loads(record["provenance"] or "") == {"entry_version": 7, "evidence": ["ECO:0000269"], "pubmed": ["5"]}


def test_json_that_breaks_off_keeps_what_came_before(tmp_path: Path) -> None:
    path = tmp_path / "cut.json"
    whole = json.dumps([QUESTION, {**QUESTION, "long_format_id": "P1_1"}], indent=1)
    path.write_text(whole[:-20])
    records, refused = read(path)
    assert [record["record_id"] for record in records] == ["P1_0"]
    assert len(refused) == 1
    assert "nothing after it can be read" in str(refused[0])
    path.write_text(whole.rstrip("]\n"))
    records, refused = read(path)
    assert len(records) == 2
    assert "not closed" in str(refused[0])


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(json.dumps({**QUESTION, "long_format_id": f"P1_{n}"}) + "\n" for n in range(3)))
    records, refused = read(path)
    assert [record["record_id"] for record in records] == ["P1_0", "P1_1", "P1_2"]
    assert not refused


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


def test_lines_may_end_as_on_old_macs(tmp_path: Path) -> None:
    path = tmp_path / "old.txt"
    for text in (">P1 one\nMKV\n>P2 two\nMKL\n", TWICE.replace("\tEntry\n", "\n").replace("\tP2\n", "\n")):
        path.write_text(text)
        expected = read(path)
        path.write_bytes(text.replace("\n", "\r").encode())
        assert read(path) == expected
        assert expected[0]


def test_what_python_reads_as_json_but_is_no_text_is_refused(tmp_path: Path) -> None:
    nan = [{"amino_seq": float("nan")}, {"conversations": conversation("<protein_sequence>\nWhat?", float("nan"))}]  # type: ignore[arg-type]
    path = write_questions(tmp_path / "qa.json", *nan)
    for entry in read_entries(str(path), "json"):
        with pytest.raises(ValueError, match="it holds NaN, which is no JSON; write null"):
            READERS["json"].parse(entry.raw, Place("qa.json", entry.place, 10))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"conversations": [None, None]}, r"conversations: turns from \[None, None\]; one human turn"),
        ({"conversations": [{"from": "human", "value": 5}, {"from": "gpt"}]}, "human turn: value 5; a text is needed"),
        ({"amino_seq": 1.5}, "amino_seq: 1.5; a text is needed"),
        ({"question_kind": {"a": 1}}, r"question_kind: \{'a': 1\}; a text is needed"),
        ({"facts": [None]}, "facts: None; a text is needed"),
    ],
)
def test_a_questions_field_of_another_kind_is_named(tmp_path: Path, change: dict[str, object], said: str) -> None:
    _, (error,) = read(write_questions(tmp_path / "qa.json", change))
    assert re.search(said, str(error))


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
