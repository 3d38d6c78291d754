"""`protein2text data ingest` killed without warning, at any moment, and given again."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pyarrow as pa
import pytest

from protein2text.data.corpus_writer import CorpusWriter
from protein2text.data.output_folder import LOCK
from protein2text.data.parsing import cut_sources, parse_pieces
from protein2text.data.readers.entries import PIECE_BYTES
from protein2text.data.reading import HEAD_PIECES
from protein2text.data.records import iter_local, load_card
from protein2text.errors import MissingFile
from tests.data.killing import kill

LIMIT_S = 300


def command(source: Path, output: Path) -> list[str]:
    call = "from protein2text.cli import main; main()"
    return [sys.executable, "-c", call, "data", "ingest", str(source), "--output", str(output), "--json"]


def undisturbed(source: Path, output: Path) -> dict[str, Any]:
    """The card that the steps of an ingest give one after the other, in this process."""
    task = {"path": str(source), "format": "uniprot-flat", "source": source.name, "origin": ""}
    writer = CorpusWriter(output)
    for piece in cut_sources(pa.Table.from_pylist([task])):
        writer.add(parse_pieces(piece, max_residues=4096))
    return writer.finish([{"name": source.name}], max_residues=4096)


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}


@pytest.mark.slow
@pytest.mark.parametrize("after_s", [1.5, 3.0, 5.0, 7.0, 9.0])
def test_an_interrupt_ends_the_command_and_its_ray(swissprot_like: ModuleType, tmp_path: Path, after_s: float) -> None:
    """Ray starts, its workers start, and they parse, at moments that depend on the machine."""
    source = tmp_path / "like.dat"
    swissprot_like.write_flat_file(source, 200_000)
    process = subprocess.Popen(
        command(source, tmp_path / "corpus"), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    time.sleep(after_s)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said.decode()[-3000:]
    assert said.decode().endswith("give the same command again to finish\n")
    _, alive = psutil.wait_procs(family, timeout=1)
    assert not alive


def started(source: Path, output: Path, until_cpu_s: float = math.inf) -> tuple["subprocess.Popen[bytes]", float]:
    """A command that has used so many processor seconds since it made its folder, or has ended; and how many it used.

    Processor seconds of its own process, Ray's apart: they hardly depend on what else the machine does.
    """
    (output / LOCK).unlink(missing_ok=True)  # of one that was killed
    process = subprocess.Popen(
        command(source, output), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + LIMIT_S
    used_s, before_s = 0.0, math.nan
    while process.poll() is None and not used_s - before_s >= until_cpu_s:
        assert time.monotonic() < deadline
        times = psutil.Process(process.pid).cpu_times()
        used_s = times.user + times.system
        if math.isnan(before_s) and (output / LOCK).exists():
            before_s = used_s
        time.sleep(0.02)
    return process, used_s - before_s


def check(swissprot_like: ModuleType, folder: Path, *, num_entries: int, kills: int, within_cpu_s: float) -> None:
    """Kill at random moments of a run, then let it finish, and compare."""
    source, output = folder / "like.dat", folder / "killed"
    told = swissprot_like.write_flat_file(source, num_entries, malformed=0.02)
    expected = undisturbed(source, folder / "undisturbed")
    rng = random.Random(num_entries)
    for _ in range(kills):
        process, _ = started(source, output, rng.uniform(0.1, within_cpu_s))
        assert kill(process), "it was at work"
        with pytest.raises(MissingFile, match="to its end"):
            load_card(output)
    done = subprocess.run(command(source, output), capture_output=True, text=True, timeout=LIMIT_S, env=environment())
    assert done.returncode == 0, done.stderr[-3000:]
    card = load_card(output)
    for key in ("counts", "reasons", "funnel", "length_histogram", "checksum"):
        assert card[key] == expected[key], key
    assert json.loads(done.stdout.splitlines()[-1])["checksum"] == expected["checksum"]
    ids = [[record["record_id"] for record in iter_local([corpus])] for corpus in (output, folder / "undisturbed")]
    assert set(ids[0]) == set(ids[1])
    assert len(ids[0]) == len(set(ids[0])) == told["records"]
    left = {kind: sorted(path.name for path in (output / kind).iterdir()) for kind in ("records", "quarantine")}
    assert left == card["shards"], "nothing of the killed runs is left"


def test_a_kill_loses_and_doubles_nothing(swissprot_like: ModuleType, tmp_path: Path) -> None:
    check(swissprot_like, tmp_path, num_entries=6000, kills=1, within_cpu_s=0.6)


@pytest.mark.slow
def test_five_kills_lose_and_double_nothing(swissprot_like: ModuleType, tmp_path: Path) -> None:
    num_entries = 200_000
    source = tmp_path / "whole.dat"
    swissprot_like.write_flat_file(source, num_entries)
    assert source.stat().st_size > HEAD_PIECES * PIECE_BYTES, "else it is read without Ray"
    process, cpu_s = started(source, tmp_path / "whole")
    assert process.returncode == 0
    check(swissprot_like, tmp_path, num_entries=num_entries, kills=5, within_cpu_s=0.8 * cpu_s)
