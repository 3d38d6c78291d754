"""`data.uniprot_rest` against a local server that plays recorded answers, failures included."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pytest
from typer.testing import CliRunner

from protein2text.cli import app
from protein2text.data.patient_http import Patience, retry_after_s
from protein2text.data.records import iter_local, load_card
from protein2text.data.uniprot_rest import fetch
from protein2text.errors import ServiceError

HEADER = "Entry\tEntry Name\tFunction [CC]\tSequence"
HASTY = Patience(attempts=4, first_wait_s=0.01, longest_wait_s=0.05, timeout_s=5.0)


@dataclass
class Answer:
    """One recorded answer; a page of the service unless its status says otherwise."""

    entries: list[str] = field(default_factory=list)
    status: int = 200
    total: int | str = 3
    following: str | None = None
    release: str = "2026_01"
    retry_after: str | None = None
    header: str = HEADER


@dataclass
class Service:
    """A server on this machine, what it will say next, and what it was asked."""

    url: str
    answers: list[Answer]
    asked: list[str] = field(default_factory=list)
    asked_at: list[float] = field(default_factory=list)


Play = Callable[[list[Answer]], Service]


@pytest.fixture
def play() -> Iterator[Play]:
    servers: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def start(answers: list[Answer]) -> Service:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service.asked.append(self.path)
                service.asked_at.append(time.monotonic())
                answer = service.answers.pop(0)
                body = "\n".join([answer.header, *answer.entries]) + "\n" if answer.status == 200 else "no luck"
                self.send_response(answer.status)
                if answer.status == 200:
                    self.send_header("X-UniProt-Release", answer.release)
                    self.send_header("X-UniProt-Release-Date", "28-January-2026")
                    self.send_header("X-Total-Results", str(answer.total))
                if answer.following is not None:
                    self.send_header("Link", f'<{answer.following}>; rel="next"')
                if answer.retry_after is not None:
                    self.send_header("Retry-After", answer.retry_after)
                self.send_header("Content-Length", str(len(body.encode())))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        service = Service(f"http://127.0.0.1:{server.server_address[1]}/uniprotkb/search", answers)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        return service

    yield start
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


def entry(number: int) -> str:
    return f"P{number}\tP{number}_TEST\tFUNCTION: Binds {number}.\tMKV"


def two_pages() -> list[Answer]:
    return [Answer([entry(1), entry(2)], following="?cursor=opaque%2Bword&size=500"), Answer([entry(3)])]


def test_pages_are_joined_by_following_the_link_header(play: Play, tmp_path: Path) -> None:
    service = play(two_pages())
    events: list[dict[str, object]] = []
    table = fetch("reviewed:true AND cc_function:*", tmp_path, url=service.url, patience=HASTY, progress=events.append)
    assert table.read_text().splitlines() == [HEADER, entry(1), entry(2), entry(3)]
    first = parse_qs(urlparse(service.asked[0]).query)
    assert first["query"] == ["reviewed:true AND cc_function:*"]
    assert first["format"] == ["tsv"]
    assert {"accession", "cc_function", "sequence"} <= set(first["fields"][0].split(","))
    assert service.asked[1] == "/uniprotkb/search?cursor=opaque%2Bword&size=500", (
        "the cursor is the server's, unaltered"
    )
    assert [event["step"] for event in events] == [2, 3]


def test_release_and_licence_are_recorded(play: Play, tmp_path: Path) -> None:
    table = fetch("insulin", tmp_path, url=play(two_pages()).url, patience=HASTY)
    origin = json.loads((tmp_path / f"{table.name}.origin.json").read_text())
    assert origin["release"] == "2026_01"
    assert origin["release_date"] == "28-January-2026"
    assert origin["query"] == "insulin"
    assert origin["entries"] == 3
    assert origin["licence"] == "CC BY 4.0"


def test_passing_failures_are_tried_again(play: Play, tmp_path: Path) -> None:
    first, second = two_pages()
    service = play([Answer(status=429), Answer(status=503), first, Answer(status=500), Answer(status=504), second])
    table = fetch("insulin", tmp_path, url=service.url, patience=HASTY)
    assert len(table.read_text().splitlines()) == 4
    assert len(service.asked) == 6


def test_the_service_may_name_the_wait(play: Play, tmp_path: Path) -> None:
    service = play([Answer(status=429, retry_after="1"), Answer([entry(1)], total=1)])
    began = time.monotonic()
    fetch("insulin", tmp_path, url=service.url, patience=Patience(attempts=2, first_wait_s=0.0))
    assert time.monotonic() - began >= 1.0


def test_the_wait_may_be_named_on_503_and_as_a_date(play: Play, tmp_path: Path) -> None:
    moment = formatdate(time.time() + 2, usegmt=True)
    service = play([Answer(status=503, retry_after=moment), Answer([entry(1)], total=1)])
    fetch("insulin", tmp_path, url=service.url, patience=Patience(attempts=2, first_wait_s=0.0))
    first, second = service.asked_at
    assert second - first > 0.5, "a date says whole seconds, so two of them are more than one"


@pytest.mark.parametrize(
    ("header", "low", "high"), [("7", 7, 7), (" 0 ", 0, 0), ("soon", None, None), ("", None, None)]
)
def test_retry_after(header: str, low: float | None, high: float | None) -> None:
    assert retry_after_s(header) in (low, high)


def test_retry_after_a_date() -> None:
    assert 3590 < (retry_after_s(formatdate(time.time() + 3600, usegmt=True)) or 0) <= 3600
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0


def test_separators_that_only_python_knows_stay_inside_a_cell(play: Play, tmp_path: Path) -> None:
    odd = "P1\tP1_TEST\tFUNCTION: Binds\x85one\u2028two\x0cthree.\tMKV"
    table = fetch("insulin", tmp_path, url=play([Answer([odd], total=1)]).url, patience=HASTY)
    assert table.read_bytes().decode().split("\n") == [HEADER, odd, ""]


def test_waits_double_up_to_a_limit() -> None:
    patience = Patience(first_wait_s=1.0, longest_wait_s=5.0)
    assert [patience.wait_s(attempt, None) for attempt in range(4)] == [1.0, 2.0, 4.0, 5.0]
    assert patience.wait_s(0, 3.0) == 3.0
    assert patience.wait_s(0, 3600.0) == 5.0


def test_a_lasting_failure_names_service_and_attempts(play: Play, tmp_path: Path) -> None:
    service = play([Answer(status=503) for _ in range(4)])
    with pytest.raises(ServiceError, match=r"HTTP 503: no luck, 4 times"):
        fetch("insulin", tmp_path, url=service.url, patience=HASTY)
    assert not (tmp_path / "uniprot.tsv").exists()


def test_a_refused_query_is_not_repeated(play: Play, tmp_path: Path) -> None:
    service = play([Answer(status=400)])
    with pytest.raises(ServiceError, match=r"HTTP 400.*Correct the query"):
        fetch("nonsense:(", tmp_path, url=service.url, patience=HASTY)
    assert len(service.asked) == 1


def test_no_connection_is_a_service_error(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=r"ConnectError.*Check the network"):
        fetch("insulin", tmp_path, url="http://127.0.0.1:9/uniprotkb/search", patience=HASTY)


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ([Answer([entry(1)], total=5)], "1 entries came, 5 were announced"),
        ([Answer([entry(1), entry(2)], following="?cursor=2")] * 9, "4 entries came, 3 were announced"),
        ([Answer([entry(1)], total="many")], "does not announce how many entries.*'many'"),
        ([two_pages()[0], Answer([entry(3)], total=4)], "entries or columns changed"),
        ([Answer([], total=0)], "no entry matches"),
        ([two_pages()[0], Answer([entry(3)], release="2026_02")], "entries or columns changed"),
        (
            [two_pages()[0], Answer([entry(3)], header="Entry\tSequence")],
            "entries or columns changed",
        ),
    ],
)
def test_an_answer_that_is_not_whole_is_refused(
    play: Play, tmp_path: Path, answers: list[Answer], problem: str
) -> None:
    with pytest.raises(ServiceError, match=problem):
        fetch("insulin", tmp_path, url=play(answers).url, patience=HASTY)
    assert not (tmp_path / "uniprot.tsv").exists(), "a half table must not look whole"


def test_the_command_asks_another_address(play: Play, tmp_path: Path) -> None:
    first, second = two_pages()
    service = play([first, Answer(status=503, retry_after="0"), second])
    options = ["data", "ingest", "--uniprot", "insulin", "--output", str(tmp_path / "corpus"), "--json"]
    result = CliRunner().invoke(app, [*options, "--uniprot-url", service.url])
    assert result.exit_code == 0, result.output
    assert len(service.asked) == 3
    told = json.loads(result.stdout)
    assert (told["rows"], told["records"]) == (3, 3)
    records = iter_local([tmp_path / "corpus"])
    assert [record["text"] for record in records] == ["Binds 1.", "Binds 2.", "Binds 3."]
    assert {json.loads(record["provenance"])["release"] for record in records} == {"2026_01"}
    card = load_card(tmp_path / "corpus")
    assert card["sources"][0]["url"] == service.url


def test_a_finished_download_is_used_again_for_the_same_query_only(play: Play, tmp_path: Path) -> None:
    service = play([*two_pages(), Answer([entry(9)], total=1)])
    other = play([Answer([entry(8)], total=1)])
    fetch("insulin", tmp_path, url=service.url, patience=HASTY)
    fetch("insulin", tmp_path, url=service.url, patience=HASTY)
    assert len(service.asked) == 2
    table = fetch("glucagon", tmp_path, url=service.url, patience=HASTY)
    assert table.read_text().splitlines() == [HEADER, entry(9)]
    table = fetch("glucagon", tmp_path, url=other.url, patience=HASTY)
    assert table.read_text().splitlines() == [HEADER, entry(8)], "nor for that of another service"
