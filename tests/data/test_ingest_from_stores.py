"""`data.ingest` from an S3 service on this machine (moto), read by Ray's workers."""

import gzip
import logging
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import ray
import s3fs
from moto.server import ThreadedMotoServer

from protein2text.data.ingest import ingest
from protein2text.data.records import iter_local, load_card
from protein2text.data.sources import expand
from protein2text.errors import ConfigError, MissingFile, ServiceError


@pytest.fixture(scope="module", autouse=True)
def service(without_ray: None) -> Iterator[str]:
    """The service, and a Ray whose workers know it from the environment, as on a cluster."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        ray.init(address="local", num_cpus=3, include_dashboard=False, log_to_driver=False)
        boto3.client("s3").create_bucket(Bucket="proteins")
        yield settings["AWS_ENDPOINT_URL"]
        ray.shutdown()
    server.stop()


def put(key: str, content: bytes) -> None:
    boto3.client("s3").put_object(Bucket="proteins", Key=key, Body=content)


def test_a_prefix_gives_the_corpus_of_the_same_local_files(tmp_path: Path) -> None:
    local = tmp_path / "release"
    local.mkdir()
    table = "Entry\tFunction [CC]\tSequence\n" + "".join(f"P{n}\tFUNCTION: Binds {n}.\tMKV\n" for n in range(300))
    (local / "a.tsv.gz").write_bytes(gzip.compress(table.encode()))
    (local / "b.fasta").write_bytes(b">Q1 one\nMKL\n>Q2 two\nMK1\n")
    (local / "b.fasta.origin.json").write_text('{"release": "2026_01", "licence": "CC BY 4.0"}')
    for path in local.iterdir():
        put(f"release/{path.name}", path.read_bytes())
    stored = ingest(["s3://proteins/release"], str(tmp_path / "stored"), max_residues=100)
    again = ingest(["s3://proteins/release"], str(tmp_path / "stored"), max_residues=100)
    plain = ingest([str(local)], str(tmp_path / "plain"), max_residues=100)
    assert (stored.records, stored.reasons) == (301, {"invalid_residue": 1})
    assert iter_local([stored.output]) == iter_local([plain.output])
    assert stored.checksum == plain.checksum
    assert again.already_done
    assert load_card(stored.output)["sources"] == load_card(plain.output)["sources"]
    assert load_card(stored.output)["sources"][1]["release"] == "2026_01"


def test_what_a_folder_of_a_store_holds_beside_files_is_told_as_of_a_local_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for key in ("mixed/", "mixed/b.fasta", "mixed/a.fasta", "mixed/2025/c.fasta", "corpus/card.json", "empty/"):
        put(key, b"" if key.endswith("/") else b">P1 one\nMKV\n")
    (tmp_path / "mixed" / "2025").mkdir(parents=True)
    for name in ("b.fasta", "a.fasta"):
        (tmp_path / "mixed" / name).touch()
    told = []
    for folder in ("s3://proteins", str(tmp_path)):
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="protein2text.data.sources"):
            assert expand([f"{folder}/mixed"]) == [f"{folder}/mixed/a.fasta", f"{folder}/mixed/b.fasta"]
        told += [record.getMessage().removeprefix(folder) for record in caplog.records]
    assert told == ["/mixed: passed over 1 folders or links that lead nowhere: 2025"] * 2
    with pytest.raises(ConfigError, match=r"holds card\.json, so this program wrote it"):
        expand(["s3://proteins/corpus"])
    with pytest.raises(ConfigError, match="is a folder without files; name the files"):
        expand(["s3://proteins/empty"])


def test_a_missing_object_and_a_missing_bucket_are_told(tmp_path: Path) -> None:
    for source in ("s3://proteins/none.tsv", "s3://no-such-bucket/x.tsv"):
        with pytest.raises(MissingFile, match=source):
            ingest([source], str(tmp_path / "corpus"), max_residues=100)
    assert not (tmp_path / "corpus").exists()


def test_a_store_that_refuses_is_not_a_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(ServiceError, match=r"s3://proteins/x\.tsv: .*this store's credentials in the environment"):
        ingest(["s3://proteins/x.tsv"], str(tmp_path / "corpus"), max_residues=100)
    s3fs.S3FileSystem.clear_instance_cache()
