"""Any bytes in, records or quarantine out: never a crash, never a silent loss, for every reader."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from protein2text.data.parsing import PIECE_SCHEMA, cut_sources, parse_pieces
from protein2text.data.readers import entries
from protein2text.data.readers.formats import READERS
from protein2text.proteins import ALPHABET
from tests.data.entry_counts import COUNTS

FLAT = """\
ID   {name}_TEST              Reviewed;          12 AA.
AC   {name}; Q0;
DT   01-JAN-2020, entry version 7.
DE   RecName: Full=Thing {{ECO:0000303|PubMed:1}};
OS   Homo sapiens (Human).
CC   -!- FUNCTION: Binds ATP (PubMed:1) and 5-
CC       hydroxytryptamine. {{ECO:0000269|PubMed:1}}.
FT   CHAIN           1..12
SQ   SEQUENCE   12 AA;  1000 MW;  0123456789ABCDEF CRC64;
     ACDEFGHIKL MN
//
"""
XML = """\
<?xml version="1.0" encoding="UTF-8"?>
<uniprot xmlns="http://uniprot.org/uniprot">
{entries}<copyright>Distributed under the Creative Commons Attribution (CC BY 4.0) License</copyright>
</uniprot>
"""
XML_ENTRY = """\
<entry version="3"><accession>{name}</accession>
<comment type="function"><text evidence="1">Binds ATP é (PubMed:1).</text></comment>
<evidence key="1" type="ECO:0000269"/><sequence length="4">MKVL</sequence></entry>
"""
REST = {
    "primaryAccession": "P1",
    "sequence": {"value": "MKVL", "length": 4},
    "comments": [{"commentType": "FUNCTION", "texts": [{"value": "Binds \ud83d\ude00 ATP."}]}],
}
ASKED = {
    "long_format_id": "P1_0",
    "id": "P1",
    "amino_seq": "MKVL",
    "conversations": [{"from": "human", "value": "<protein_sequence>\nWhat?"}, {"from": "gpt", "value": "It\\'s one."}],
}
NAMES = ("P1", "P2", "P3")
SEEDS: list[tuple[str, bytes]] = [
    ("fasta", "".join(f">sp|{name}|X title {name}\nMKVL\nACDE*\n" for name in NAMES).encode()),
    ("json", json.dumps([REST, ASKED, {**ASKED, "id": "P2"}], indent=1).encode()),
    ("json", json.dumps({"results": [REST, {**REST, "primaryAccession": "P2"}]}).encode()),
    ("json", "".join(json.dumps({**ASKED, "long_format_id": name}) + "\n" for name in NAMES).encode()),
    ("uniprot-flat", "".join(FLAT.format(name=name) for name in NAMES).encode()),
    (
        "uniprot-tsv",
        "".join(["Entry\tFunction [CC]\tSequence\n", *(f"{n}\tFUNCTION: Bé.\tMKV\n" for n in NAMES)]).encode(),
    ),
    ("uniprot-xml", XML.format(entries="".join(XML_ENTRY.format(name=name) for name in NAMES)).encode()),
]
SAME_EVERY_TIME = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
ALL_SEEDS = pytest.mark.parametrize(("name", "seed"), SEEDS, ids=[f"{name}-{len(seed)}" for name, seed in SEEDS])
ALL_FORMATS = pytest.mark.parametrize("name", sorted(COUNTS))


@pytest.fixture(scope="module", autouse=True)
def small_pieces() -> Iterator[None]:
    """Pieces of some lines, so that small inputs have many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entries, "PIECE_BYTES", 90)
        yield


def outcomes(name: str, data: bytes, chunk_bytes: int, first_lines: int = 9) -> list[dict[str, Any]]:
    """What ingest's two steps make of a file's bytes, which come in chunks; the first holds some lines at least."""
    first = len(b"\n".join(data.split(b"\n")[:first_lines]))
    chunks = [data[:first], *(data[at : at + chunk_bytes] for at in range(first, len(data), chunk_bytes))]
    of_file = {"format": name, "source": "test", "origin": ""}
    pieces = [of_file | piece._asdict() for piece in READERS[name].cut(iter(filter(None, chunks)))]
    return list(parse_pieces(pa.Table.from_pylist(pieces, schema=PIECE_SCHEMA), max_residues=1000).to_pylist())


def assert_all_told(name: str, data: bytes, chunk_bytes: int) -> None:
    rows = outcomes(name, data, chunk_bytes)
    assert len(rows) == COUNTS[name](data)
    for row in rows:
        assert row["place"]
        assert (row["record_id"] is None) == bool(row["reason"] and row["message"])
        for protein in row["proteins"] or ():
            assert protein["sequence"]
            assert set(protein["sequence"]) <= set(ALPHABET)
    at_once = outcomes(name, data, len(data) + 1)
    for row in (*rows, *at_once):
        row.pop("value")  # of unread text, as much is shown as was at hand
    assert rows == at_once, "chunks are no matter of the data"


def damaged(seed: bytes) -> st.SearchStrategy[bytes]:
    """The seed, cut, flipped, spliced and overwritten in some places."""
    place = st.integers(0, len(seed))
    change = st.tuples(st.sampled_from(["cut", "flip", "splice", "write"]), place, place, place, st.binary(max_size=9))
    return st.lists(change, min_size=1, max_size=4).map(lambda changes: apply(seed, changes))


def apply(seed: bytes, changes: list[tuple[str, int, int, int, bytes]]) -> bytes:
    data = bytearray(seed)
    for kind, one, other, at, written in changes:
        low, high = sorted((one, other))
        if kind == "cut":
            del data[low:high]
        elif kind == "splice":
            data[at:at] = data[low:high]
        elif kind == "write":
            data[at : at + len(written)] = written
        elif at < len(data):
            data[at] ^= 1 << (one % 8)
    return bytes(data)


@ALL_SEEDS
def test_seeds_are_read_whole(name: str, seed: bytes) -> None:
    rows = outcomes(name, seed, 64)
    assert len(rows) == COUNTS[name](seed) >= 2
    assert not any(row["reason"] for row in rows), rows


@ALL_FORMATS
@SAME_EVERY_TIME
@given(st.data())
def test_random_bytes(name: str, data: st.DataObject) -> None:
    assert_all_told(name, data.draw(st.binary(max_size=300)), data.draw(st.integers(1, 99)))


@ALL_FORMATS
@SAME_EVERY_TIME
@given(st.data())
def test_text_of_the_format_s_own_words(name: str, data: st.DataObject) -> None:
    words = {
        "fasta": ">|\n|>\n| |MKV|\r\n",
        "json": '[|{|}|]|,|"a"|:|\n|{"results":[|12|1.5|-|true|"|\\',
        "uniprot-flat": "//|\n//\n|ID   |\n|\r\n|  |CC   -!- FUNCTION: a|SQ   |x",
        "uniprot-tsv": "Entry|\t|\n|\r|Sequence|Function [CC]|\n\n|MKV",
        "uniprot-xml": "<entry>|<entry |</entry>|</entry >|<|>|\n|<!--|-->|<uniprot>|</uniprot>|<?xml|?>|x"
        "|<copyright>|</copyright>",
    }[name].split("|")
    text = "".join(data.draw(st.lists(st.sampled_from(words), max_size=25)))
    assert_all_told(name, text.encode(), data.draw(st.integers(1, 99)))


@ALL_SEEDS
@SAME_EVERY_TIME
@given(st.data())
def test_damaged_files(name: str, seed: bytes, data: st.DataObject) -> None:
    assert_all_told(name, data.draw(damaged(seed)), data.draw(st.integers(1, 99)))


@pytest.mark.slow
@ALL_SEEDS
@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_damaged_files_many_times(name: str, seed: bytes, data: st.DataObject) -> None:
    assert_all_told(name, data.draw(damaged(seed)), data.draw(st.integers(1, 99)))


def test_a_frame_that_breaks_off_in_an_entry_is_no_frame() -> None:
    assert_all_told("uniprot-xml", b"<uniprot</entry>\n</uniprot>\n", 99)


@pytest.mark.parametrize("ending", [b"]\xc2", b"]}\xe2\x82", b"]}\n\xe2\x82\xac"])
@pytest.mark.parametrize("chunk_bytes", [1, 2, 99])
def test_text_after_a_list_is_told_though_its_last_letter_is_cut(ending: bytes, chunk_bytes: int) -> None:
    rows = outcomes("json", json.dumps({"results": [REST]}).encode().removesuffix(b"]}") + ending, chunk_bytes)
    assert [row["reason"] for row in rows] == [None, "cut_short"]


@pytest.mark.parametrize("name", ["fasta", "uniprot-flat", "uniprot-tsv", "uniprot-xml"])
@pytest.mark.parametrize("chunk_bytes", [1, 77, 700])
def test_an_entry_without_end_is_passed_over_in_a_file_that_goes_on(
    name: str, chunk_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "MAX_ENTRY_BYTES", 2000)
    seed = dict(SEEDS)[name]
    second = seed.index(b"P2")
    filling = b"x" * 9999 if name == "uniprot-tsv" else (b"x" * 999 + b"\n  ") * 9
    swollen = seed[:second] + filling + seed[second:]
    rows = outcomes(name, swollen, chunk_bytes, first_lines=1)
    assert [row["record_id"] for row in rows] == ["P1", None, "P3"]
    assert rows[1]["reason"] == "entry_too_large"
    line = int(rows[2]["place"].removeprefix("line "))
    assert b"P3" in b"\n".join(swollen.split(b"\n")[line - 1 : line + 2])


@pytest.mark.parametrize(
    "data", [b"[" * 200_000, b'[{"a":' * 50_000, b'["' + b"\\ud800" + b'"]', b"[1e999, NaN, " + b"9" * 5000 + b"]"]
)
def test_json_that_strains_a_parser(data: bytes) -> None:
    rows = outcomes("json", data, 1000)
    assert rows
    assert all(row["reason"] for row in rows)
    assert not any(word in row["message"] for row in rows for word in ("recursion", "sys.", "Error"))


def test_half_a_letter_is_named() -> None:
    half = json.dumps([{**REST, "proteinDescription": "\ud800"}]).encode()
    (row,) = outcomes("json", half, 1000)
    assert (row["reason"], row["value"]) == ("half_letter", r"'\ud800'")


def packed_outcomes(path: Path) -> list[dict[str, Any]]:
    task = {"path": str(path), "format": "uniprot-tsv", "source": path.name, "origin": ""}
    rows: list[dict[str, Any]] = []
    for table in cut_sources(pa.Table.from_pylist([task])):
        rows += parse_pieces(table, max_residues=1000).to_pylist()
    return rows


TABLE = "Entry\tFunction [CC]\tSequence\n" + "".join(
    f"P{number}\tFUNCTION: Binds {number * 7919 % 1000}.\tMKV{'ACDEFGHIKL'[number % 10] * (number % 7)}\n"
    for number in range(200)
)
PACKED = gzip.compress(TABLE.encode(), mtime=0)


@SAME_EVERY_TIME
@given(cut=st.integers(20, len(PACKED) - 1))
@example(cut=len(PACKED) - 1)
@example(cut=len(PACKED) - 8)
def test_truncated_gzip_keeps_every_whole_line(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.tsv.gz"
    path.write_bytes(PACKED[:cut])
    rows = packed_outcomes(path)
    readable = zlib.decompressobj(wbits=31).decompress(PACKED[:cut])
    assert len(rows) == max(0, readable.count(b"\n") - 1) + 1
    assert [row["reason"] for row in rows] == [None] * (len(rows) - 1) + ["truncated_gzip"]


@SAME_EVERY_TIME
@given(at=st.integers(20, len(PACKED) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_in_gzip_is_found(tmp_path_factory: pytest.TempPathFactory, at: int, bit: int) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped.tsv.gz"
    path.write_bytes(apply(PACKED, [("flip", bit, 0, at, b"")]))
    rows = packed_outcomes(path)
    assert rows[-1]["reason"] in ("damaged_gzip", "truncated_gzip")


def test_all_that_unpacks_before_damage_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "damaged.tsv.gz"
    for at in (len(PACKED) - 6, len(PACKED) - 2, len(PACKED) // 2):  # checksum, length, data
        path.write_bytes(PACKED[:at] + bytes([PACKED[at] ^ 0xFF]) + PACKED[at + 1 :])
        member, readable = zlib.decompressobj(wbits=-15), b""  # deflate alone: it checks no trailer
        try:
            for byte in path.read_bytes()[10:-8]:
                readable += member.decompress(bytes([byte]))
        except zlib.error:
            assert at == len(PACKED) // 2
        rows = packed_outcomes(path)
        assert len(rows) == readable.count(b"\n") - 1 + 1
        assert rows[-1]["reason"] == "damaged_gzip"
        assert "Fetch the file again" in rows[-1]["message"]
    assert len(rows) < 200


@pytest.mark.parametrize(
    ("name", "removed"),
    [
        ("uniprot-xml", b"</uniprot>\n"),
        ("uniprot-xml", b"</entry>"),
        ("uniprot-flat", b"//"),
        ("json", b"]"),
        ("json", b'"'),
    ],
)
def test_a_file_that_was_cut_is_told_once_with_a_remedy(name: str, removed: bytes) -> None:
    whole = dict(SEEDS[::-1])[name]
    rows = outcomes(name, whole[: whole.rindex(removed)], 64)
    assert [row["reason"] for row in rows if row["reason"]] == ["cut_short"]
    assert "etch the file again." in rows[-1]["message"]


def test_bare_xml_entries_need_no_frame() -> None:
    assert [row["reason"] for row in outcomes("uniprot-xml", XML_ENTRY.format(name="P1").encode(), 64)] == [None]


@pytest.mark.parametrize(
    ("between", "after", "reason"), [(b"", b"", None), (b"\0" * 99, b"", None), (b"", b"garbage", "damaged_gzip")]
)
def test_gzip_members_are_one_file(tmp_path: Path, between: bytes, after: bytes, reason: str | None) -> None:
    middle = TABLE.index("P100") + 2
    members = [gzip.compress(part.encode()) for part in (TABLE[:middle], "", TABLE[middle:])]
    path = tmp_path / "members.tsv.gz"
    path.write_bytes(between.join(members) + after)
    rows = packed_outcomes(path)
    assert [row["record_id"] for row in rows[:200]] == [f"P{number}" for number in range(200)]
    assert [row["reason"] for row in rows[200:]] == ([reason] if reason else [])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings_told_by_a_mark(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "marked.tsv"
    mark = "" if encoding in ("utf-8-sig", "utf-16") else "\ufeff"
    path.write_bytes((mark + TABLE.replace("Binds", "Bündelt 😀")).encode(encoding))
    rows = packed_outcomes(path)
    assert len(rows) == 200
    assert all(row["text"].startswith("Bündelt 😀") for row in rows)


def test_latin_1_bytes_cost_their_entries_only(tmp_path: Path) -> None:
    path = tmp_path / "latin.tsv"
    path.write_bytes(TABLE.replace("Binds 7", "Bündelt 7").encode("latin-1"))
    rows = packed_outcomes(path)
    refused = [row for row in rows if row["reason"]]
    assert len(rows) == 200
    assert len(refused) == TABLE.count("Binds 7") > 5
    assert {row["reason"] for row in refused} == {"not_utf8"}


def test_an_entry_version_of_any_size_or_type_stays_in_its_own_record() -> None:
    """Provenance is JSON, so no number can be too large for a column."""
    texts = [{"commentType": "FUNCTION", "texts": [{"value": "Binds ATP."}]}]
    versions = [1, 10**15, "5", 2**31]
    entries = [
        {"primaryAccession": f"P{number}", "entryType": "UniProtKB", "comments": texts,
         "sequence": {"value": "MKVLAW", "length": 6}, "entryAudit": {"entryVersion": version}}
        for number, version in enumerate(versions)
    ]  # fmt: skip
    made = outcomes("json", json.dumps({"results": entries}).encode(), 1024)
    assert [json.loads(row["provenance"])["entry_version"] for row in made] == versions
