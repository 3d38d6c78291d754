"""Fetches articles from PMC's cloud bucket: https://pmc.ncbi.nlm.nih.gov/tools/pmcaws.

``PMC<id>.<version>/PMC<id>.<version>.xml`` is an article, ``metadata/PMC<id>.<version>.json`` says its licence, whether
it was retracted, and the MD5 of its files.
"""

import hashlib
import json
import os
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from protein2text.data.licence_codes import licence_code
from protein2text.data.literature.article import Gates
from protein2text.data.literature.jats import parse_xml
from protein2text.data.patient_http import Patience, send
from protein2text.errors import ServiceError, UnusableRecord

BUCKET_URL = "https://pmc-oa-opendata.s3.amazonaws.com"
_ADDRESS = re.compile(r"s3://[^/]+/(?P<path>[^?]+)\?md5=(?P<md5>[0-9a-fA-F]{32})")
_MISSING = frozenset({403, 404})
"""S3 answers 403 for a missing key where listing is not allowed."""
_TRIES = 2
"""Downloads of a file whose MD5 is wrong."""


@dataclass(frozen=True)
class Metadata:
    """What is known about an article before its text is read."""

    licence: str | None
    retracted: bool
    version: int
    md5: str
    path: str
    """Key of the XML in the bucket."""

    @classmethod
    def of(cls, stated: dict[str, Any], pmcid: str) -> "Metadata":
        """Read a metadata file.

        Raises:
            UnusableRecord: it does not say what the gates need, or speaks of another article.
        """
        version, retracted = stated.get("version"), stated.get("is_retracted")
        address = _ADDRESS.fullmatch(str(stated.get("xml_url") or ""))
        if stated.get("pmcid") != pmcid or not isinstance(version, int) or not isinstance(retracted, bool):
            seen = f"pmcid {stated.get('pmcid')!r}, version {version!r}, is_retracted {retracted!r}"
            raise _refusal("bad_metadata", pmcid, seen, "the bucket's metadata names article, version and retraction")
        if address is None or not address["path"].startswith(f"{pmcid}.{version}/"):
            raise _refusal("no_xml", pmcid, f"xml_url {stated.get('xml_url')!r}", "an XML file with its MD5 is needed")
        code = str(stated.get("license_code") or "")
        return cls(licence_code(code) or code or None, retracted, version, address["md5"].lower(), address["path"])


@dataclass(frozen=True)
class Held:
    """An article that passed the gates and lies on disk."""

    path: Path
    metadata: Metadata
    url: str
    retrieved: str
    """Day, UTC."""


class Bucket:
    """A client that keeps what it fetched in a folder, so that nothing is fetched twice."""

    def __init__(self, folder: Path, *, url: str = BUCKET_URL, patience: Patience = Patience()) -> None:
        self._folder, self._url, self._patience = folder, url.rstrip("/"), patience
        self._client = httpx.Client(timeout=patience.timeout_s, follow_redirects=True)

    def fetch(self, pmcid: str, gates: Gates) -> Held:
        """The latest version of an article, from the folder if it lies there whole.

        Raises:
            UnusableRecord: not in the bucket, refused by a gate, or not what its MD5 says.
            ServiceError: the bucket cannot be reached.
        """
        stated = self._metadata(pmcid)
        metadata = Metadata.of(stated["metadata"], pmcid)
        gates.check(pmcid, metadata.licence, metadata.retracted)
        path = self._folder / f"{pmcid}.xml"
        url = f"{self._url}/{metadata.path}"
        if not (path.is_file() and _md5(path.read_bytes()) == metadata.md5):
            self._download(url, path, metadata.md5, pmcid)
        return Held(path, metadata, url, stated["retrieved"])

    def _metadata(self, pmcid: str) -> dict[str, Any]:
        path = self._folder / f"{pmcid}.json"
        if path.is_file():
            return dict(json.loads(path.read_text(encoding="utf-8")))
        version = self._latest(pmcid)
        answer = self._get(f"{self._url}/metadata/{pmcid}.{version}.json", _MISSING)
        if answer.status_code in _MISSING:
            raise _refusal("no_metadata", pmcid, f"version {version} has none", "licence and retraction are unknown")
        try:
            stated = answer.json()
        except ValueError as error:
            raise _refusal("bad_metadata", pmcid, f"no JSON: {error}", "a JSON object is needed") from None
        if not isinstance(stated, dict):
            raise _refusal("bad_metadata", pmcid, type(stated).__name__, "a JSON object is needed")
        kept = {"retrieved": datetime.now(UTC).date().isoformat(), "metadata": stated}
        _write(path, json.dumps(kept, indent=2).encode())
        return kept

    def _latest(self, pmcid: str) -> int:
        """Number of the latest version, which the listing knows."""
        query = {"list-type": "2", "prefix": f"{pmcid}.", "delimiter": "/"}
        url = str(httpx.URL(self._url + "/", params=query))
        root = parse_xml(self._get(url).content, "listing")
        if root.findtext("IsTruncated") == "true":
            raise ServiceError(url, "the list of one article's versions is cut", "Report this as a bug.")
        prefixes = [node.text or "" for node in root.findall("CommonPrefixes/Prefix")]
        versions = [int(match[1]) for prefix in prefixes if (match := re.fullmatch(rf"{pmcid}\.(\d+)/", prefix))]
        if not versions:
            raise _refusal("not_in_bucket", pmcid, "no version", "only articles of PMC's data sets can be fetched")
        return max(versions)

    def _download(self, url: str, path: Path, md5: str, pmcid: str) -> None:
        seen = ""
        for _ in range(_TRIES):
            answer = self._get(url, _MISSING)
            if answer.status_code in _MISSING:
                raise _refusal("no_xml", pmcid, url, "the metadata names a file that is not there")
            seen = _md5(answer.content)
            if seen == md5:
                _write(path, answer.content)
                return
        raise _refusal("wrong_md5", pmcid, f"MD5 {seen}", f"the metadata states {md5}")

    def _get(self, url: str, accepted: frozenset[int] = frozenset()) -> httpx.Response:
        request = self._client.build_request("GET", url)
        remedy = "Check the address of the bucket."
        return send(self._client, request, self._patience, remedy=remedy, accepted=accepted)


def _write(path: Path, content: bytes) -> None:
    """Write a file that is either whole or not there, also while a worker of a killed run still writes it."""
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    part.write_bytes(content)
    os.replace(part, path)


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _refusal(reason: str, pmcid: str, value: str, limit: str) -> UnusableRecord:
    return UnusableRecord(reason, pmcid, "bucket", value, limit, "Run the command again later, or leave it out.")
