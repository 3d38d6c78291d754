"""`data.literature.entrez` against a local server that plays recorded answers over articles it knows."""

import time
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest

from protein2text.data.literature.entrez import MAX_HITS, Entrez, query_of
from protein2text.data.patient_http import Pace, Patience
from protein2text.errors import ConfigError, ServiceError


@pytest.fixture(autouse=True)
def unpaced(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> list[float]:
    """Requests leave at once, except where the pace is what is tested."""
    rates: list[float] = []
    made = Pace.__init__

    def fast(self: Pace, per_s: float) -> None:
        rates.append(per_s)
        made(self, 1e6)

    monkeypatch.setattr(Pace, "__init__", fast)
    return rates


def client(ncbi: Any, patience: Patience, **options: Any) -> Entrez:
    return Entrez("me@example.org", url=f"{ncbi.url}/entrez/eutils", patience=patience, **options)


def test_ids_come_from_the_history_in_pages(ncbi: Any, hasty: Patience) -> None:
    ncbi.days = {number: date(2020, 1, 1) for number in range(1, 9_876)}
    with client(ncbi, hasty) as entrez:
        search = entrez.search("insulin")
    assert search.pmcids == tuple(f"PMC{number}" for number in range(1, 9_876))
    assert (search.hits, search.unreached) == (9_875, 0)
    forms = [form for path, form in ncbi.asked if "efetch" in path]
    assert [(form["retstart"], form["retmax"]) for form in forms] == [("0", "5000"), ("5000", "4875")]


def test_every_request_says_who_asks_and_the_key_stands_in_no_address(ncbi: Any, hasty: Patience) -> None:
    ncbi.days = {5: date(2020, 1, 1)}
    with client(ncbi, hasty, api_key="secret") as entrez:
        entrez.search("insulin")
    assert len(ncbi.asked) == 2
    for path, form in ncbi.asked:
        assert (form["tool"], form["email"], form["api_key"], form["db"]) == (
            "protein2text", "me@example.org", "secret", "pmc",
        )  # fmt: skip
        assert "secret" not in path


@pytest.mark.parametrize("email", ["", "me", "example.org"])
def test_an_email_address_is_needed(email: str) -> None:
    with pytest.raises(ConfigError, match=r"no e-mail address.*--email"):
        Entrez(email)


def test_the_rate_is_three_a_second_and_ten_with_a_key(ncbi: Any, hasty: Patience, unpaced: list[float]) -> None:
    client(ncbi, hasty)
    client(ncbi, hasty, api_key="secret")
    assert unpaced == [3.0, 10.0]


def test_a_pace_keeps_requests_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    pace, moments = Pace(50.0), []
    for _ in range(6):
        pace.wait()
        moments.append(time.monotonic())
    assert min(after - before for before, after in pairwise(moments)) >= 0.02 * 0.99


def test_passing_failures_are_tried_again(ncbi: Any, hasty: Patience) -> None:
    ncbi.days = {5: date(2020, 1, 1)}
    ncbi.failures = [(429, "0"), (503, None), (500, "Wed, 21 Oct 2015 07:28:00 GMT")]
    ncbi.errors = ["Search Backend failed: try again"]
    with client(ncbi, Patience(attempts=5, first_wait_s=0.01, longest_wait_s=0.05)) as entrez:
        assert entrez.search("insulin").pmcids == ("PMC5",)
    assert len(ncbi.paths("esearch")) == 5


def test_a_lasting_failure_names_the_service(ncbi: Any, hasty: Patience) -> None:
    ncbi.failures = [(503, None)] * 4
    with client(ncbi, hasty) as entrez, pytest.raises(ServiceError, match=r"esearch\.fcgi: HTTP 503: not now, 4 times"):
        entrez.search("insulin")
    ncbi.errors = ["Search Backend failed"] * 4
    with client(ncbi, hasty) as entrez, pytest.raises(ServiceError, match=r"Search Backend failed, 4 times"):
        entrez.search("insulin")


def test_a_page_that_is_not_whole_is_refused(ncbi: Any, hasty: Patience) -> None:
    ncbi.days = {number: date(2020, 1, 1) for number in range(20)}
    ncbi.lost = 1
    with client(ncbi, hasty) as entrez, pytest.raises(ServiceError, match="19 ids, 20 were announced"):
        entrez.search("insulin")


def test_more_hits_than_the_limit_are_split_by_date_until_none_is_missing(ncbi: Any, hasty: Patience) -> None:
    days = [date(1950, 1, 1) + timedelta(days=number % 3) for number in range(1_000)]
    days += [date(2021, 6, 1) + timedelta(days=number % 11) for number in range(21_000)]
    ncbi.days = {10_000 + number: day for number, day in enumerate(days)}
    with client(ncbi, hasty) as entrez:
        search = entrez.search("insulin")
    assert search.hits == len(days)
    assert search.unreached == 0
    assert {int(pmcid[3:]) for pmcid in search.pmcids} == set(ncbi.days)
    fetched = [
        len(numbers) for key, numbers in ncbi.history.items() if any(f["query_key"] == key for f in efetches(ncbi))
    ]
    assert max(fetched) <= MAX_HITS


def efetches(ncbi: Any) -> list[dict[str, str]]:
    return [form for path, form in ncbi.asked if "efetch" in path]


def test_what_no_date_reaches_is_counted(ncbi: Any, hasty: Patience) -> None:
    ncbi.days = {number: date(2021, 6, 1) for number in range(10_001)}
    ncbi.days |= {20_000 + number: date(2022, 6, 1) for number in range(500)}
    with client(ncbi, hasty) as entrez:
        search = entrez.search("insulin")
    assert (search.hits, search.unreached, len(search.pmcids)) == (10_501, 10_001, 500)


def test_nothing_found_is_no_error(ncbi: Any, hasty: Patience) -> None:
    with client(ncbi, hasty) as entrez:
        search = entrez.search("insulin")
    assert (search.hits, search.pmcids, search.unreached) == (0, (), 0)
    assert not ncbi.paths("efetch")


def test_a_query_asks_for_names_in_title_or_abstract_of_open_articles() -> None:
    assert query_of(["Superoxide dismutase [Cu-Zn]", "SOD1"]) == (
        '("Superoxide dismutase Cu-Zn"[Title] OR "Superoxide dismutase Cu-Zn"[Abstract] OR "SOD1"[Title] OR '
        '"SOD1"[Abstract]) AND open access[filter]'
    )
