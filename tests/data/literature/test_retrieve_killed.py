"""`data.literature.retrieve` killed at random: nothing that was kept is fetched again, and the end is the same."""

import json
import math
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from protein2text.data.literature.gather import ARTICLES_PER_BLOCK, DOWNLOADS_AT_ONCE
from protein2text.data.literature.retrieve import Services, literature
from protein2text.data.literature.writer import KINDS
from tests.data.killing import kill
from tests.data.literature.retrieved import assert_nothing_lost, rows, stock

pytestmark = pytest.mark.usefixtures("local_ray", "api_key")

RUN = """
import sys
from protein2text.data.literature.literature_folder import locked
from protein2text.data.literature.retrieve import Services, literature
from protein2text.data.patient_http import Patience
proteins, output, url = sys.argv[1:]
literature([proteins], output, services=Services("me@example.org", url + "/entrez/eutils", url + "/bucket", Patience()))
"""


@pytest.mark.parametrize("num_kills", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_killed_at_random_and_run_again_nothing_is_lost_doubled_or_fetched_twice(
    ncbi: Any, services: Services, jats_files: list[Path], proteins: str, tmp_path: Path, num_kills: int
) -> None:
    names = stock(ncbi, jats_files)
    for number, path in enumerate(jats_files * 2, start=1000):
        ncbi.add(number, path.read_bytes())
        names[f"PMC{number}"] = path.name
    undisturbed = literature([proteins], tmp_path / "undisturbed", services=services)
    assert_nothing_lost(undisturbed, len(names))
    whole_run = asked_for(ncbi)
    ncbi.asked.clear()
    output = tmp_path / "out"
    rng = random.Random(num_kills)
    kept: set[str] = set()
    for num_answered in [*(rng.randint(8, 45) for _ in range(num_kills - 1)), whole_run.total() // 2]:
        num_before, killed = len(ncbi.asked), threading.Event()
        ncbi.before_answer = partial(_hold, ncbi, num_before + num_answered, killed)
        process = subprocess.Popen([sys.executable, "-c", RUN, proteins, str(output), ncbi.url], env=environment())
        deadline = time.monotonic() + 240
        while len(ncbi.asked) <= num_before + num_answered:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        assert kill(process)
        killed.set()
        assert not (output / "card.json").exists()
        asked = asked_for(ncbi, num_before)
        assert not kept & set(asked), "what was kept is not asked for again"
        assert max(asked.values()) == 1
        kept |= kept_in(output)
        in_flight = set(asked) - kept
        assert sum(what.startswith("search") for what in in_flight) <= 1
        assert len(in_flight) <= 1 + DOWNLOADS_AT_ONCE * math.ceil(len(names) / ARTICLES_PER_BLOCK)
    assert any(what.endswith(".xml") for what in kept), "else the test shows little"
    num_before, ncbi.before_answer = len(ncbi.asked), lambda path: None
    again = literature([proteins], output, services=services)
    assert asked_for(ncbi, num_before) == Counter(set(whole_run) - kept), "the rest, each once"
    assert_nothing_lost(again, len(names))
    for kind in KINDS:
        assert _without_day(rows(again.output, kind)) == _without_day(rows(undisturbed.output, kind))


def _hold(ncbi: Any, num_answered: int, killed: threading.Event, path: str) -> None:
    """Answer no more requests until the process is dead: its workers outlive it by some seconds."""
    if len(ncbi.asked) > num_answered:
        killed.wait(120)


def asked_for(ncbi: Any, start: int = 0) -> "Counter[str]":
    """How often each search, and each file that is kept, was asked for since some request."""
    return Counter(
        f"search {fields['term']}" if "esearch" in path else path.rsplit("/", 1)[-1].replace(".1.", ".")
        for path, fields in ncbi.asked[start:]
        if "esearch" in path or path.endswith((".json", ".xml"))
    )


def kept_in(output: Path) -> set[str]:
    """What a killed run keeps, by the names of `asked_for`."""
    searches = (output / "searches.jsonl").read_text().split("\n")[:-1]
    files = (path.name for path in (output / "download").iterdir() if path.suffix != ".tmp")
    return {f"search {json.loads(line)['query']}" for line in searches} | set(files)


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}


def _without_day(listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for row in listed:
        if row.get("provenance"):
            row["provenance"] = {**json.loads(row["provenance"]), "retrieved": None}
    return listed
