"""A killed generation goes on: nothing that was stored is asked for again, nothing is lost or doubled."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from protein2text.data.qa.generator_config import GeneratorConfig
from protein2text.data.qa.run import make_qa
from tests.data.qa.answer_server import Reply, answer_server
from tests.data.qa.literature import write_literature
from tests.data.qa.random_llama import write_random_llama
from tests.data.qa.whole_runs import abstract_in, assert_nothing_lost, config, many, pair, rows_of, wrote

pytestmark = pytest.mark.usefixtures("local_ray")


def about_ligand(body: dict[str, Any]) -> Reply:
    """Two pairs that name the passage's own ligand."""
    number = re.findall(r"ligand number (\d+)", abstract_in(body))[0]
    return wrote(
        [
            pair(f"Does this protein bind ligand number {number}?", f"Yes, this protein binds ligand number {number}."),
            pair("Which ligand does this protein bind?", f"This protein binds the ligand number {number}."),
        ]
    )


def kill_in_the_middle(literature: Path, output: Path, address: str, after: int) -> list[str]:
    """Run the command in a process of its own, and kill it once so many passages were answered and some are stored.

    Returns:
        The abstracts that were asked about.
    """
    hold = threading.Event()

    def answer(body: dict[str, Any]) -> Reply:
        if len(server.asked) > after:
            hold.wait(120)
        return about_ligand(body)

    with answer_server(answer) as server:
        command = [
            sys.executable, "-m", "protein2text.cli", "data", "qa", str(literature), "--output", str(output),
            "--generator", "hand", "--url", server.url, "--temperature", "0", "--top-p", "1", "--max-new-tokens", "500",
            "--batch", "2",
        ]  # fmt: skip
        process = subprocess.Popen(command, env={**os.environ, "RAY_ADDRESS": address}, stderr=subprocess.PIPE)
        try:
            deadline = time.monotonic() + 120
            while len(server.asked) <= after or not list((output / "generated").glob("*.parquet")):
                assert process.poll() is None, process.stderr.read().decode()  # type: ignore[union-attr]
                assert time.monotonic() < deadline
                time.sleep(0.05)
        finally:
            process.kill()
            process.communicate()
            hold.set()
        return [abstract_in(body) for body in server.asked]


def as_set(folder: Path) -> set[str]:
    return {json.dumps(row, sort_keys=True) for kind in ("records", "rejects") for row in rows_of(folder, kind)}


def test_a_kill_loses_and_doubles_nothing(local_ray: str, tmp_path: Path) -> None:
    literature = write_literature(tmp_path / "literature", many(60), rows_per_shard=17)
    killed_then_resumed(literature, tmp_path, local_ray, [14])


@pytest.mark.slow
def test_five_kills_lose_and_double_nothing(local_ray: str, tmp_path: Path) -> None:
    literature = write_literature(tmp_path / "literature", many(160), rows_per_shard=17)
    rng = random.Random(4)
    killed_then_resumed(literature, tmp_path, local_ray, [rng.randint(12, 30) for _ in range(5)])


def killed_then_resumed(literature: Path, folder: Path, address: str, kills: list[int]) -> None:
    with answer_server(about_ligand) as server:
        undisturbed = make_qa(literature, folder / "undisturbed", config(server))
    output = folder / "killed"
    for after in kills:
        before = {row["passage_id"] for row in rows_of(output, "generated")}
        asked = kill_in_the_middle(literature, output, address, after)
        stored = [row["passage_id"] for row in rows_of(output, "generated")]
        assert before < set(stored), "each run stored something before it was killed"
        assert len(set(stored)) == len(stored)
        assert not {number for number in ligands(asked) if passage_of(literature, number) in before}
        assert not (output / "card.json").exists()
    with answer_server(about_ligand) as server:
        resumed = make_qa(literature, output, config(server))
    assert len(server.asked) == undisturbed.passages - len(stored), "nothing that was stored was asked for again"
    assert resumed.checksum == undisturbed.checksum
    assert as_set(output) == as_set(folder / "undisturbed")
    assert_nothing_lost(resumed, output)
    assert len(rows_of(output, "generated")) == undisturbed.passages


@pytest.mark.slow
def test_a_loaded_model_killed_and_run_again_writes_the_same_texts(local_ray: str, tmp_path: Path) -> None:
    """What was stored is not written again, and the rest is what an undisturbed run writes, each text once."""
    literature = write_literature(tmp_path / "literature", many(40), rows_per_shard=17)
    llama = write_random_llama(tmp_path / "llama")
    settings = GeneratorConfig(model=str(llama), max_new_tokens=60, temperature=1.0, top_p=1.0)
    undisturbed = make_qa(literature, tmp_path / "undisturbed", settings)
    output = tmp_path / "killed"
    command = [
        sys.executable, "-m", "protein2text.cli", "data", "qa", str(literature), "--output", str(output),
        "--generator", str(llama), "--temperature", "1", "--top-p", "1", "--max-new-tokens", "60", "--batch", "2",
    ]  # fmt: skip
    process = subprocess.Popen(command, env={**os.environ, "RAY_ADDRESS": local_ray}, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not list((output / "generated").glob("*.parquet")):
        assert process.poll() is None, process.stderr.read().decode()  # type: ignore[union-attr]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it was at work"
    stored = {row["passage_id"]: row["text"] for row in rows_of(output, "generated")}
    resumed = make_qa(literature, output, settings)
    assert 0 < len(stored) == undisturbed.passages - resumed.generated < undisturbed.passages
    written = rows_of(output, "generated")
    assert sorted(written, key=by_passage) == sorted(rows_of(tmp_path / "undisturbed", "generated"), key=by_passage)
    assert len({row["text"] for row in written}) > 1, "else the seeds were not used"
    assert stored.items() <= {row["passage_id"]: row["text"] for row in written}.items()
    assert resumed.checksum == undisturbed.checksum
    assert as_set(output) == as_set(tmp_path / "undisturbed")
    assert_nothing_lost(resumed, output)


def by_passage(row: dict[str, Any]) -> str:
    return str(row["passage_id"])


def ligands(abstracts: list[str]) -> list[int]:
    return [int(re.findall(r"ligand number (\d+)", abstract)[0]) for abstract in abstracts]


def passage_of(literature: Path, number: int) -> str:
    return f"PMC{number}.1:P{number % 7:05d}"
