"""`data.ingest` on a real Ray: nothing lost, order kept, half corpora never look whole."""

import gzip
import json
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
import ray.data

from protein2text.data import reading
from protein2text.data.corpus_writer import CorpusWriter
from protein2text.data.ingest import IngestSummary, ingest
from protein2text.data.parsing import OUTCOME_SCHEMA
from protein2text.data.readers.entries import PIECE_BYTES
from protein2text.data.records import (
    RECORD_SCHEMA,
    RECORD_VERSION,
    ROWS_PER_BLOCK,
    corpus_checksum,
    iter_local,
    load_card,
    make_record,
    read_records,
)
from protein2text.data.sample import SampleSize, write_sample
from protein2text.errors import ConfigError, CorruptCheckpoint, MissingFile, ResumeMismatch
from protein2text.proteins import Protein

pytestmark = pytest.mark.usefixtures("local_ray")


def quarantined(output: Path | str) -> list[dict[str, Any]]:
    rows = []
    for path in sorted((Path(output) / "quarantine").glob("*.parquet")):
        rows += pq.read_table(path).to_pylist()
    return rows


def assert_nothing_lost(summary: IngestSummary, num_rows: int) -> None:
    """Rows in = records + quarantined, told alike by summary, shards and card, and each refusal says why."""
    records, refused = iter_local([summary.output]), quarantined(summary.output)
    assert summary.rows == num_rows == len(records) + len(refused)
    assert (summary.records, summary.quarantined) == (len(records), len(refused))
    assert summary.reasons == Counter(row["reason"] for row in refused)
    assert all(row["source"] and row["place"] and row["message"] for row in refused)
    card = load_card(summary.output)
    assert card["counts"]["rows"] == num_rows
    assert sum(source.get("rows", 0) for source in card["sources"]) == num_rows
    assert card["funnel"][0]["left"] == num_rows
    assert card["funnel"][-2]["left"] == len(records)
    assert sum((Counter(step.get("reasons", {})) for step in card["funnel"]), Counter()) == Counter(card["reasons"])
    sequences = {protein["sequence"] for row in records for protein in row["proteins"]}
    assert card["funnel"][-1] == {"step": "distinct sequences", "left": len(sequences)}
    assert summary.funnel == card["funnel"]
    assert sum(part["proteins"] for part in card["length_histogram"]) == card["counts"]["proteins"]
    assert corpus_checksum(summary.output) == card["checksum"] == summary.checksum


def write_table(path: Path, num_rows: int, first: int = 0) -> Path:
    lines = ["Entry\tFunction [CC]\tSequence"]
    for number in range(first, first + num_rows):
        lines.append(
            f"P{number:05d}\tFUNCTION: Binds ligand {number}.\tMK{'ACDEFGHIKL'[number % 10] * (number % 37 + 1)}"
        )
    path.write_text("\n".join(lines) + "\n")
    return path


def test_real_sources_lose_nothing(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "uniprot"
    sources = [
        str(folder / "human_function.tsv"),
        str(real_data / "qa" / "microbiome_benchmark.json"),
        str(real_data / "qa" / "protein2text_sample.json"),
        str(folder / "flatfile"),
        str(folder / "xml"),
        str(folder / "rest_entries.json"),
    ]
    summary = ingest(sources, str(tmp_path / "corpus"), max_residues=4096)
    flat = sum(path.read_text().count("\n//") for path in (folder / "flatfile").glob("*"))
    xml = sum(path.read_text().count("<entry ") for path in (folder / "xml").glob("*"))
    assert_nothing_lost(summary, 500 + 669 + 3 + flat + xml + 44)
    refused = quarantined(summary.output)
    long = {row["record"] for row in refused if row["reason"] == "too_long"}
    benchmark = json.loads((real_data / "qa" / "microbiome_benchmark.json").read_text())
    assert {row["id"] for row in benchmark if len(row["amino_seq"]) > 4096} <= long
    assert [row["record"] for row in refused if row["reason"] == "truncated"] == ["Q9HC52_27"]
    doubled = {row["record"] for row in refused if row["reason"].startswith("duplicate_")}
    assert "Q13639" in doubled, "the flat file, its copy in XML and others of the same entry"
    assert load_card(summary.output)["licences"]["CC BY 4.0"] > 0


def test_order_is_that_of_the_sources_across_files_and_blocks(tmp_path: Path) -> None:
    later = write_table(tmp_path / "a.tsv", 700, first=1000)
    earlier = write_table(tmp_path / "b.tsv", 600)
    summary = ingest([str(later), str(earlier)], str(tmp_path / "corpus"), max_residues=100)
    ids = [row["record_id"] for row in iter_local([summary.output], ["record_id"])]
    assert ids == [f"P{number:05d}" for number in [*range(1000, 1700), *range(600)]]


def test_a_small_corpus_is_read_in_many_blocks_in_order(tmp_path: Path) -> None:
    table = write_table(tmp_path / "a.tsv", 1300)
    summary = ingest([str(table)], str(tmp_path / "corpus"), max_residues=100)
    context = ray.data.DataContext.get_current()
    before, context.execution_options.preserve_order = context.execution_options.preserve_order, True
    try:
        records = read_records([summary.output]).materialize()
    finally:
        context.execution_options.preserve_order = before
    assert records.num_blocks() >= 1300 // ROWS_PER_BLOCK
    assert records.take_all() == iter_local([summary.output])


def test_gzip_and_file_borders_do_not_change_the_corpus(tmp_path: Path) -> None:
    whole = write_table(tmp_path / "whole.tsv", 300)
    zipped = tmp_path / "whole.tsv.gz"
    zipped.write_bytes(gzip.compress(whole.read_bytes()))
    plain = iter_local([ingest([str(whole)], str(tmp_path / "plain"), max_residues=100).output])
    unzipped = iter_local([ingest([str(zipped)], str(tmp_path / "unzipped"), max_residues=100).output])
    for row in (*plain, *unzipped):
        row.pop("source")
    assert plain == unzipped


def test_damaged_gzip_keeps_what_could_be_read_and_says_where_it_ends(tmp_path: Path) -> None:
    whole = write_table(tmp_path / "whole.tsv", 5000)
    zipped = gzip.compress(whole.read_bytes())
    cut = tmp_path / "cut.tsv.gz"
    cut.write_bytes(zipped[: len(zipped) // 2])
    summary = ingest([str(cut)], str(tmp_path / "corpus"), max_residues=100)
    assert 0 < summary.records < 5000
    assert summary.records == len(iter_local([summary.output]))
    last = quarantined(summary.output)[-1]
    assert last["reason"] == "truncated_gzip"
    assert f"nothing from line {summary.records + 2} on can be read" in last["message"]


def test_doubled_ids_and_same_file_names(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    first = write_table(tmp_path / "one" / "table.tsv", 10)
    second = write_table(tmp_path / "two" / "table.tsv", 15)
    summary = ingest([str(first), str(second)], str(tmp_path / "corpus"), max_residues=100)
    assert_nothing_lost(summary, 25)
    assert summary.reasons == {"duplicate_record": 10}
    refused = quarantined(summary.output)[0]
    assert refused["source"] == "two/table.tsv"
    assert "one/table.tsv, line 2 already, and says the same" in refused["message"]


def test_a_doubled_id_with_other_content_is_told_from_a_mere_copy(tmp_path: Path) -> None:
    table = write_table(tmp_path / "a.tsv", 4)
    rows = table.read_text().splitlines()
    other_text, other_sequence = rows[1].replace("ligand", "other"), rows[2] + "W"
    table.write_text("\n".join([*rows, rows[3], other_text, other_sequence, rows[3]]) + "\n")
    summary = ingest([str(table)], str(tmp_path / "corpus"), max_residues=100)
    assert_nothing_lost(summary, 8)
    reasons = [row["reason"] for row in quarantined(summary.output)]
    assert reasons == ["duplicate_record", "duplicate_id", "duplicate_id", "duplicate_record"]


def test_a_bomb_costs_the_rest_of_its_file_only(tmp_path: Path) -> None:
    good, bomb = write_table(tmp_path / "good.tsv", 20, first=100), tmp_path / "bomb.tsv.gz"
    rows = write_table(tmp_path / "rows.tsv", 30).read_bytes()
    bomb.write_bytes(gzip.compress(rows + b"\0" * 80 * 2**20))
    summary = ingest([str(bomb), str(good)], str(tmp_path / "corpus"), max_residues=100)
    assert_nothing_lost(summary, 30 + 1 + 20)
    (refused,) = quarantined(summary.output)
    assert (refused["reason"], refused["source"], refused["place"]) == ("decompression_bomb", "bomb.tsv.gz", "line 32")


def test_a_file_may_be_named_once(tmp_path: Path) -> None:
    table = write_table(tmp_path / "a.tsv", 4)
    with pytest.raises(ConfigError, match="named twice"):
        ingest([str(table), str(tmp_path)], str(tmp_path / "corpus"), max_residues=100)


def test_bytes_that_are_not_text_cost_only_their_entry(tmp_path: Path) -> None:
    table = write_table(tmp_path / "a.tsv", 3)
    table.write_bytes(table.read_bytes().replace(b"ligand 1", b"ligand \xff\xfe"))
    summary = ingest([str(table)], str(tmp_path / "corpus"), max_residues=100)
    assert_nothing_lost(summary, 3)
    assert summary.reasons == {"not_utf8": 1}


def test_nothing_usable_is_a_finished_empty_corpus(tmp_path: Path) -> None:
    summary = ingest([str(write_table(tmp_path / "a.tsv", 4))], str(tmp_path / "corpus"), max_residues=1)
    assert_nothing_lost(summary, 4)
    assert iter_local([summary.output]) == []


def test_a_swissprot_like_file_is_read_as_its_writer_says(
    swissprot_like: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BLOCK_BYTES", 1)
    source = tmp_path / "like.dat"
    told = swissprot_like.write_flat_file(source, 3000, malformed=0.05)
    assert source.stat().st_size > PIECE_BYTES, "several pieces, which several workers read"
    events: list[dict[str, Any]] = []
    summary = ingest([str(source)], str(tmp_path / "corpus"), max_residues=4096, progress=events.append)
    assert_nothing_lost(summary, 3000)
    assert {"records": summary.records, **summary.reasons} == told
    assert set(swissprot_like.MALFORMED) < set(told)
    lines = source.read_bytes().split(b"\n")
    for row in quarantined(summary.output):
        assert lines[int(row["place"].removeprefix("line ")) - 1].startswith(b"ID   "), row
    accessions = [line[5:14].decode().rstrip(";") for line in lines if line.startswith(b"AC   ")]
    kept = {row["record_id"]: None for row in iter_local([summary.output], ["record_id"])}
    assert list(kept) == [name for name in dict.fromkeys(accessions) if name in kept], "in the order of the file"
    mib = source.stat().st_size / 2**20
    assert events.pop(0) == {"stage": "ingest", "message": f"reading like.dat, {mib:.1f} MiB"}
    rows = [event["rows"] for event in events]
    assert rows == sorted(rows)
    assert len(rows) > 1
    counts = {"records": summary.records, "quarantined": summary.quarantined}
    counts |= {"step": int(mib), "num_steps": round(mib), "message": "MiB read"}
    assert events[-1] == {"stage": "ingest", "rows": 3000, **counts}


def half_corpus(folder: Path) -> None:
    """What a kill leaves behind: shards, one of them half-written, and no card."""
    writer = CorpusWriter(folder, shard_bytes=1)
    record = make_record("OLD", [Protein("OLD", "MKV")], source="old", text="Old.")
    writer.add(pa.Table.from_pylist([{**record, "place": "line 1"}], schema=OUTCOME_SCHEMA))
    (folder / "records" / "part-00001.parquet.tmp").write_bytes(b"PAR1")


def test_a_killed_ingest_is_no_corpus_and_can_be_run_again(tmp_path: Path) -> None:
    table = write_table(tmp_path / "a.tsv", 40)
    undisturbed = ingest([str(table)], str(tmp_path / "undisturbed"), max_residues=100)
    half = tmp_path / "half"
    half_corpus(half)
    assert list((half / "records").iterdir())
    for reader in (load_card, corpus_checksum):
        with pytest.raises(MissingFile, match="to its end"):
            reader(half)
    again = ingest([str(table)], str(half), max_residues=100)
    assert again.checksum == undisturbed.checksum
    assert_nothing_lost(again, 40)


def test_a_finished_folder_is_used_again_or_refused(tmp_path: Path) -> None:
    table, other = write_table(tmp_path / "a.tsv", 20), write_table(tmp_path / "b.tsv", 30)
    output = str(tmp_path / "corpus")
    first = ingest([str(table)], output, max_residues=100)
    second = ingest([str(table)], output, max_residues=100)
    assert not first.already_done
    assert second.already_done
    assert second.checksum == first.checksum
    with pytest.raises(ResumeMismatch, match="sources"):
        ingest([str(other)], output, max_residues=100)
    with pytest.raises(ResumeMismatch, match="max_residues"):
        ingest([str(table)], output, max_residues=99)
    shard = tmp_path / "corpus" / "records" / "part-00000.parquet"
    rows = pq.read_table(shard).to_pylist()
    rows[3]["text"] = "Altered."
    pq.write_table(pa.Table.from_pylist(rows, schema=RECORD_SCHEMA), shard)
    with pytest.raises(CorruptCheckpoint, match="checksum"):
        ingest([str(table)], output, max_residues=100)


@pytest.mark.parametrize("kept", [0, 3, 40, 300, -1])
def test_a_shard_cut_short_is_named_with_what_to_do(tmp_path: Path, kept: int) -> None:
    ingest([str(write_table(tmp_path / "a.tsv", 30))], str(tmp_path / "corpus"), max_residues=100)
    shard = tmp_path / "corpus" / "records" / "part-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:kept])
    for read in (iter_local, read_records):
        with pytest.raises(
            CorruptCheckpoint, match=r"records/part-00000\.parquet: it cannot be read: .*ingest its sour"
        ):
            read([tmp_path / "corpus"])


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    output = tmp_path / "home"
    output.mkdir()
    (output / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match=r"thesis\.txt"):
        ingest([str(write_table(tmp_path / "a.tsv", 2))], str(output), max_residues=100)
    assert [path.name for path in output.iterdir()] == ["thesis.txt"]


def test_shards_carry_the_version_and_tell_missing_from_empty(tmp_path: Path) -> None:
    question = {
        "long_format_id": "P1_0",
        "id": "P1",
        "amino_seq": "MKV",
        "conversations": [
            {"from": "human", "value": "<protein_sequence>\nWhat?"},
            {"from": "gpt", "value": "It binds."},
        ],
    }
    source = tmp_path / "qa.json"
    source.write_text(json.dumps([question, {**question, "long_format_id": "P1_1", "facts": []}]))
    output = ingest([str(source)], str(tmp_path / "corpus"), max_residues=100).output
    table = pq.read_table(Path(output) / "records" / "part-00000.parquet")
    assert table.schema.metadata[b"protein2text.record_version"] == str(RECORD_VERSION).encode()
    assert (
        pq.ParquetFile(Path(output) / "records" / "part-00000.parquet").metadata.row_group(0).column(0).compression
        == "ZSTD"
    )
    assert table["facts"].to_pylist() == [None, []]
    assert table["text"].to_pylist() == [None, None]


def test_the_sample_world_is_read_whole(tmp_path: Path) -> None:
    size = SampleSize(per_combination=1, per_single_family=1, per_held_out_combination=1)
    counts = write_sample(tmp_path / "sample", seed=0, size=size)
    sources = [str(tmp_path / "sample" / name) for name in ("proteins.tsv", "questions.json")]
    summary = ingest(sources, str(tmp_path / "corpus"), max_residues=1022)
    assert summary.quarantined == 0
    records = iter_local([summary.output])
    assert sum(row["text"] is not None for row in records) == sum(
        counts[name] for name in ("train", "validation", "test")
    )
    questions = [row for row in records if row["messages"]]
    assert len(questions) == counts["questions"]
    assert {len(row["proteins"]) for row in questions} == {1, 2}
    assert all(row["facts"] and row["question_kind"] for row in questions)


def test_a_downloaded_table_gives_release_and_licence_to_every_record(tmp_path: Path) -> None:
    download = tmp_path / "corpus" / "download"
    download.mkdir(parents=True)
    write_table(download / "uniprot.tsv", 3)
    origin = {"query": "insulin", "url": "x", "release": "2026_01", "entries": 3, "licence": "CC BY 4.0"}
    (download / "uniprot.tsv.origin.json").write_text(json.dumps(origin))
    summary = ingest([], str(tmp_path / "corpus"), max_residues=100, uniprot="insulin", uniprot_url="x")
    card = load_card(summary.output)
    assert card["licences"] == {"CC BY 4.0": 3}
    assert card["sources"][0]["release"] == "2026_01"
    assert card["sources"][0]["query"] == "insulin"
    for row in iter_local([summary.output]):
        assert json.loads(row["provenance"])["release"] == "2026_01"
    from_folder = ingest([str(download)], str(tmp_path / "again"), max_residues=100)
    assert from_folder.rows == 3, "the file that tells the origin is no source"
