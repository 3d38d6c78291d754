"""`data.readers` of UniProt's formats and FASTA: what they read is what an independent parser reads."""

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
from protein2text.errors import RecordError
from tests.data.read_in_process import read


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


def test_columns_may_come_in_any_order_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    path.write_bytes(b"Sequence\tEntry\tFunction [CC]\r\nmkv*\tP1\tFUNCTION: Binds.\r\n")
    ((record,), _) = read(path)
    assert record["proteins"][0]["sequence"] == "MKV"
    assert record["text"] == "Binds."


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


def test_lines_may_end_as_on_old_macs(tmp_path: Path) -> None:
    path = tmp_path / "old.txt"
    for text in (">P1 one\nMKV\n>P2 two\nMKL\n", "Entry\tFunction [CC]\tSequence\nP1\tFUNCTION: Binds.\tMKV\n"):
        path.write_text(text)
        expected = read(path)
        path.write_bytes(text.replace("\n", "\r").encode())
        assert read(path) == expected
        assert expected[0]
