"""`data.literature.bucket` against a local server: gates before use, nothing fetched twice, nothing wrong kept."""

import json
from pathlib import Path
from typing import Any

import pytest

from protein2text.data.literature.article import Gates
from protein2text.data.literature.bucket import Bucket
from protein2text.data.patient_http import Patience
from protein2text.errors import ServiceError, UnusableRecord

GATES = Gates(("CC BY", "CC0"))
XML = b"<article/>"


@pytest.fixture
def bucket(ncbi: Any, hasty: Patience, tmp_path: Path) -> Bucket:
    return Bucket(tmp_path, url=f"{ncbi.url}/bucket", patience=hasty)


def refusal(bucket: Bucket, pmcid: str) -> UnusableRecord:
    with pytest.raises(UnusableRecord) as caught:
        bucket.fetch(pmcid, GATES)
    return caught.value


def test_the_latest_version_is_fetched_by_number(ncbi: Any, bucket: Bucket) -> None:
    for version in (1, 2, 9, 10):
        ncbi.add(12, f"<article n='{version}'/>".encode(), version)
    ncbi.add(125, b"<article n='other'/>", 11)
    held = bucket.fetch("PMC12", GATES)
    assert held.path.read_bytes() == b"<article n='10'/>"
    assert (held.metadata.version, held.metadata.licence) == (10, "CC BY")
    assert held.url.endswith("/bucket/PMC12.10/PMC12.10.xml")


def test_what_lies_there_whole_is_not_fetched_again(ncbi: Any, bucket: Bucket) -> None:
    ncbi.add(12, XML)
    first = bucket.fetch("PMC12", GATES)
    num_asked = len(ncbi.asked)
    assert bucket.fetch("PMC12", GATES) == first
    assert len(ncbi.asked) == num_asked == 3
    first.path.write_bytes(b"<artic")
    assert bucket.fetch("PMC12", GATES).path.read_bytes() == XML
    assert len(ncbi.asked) == num_asked + 1


@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        ({"license_code": "CC BY-NC"}, "licence"),
        ({"license_code": None}, "licence"),
        ({"license_code": "TDM"}, "licence"),
        ({"is_retracted": True}, "retracted"),
        ({"is_retracted": None}, "bad_metadata"),
        ({"pmcid": "PMC13"}, "bad_metadata"),
        ({"xml_url": None}, "no_xml"),
        ({"xml_url": "s3://pmc-oa-opendata/PMC12.1/PMC12.1.xml"}, "no_xml"),
        ({"xml_url": f"s3://pmc-oa-opendata/PMC13.1/PMC13.1.xml?md5={'0' * 32}"}, "no_xml"),
    ],
)
def test_gates_close_before_the_text_is_fetched(ncbi: Any, bucket: Bucket, stated: dict[str, Any], reason: str) -> None:
    ncbi.add(12, XML, **stated)
    assert refusal(bucket, "PMC12").reason == reason
    assert not ncbi.paths("/PMC12.1/")
    num_asked = len(ncbi.asked)
    assert refusal(bucket, "PMC12").reason == reason
    assert len(ncbi.asked) == num_asked, "a refused article's metadata is kept too"


def test_a_wrong_md5_is_tried_again_and_never_kept(ncbi: Any, bucket: Bucket, tmp_path: Path) -> None:
    ncbi.add(12, XML)
    ncbi.objects["PMC12.1/PMC12.1.xml"] = b"<article>altered</article>"
    error = refusal(bucket, "PMC12")
    assert error.reason == "wrong_md5"
    assert len(ncbi.paths("/PMC12.1/")) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["PMC12.json"]
    ncbi.objects["PMC12.1/PMC12.1.xml"] = XML
    assert bucket.fetch("PMC12", GATES).path.read_bytes() == XML


def test_missing_things_have_reasons(ncbi: Any, bucket: Bucket) -> None:
    assert refusal(bucket, "PMC7").reason == "not_in_bucket"
    ncbi.add(12, XML)
    del ncbi.objects["metadata/PMC12.1.json"]
    assert refusal(bucket, "PMC12").reason == "no_metadata"
    ncbi.add(13, XML)
    del ncbi.objects["PMC13.1/PMC13.1.xml"]
    assert refusal(bucket, "PMC13").reason == "no_xml"
    ncbi.add(14, XML)
    ncbi.objects["metadata/PMC14.1.json"] = b"[1]"
    assert refusal(bucket, "PMC14").reason == "bad_metadata"


def test_a_failing_bucket_is_no_missing_article(ncbi: Any, bucket: Bucket) -> None:
    ncbi.add(12, XML)
    ncbi.failures = [(503, None), (429, "0")]
    assert bucket.fetch("PMC12", GATES).path.read_bytes() == XML
    ncbi.add(13, XML)
    ncbi.failures = [(503, None)] * 4
    with pytest.raises(ServiceError, match="HTTP 503"):
        bucket.fetch("PMC13", GATES)
    ncbi.failures = [(404, None)]
    with pytest.raises(ServiceError, match=r"HTTP 404.*Check the address of the bucket"):
        bucket.fetch("PMC13", GATES)


def test_the_metadata_is_kept_with_the_day_it_was_fetched(ncbi: Any, bucket: Bucket, tmp_path: Path) -> None:
    ncbi.add(12, XML)
    held = bucket.fetch("PMC12", GATES)
    kept = json.loads((tmp_path / "PMC12.json").read_text())
    assert kept["retrieved"] == held.retrieved
    assert kept["metadata"]["license_code"] == "CC BY"
