"""Base weights and records that change under unchanged names are noticed when a run goes on."""

import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from protein2text.config import RunConfig
from protein2text.data.records import RECORD_SCHEMA, iter_local, write_shard
from protein2text.errors import MissingWeights, ResumeMismatch
from protein2text.train import base_sums
from protein2text.train.base_sums import base_sum
from protein2text.train.settings import refuse_changes, save_settings, stage_settings


def overwrite(path: Path, at: int, content: bytes) -> None:
    """Other bytes at a place of a file that is as large and as old as before."""
    times = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_other_weights_in_the_same_place_are_refused(run_values: dict[str, Any], tmp_path: Path, part: str) -> None:
    own = tmp_path / part
    shutil.copytree(run_values["model"][part]["source"], own)
    run_values["model"][part] |= {"source": str(own)}
    config = RunConfig.parse(run_values)
    folder = config.folder / "alignment"
    save_settings(folder, stage_settings(config, "alignment"))
    shutil.copytree(own, tmp_path / "again")
    shutil.rmtree(own)
    shutil.copytree(tmp_path / "again", own, copy_function=shutil.copyfile)  # a new machine: other times, equal bytes
    refuse_changes(folder, stage_settings(config, "alignment"))
    overwrite(own / "model.safetensors", 30_000, bytes(range(200)))
    with pytest.raises(ResumeMismatch, match=rf"exists with model\.{part}\.contents=\S+, now model\.{part}\.contents="):
        refuse_changes(folder, stage_settings(config, "alignment"))


def test_large_weights_are_read_at_places_from_the_first_byte_to_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_sums, "NUM_BLOCKS", 4)
    monkeypatch.setattr(base_sums, "BLOCK_BYTES", 10)
    path = tmp_path / "esm2.pt"
    path.write_bytes(bytes(400))
    sums = {base_sum(str(path))}
    for place in (0, 139, 260, 399):  # blocks begin at 0, 130, 260 and 390
        overwrite(path, place, b"\1")
        sums.add(base_sum(str(path)))
    assert len(sums) == 5
    overwrite(path, 200, b"\1")
    assert base_sum(str(path)) in sums, "between two blocks nothing is read"
    path.write_bytes(path.read_bytes() + b"\0")
    assert base_sum(str(path)) not in sums


def test_a_hub_id_is_pinned_by_its_revision_and_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert base_sum("meta-llama/Llama-3.1-8B-Instruct") is None
    with pytest.raises(MissingWeights, match="no such file or folder"):
        base_sum(str(tmp_path / "esm2"))


@pytest.mark.parametrize("field", ["sequence", "text"])
def test_records_changed_under_an_unchanged_card_are_another_plan(
    run_values: dict[str, Any], plain: Any, tmp_path: Path, field: str
) -> None:
    """By one letter, so that every size stays."""
    corpus = tmp_path / "corpus"
    shutil.copytree(run_values["data"]["corpus"][0], corpus)
    config = RunConfig.parse(run_values | {"data": run_values["data"] | {"corpus": [str(corpus)]}})
    before = plain.plan_of(config, "alignment", plain.tokenized(config, "alignment"))
    settings = stage_settings(config, "alignment")
    records = iter_local(config.data.corpus)
    (record,) = (record for record in records if record["record_id"] == "P09")
    if field == "text":
        record["text"] = record["text"].replace("Binds", "Binda", 1)
    else:
        (protein,) = record["proteins"]
        protein["sequence"] = ("A" if protein["sequence"][0] != "A" else "C") + protein["sequence"][1:]
    write_shard(pa.Table.from_pylist(records, schema=RECORD_SCHEMA), corpus / "records" / "part-00000.parquet")
    after = plain.plan_of(config, "alignment", plain.tokenized(config, "alignment"))
    assert stage_settings(config, "alignment") == settings
    assert [record.num_residues for record in after.records] == [record.num_residues for record in before.records]
    assert after.digest != before.digest
