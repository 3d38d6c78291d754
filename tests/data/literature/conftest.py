"""NCBI on this machine: E-utilities that play recorded answers over articles they know, and a bucket of articles."""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest

from protein2text.data.literature.retrieve import Services
from protein2text.data.patient_http import Patience
from tests.data.literature.retrieved import HEADER, PROTEINS

HASTY = Patience(attempts=4, first_wait_s=0.01, longest_wait_s=0.05, timeout_s=10.0)
NOTHING = b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></ListBucketResult>'


@dataclass
class Ncbi:
    """What the services hold, what they were asked, and the failures they will answer with first."""

    recorded: bytes
    """An esearch answer as NCBI gave it, from which every answer is made."""
    url: str = ""
    days: dict[int, date] = field(default_factory=dict)
    """PMC number to date of publication, of all articles that Entrez knows."""
    found_by: Callable[[str, int], bool] = lambda query, number: True
    objects: dict[str, bytes] = field(default_factory=dict)
    """Key to content, of the bucket."""
    failures: list[tuple[int, str | None]] = field(default_factory=list)
    """Statuses, each with its Retry-After, that the next requests get."""
    errors: list[str] = field(default_factory=list)
    """Errors inside answers of status 200 that the next searches get."""
    lost: int = 0
    """Ids that each answer of efetch withholds."""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    history: dict[str, list[int]] = field(default_factory=dict)
    before_answer: Callable[[str], None] = lambda path: None

    def paths(self, part: str) -> list[str]:
        return [path for path, _ in self.asked if part in path]

    def add(self, number: int, xml: bytes, version: int = 1, **stated: Any) -> None:
        """Put an article into Entrez and into the bucket; ``stated`` alters its metadata."""
        self.days.setdefault(number, date(2020, 1, 1) + timedelta(days=number % 300))
        key = f"PMC{number}.{version}/PMC{number}.{version}.xml"
        md5 = hashlib.md5(xml, usedforsecurity=False).hexdigest()
        metadata = {
            "pmcid": f"PMC{number}", "version": version, "is_retracted": False, "license_code": "CC BY",
            "xml_url": f"s3://pmc-oa-opendata/{key}?md5={md5}", **stated,
        }  # fmt: skip
        self.objects[key] = xml
        self.objects[key.replace(".xml", ".txt")] = b"plain"
        self.objects[f"metadata/PMC{number}.{version}.json"] = json.dumps(metadata).encode()

    def esearch(self, form: dict[str, str]) -> bytes:
        if self.errors:
            return f"<eSearchResult><ERROR>{self.errors.pop(0)}</ERROR></eSearchResult>".encode()
        first, last = (_day(form.get(name)) for name in ("mindate", "maxdate"))
        numbers = [
            number
            for number, day in sorted(self.days.items())
            if self.found_by(form["term"], number) and (first or date.min) <= day <= (last or date.max)
        ]
        key = str(len(self.history) + 1)
        self.history[key] = numbers
        answer = re.sub(rb"<Count>\d+</Count>", f"<Count>{len(numbers)}</Count>".encode(), self.recorded, count=1)
        answer = re.sub(rb"<QueryKey>\d+</QueryKey>", f"<QueryKey>{key}</QueryKey>".encode(), answer)
        return re.sub(rb"<WebEnv>[^<]*</WebEnv>", b"<WebEnv>ENV_9</WebEnv>", answer)

    def efetch(self, form: dict[str, str]) -> bytes:
        assert (form["WebEnv"], form["rettype"], form["db"]) == ("ENV_9", "uilist", "pmc")
        start, size = int(form["retstart"]), int(form["retmax"])
        page = self.history[form["query_key"]][start : start + size]
        return "".join(f"{number}\n" for number in page[self.lost :]).encode()

    def bucket(self, path: str, query: dict[str, str]) -> tuple[int, bytes]:
        if "list-type" not in query:
            content = self.objects.get(path.removeprefix("/bucket/"))
            return (200, content) if content is not None else (404, b"<Error><Code>NoSuchKey</Code></Error>")
        assert query["delimiter"] == "/"
        found = sorted({f"{key.split('/')[0]}/" for key in self.objects if key.startswith(query["prefix"])})
        listed = "".join(f"<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>" for prefix in found)
        return 200, NOTHING.replace(b"></", f">{listed}</".encode(), 1)


def _day(text: str | None) -> date | None:
    return date(*map(int, text.split("/"))) if text else None


@pytest.fixture
def ncbi(real_data: Path) -> Iterator[Ncbi]:
    services = Ncbi((real_data / "entrez" / "esearch2.xml").read_bytes())

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(content).items()}
            self.answer(form, lambda: (200, getattr(services, self.path.split("/")[-1].removesuffix(".fcgi"))(form)))

        def do_GET(self) -> None:
            url = urlparse(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            self.answer(query, lambda: services.bucket(url.path, query))

        def answer(self, fields: dict[str, str], make: Callable[[], tuple[int, bytes]]) -> None:
            services.asked.append((self.path, fields))
            services.before_answer(self.path)
            retry_after = None
            if services.failures:
                status, retry_after = services.failures.pop(0)
                content = b"not now"
            else:
                status, content = make()
            self.send_response(status)
            if retry_after is not None:
                self.send_header("Retry-After", retry_after)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    services.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield services
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def hasty() -> Patience:
    return HASTY


@pytest.fixture(scope="session")
def jats_files(real_data: Path) -> list[Path]:
    return sorted((real_data / "jats").glob("*/*"))


@pytest.fixture
def api_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten searches a second instead of three."""
    monkeypatch.setenv("NCBI_API_KEY", "secret")


@pytest.fixture
def proteins(tmp_path: Path) -> str:
    path = tmp_path / "proteins.tsv"
    path.write_text("\n".join([HEADER, *PROTEINS]) + "\n")
    return str(path)


@pytest.fixture
def services(ncbi: Any, hasty: Patience) -> Services:
    return Services("me@example.org", f"{ncbi.url}/entrez/eutils", f"{ncbi.url}/bucket", hasty)
