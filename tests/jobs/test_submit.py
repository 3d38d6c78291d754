"""Jobs submitted to a Ray cluster that has every dependency but not this package."""

import json
import os
import random
import secrets
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml

from protein2text.data.records import load_card
from protein2text.data.split import split
from protein2text.proteins import Protein
from tests.data.qa.answer_server import Reply, answer_server
from tests.data.qa.literature import passage, write_literature
from tests.jobs.conftest import write_corpus

START_TIMEOUT_S, JOB_TIMEOUT_S = 120, 400


@dataclass(frozen=True)
class Cluster:
    """A one-node cluster started with ``ray start --head``."""

    python: Path
    environment: dict[str, str]
    address: str


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def bare_python(folder: Path) -> Path:
    """A Python that sees the installed dependencies but not this package.

    A path line does not run the ``.pth`` files of the folder that it names, and one of those is what makes an editable
    installation importable.
    """
    venv.create(folder, symlinks=True)
    packages = sysconfig.get_path("purelib", vars={"base": str(folder)})
    Path(packages, "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Up for the module, on ports and a folder of its own; only its own processes are ended."""
    python = bare_python(tmp_path_factory.mktemp("bare"))
    port, dashboard = free_port(), free_port()
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RAY_ADDRESS")}
    environment |= {"PATH": f"{python.parent}:{os.environ['PATH']}", **token}
    assert subprocess.run([python, "-c", "import protein2text"], cwd="/", capture_output=True).returncode != 0
    with tempfile.TemporaryDirectory(prefix="p2t", ignore_cleanup_errors=True) as folder:  # short: sockets lie in it
        log = Path(folder, "head.log")
        with log.open("w") as output:
            head = subprocess.Popen(
            [
                python, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=4",
                f"--port={port}", f"--dashboard-port={dashboard}", f"--temp-dir={folder}/ray",
                f"--ray-client-server-port={free_port()}", f"--dashboard-agent-listen-port={free_port()}",
                "--disable-usage-stats",
            ],
            env=environment, stdout=output, stderr=output, cwd="/",
        )  # fmt: skip
        try:
            address = f"http://127.0.0.1:{dashboard}"
            wait_until_up(head, address, environment, log)
            yield Cluster(python, environment, address)
        finally:
            end(head)


def wait_until_up(head: "subprocess.Popen[bytes]", address: str, environment: dict[str, str], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while ray_job(["list"], address, environment).returncode != 0:
        assert head.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(1)


def end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is not None:
        return
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    process.terminate()
    _, alive = psutil.wait_procs(family, timeout=5)
    for member in alive:
        member.kill()
    process.wait()


def ray_job(arguments: list[str], address: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "ray.scripts.scripts", "job", arguments[0], f"--address={address}", *arguments[1:]]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=JOB_TIMEOUT_S)


def test_a_submitted_job_trains_where_the_package_is_not_installed(
    cluster: Cluster, small_run: dict[str, object], repository: Path, tmp_path: Path
) -> None:
    run_file = tmp_path / "run.yaml"
    run_file.write_text(yaml.safe_dump(small_run))
    job = ["submit", f"--working-dir={repository}", "--", "python", "jobs/align.py", str(run_file)]
    done = ray_job(job, cluster.address, cluster.environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    (line,) = (line for line in done.stdout.splitlines() if line.startswith('{"model_dir"'))
    result = json.loads(line)
    assert result["steps"] == 3
    assert (Path(result["model_dir"]) / "manifest.json").is_file()
    assert Path(result["model_dir"]).is_relative_to(tmp_path)


def test_a_submitted_ingest_writes_a_corpus_on_the_cluster(cluster: Cluster, repository: Path, tmp_path: Path) -> None:
    table = tmp_path / "proteins.tsv"
    table.write_text("Entry\tFunction [CC]\tSequence\nP1\tFUNCTION: Binds.\tMKV\nP2\t\tMKL\n")
    ingest = ["python", "jobs/ingest.py", str(table), "--output", str(tmp_path / "corpus")]
    done = ray_job(["submit", f"--working-dir={repository}", "--", *ingest], cluster.address, cluster.environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    (line,) = (line for line in done.stdout.splitlines() if line.startswith('{"output"'))
    result = json.loads(line)
    assert (result["records"], result["reasons"]) == (1, {"no_function": 1})
    assert json.loads((tmp_path / "corpus" / "card.json").read_text())["checksum"] == result["checksum"]


def test_a_submitted_job_reads_literature(cluster: Cluster, repository: Path, tmp_path: Path) -> None:
    header = "Entry\tProtein names\tGene Names\tOrganism\tSequence"
    (tmp_path / "proteins.tsv").write_text(f"{header}\nP01308\tInsulin\tINS\tHomo sapiens (Human)\tMALWMRLLPLL\n")
    meta = "<article-id pub-id-type='pmc'>7</article-id><permissions><license>CC BY</license></permissions>"
    article = (
        f"<article><front><article-meta>{meta}<abstract><p>On insulin.</p></abstract></article-meta></front></article>"
    )
    (tmp_path / "one.xml").write_text(article)
    options = [f"--{name}={tmp_path / value}" for name, value in
               (("proteins", "proteins.tsv"), ("articles", "one.xml"), ("output", "literature"))]  # fmt: skip
    job = ["submit", f"--working-dir={repository}", "--", "python", "jobs/literature.py", *options]
    done = ray_job(job, cluster.address, cluster.environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    (line,) = (line for line in done.stdout.splitlines() if line.startswith('{"output"'))
    assert json.loads(line)["passages"] == 1
    assert (tmp_path / "literature" / "card.json").is_file()


def test_a_submitted_split_does_what_the_command_does(cluster: Cluster, repository: Path, tmp_path: Path) -> None:
    dice = random.Random(3)
    proteins = [Protein(f"P{number}", "".join(dice.choices("ACDEFGHIKLMNPQRSTVWY", k=60))) for number in range(8)]
    corpus = write_corpus(tmp_path / "corpus", proteins)
    arguments = [str(corpus), "--output", str(tmp_path / "split"), "--test-share", "0.4", "--on-hit", "drop"]
    job = ["submit", f"--working-dir={repository}", "--", "python", "jobs/split.py", *arguments]
    done = ray_job(job, cluster.address, cluster.environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    (line,) = (line for line in done.stdout.splitlines() if line.startswith('{"output"'))
    here = split([str(corpus)], str(tmp_path / "here"), kind="by_cluster", test_share=0.4, on_hit="drop")
    assert json.loads(line)["checksum"] == here.checksum


def test_a_submitted_job_writes_questions_and_answers(cluster: Cluster, repository: Path, tmp_path: Path) -> None:
    abstract = "Gene P1 codes for a pump. P1 moves protons across the inner membrane."
    passages = [passage(number, "P1", ["P1"], abstract) for number in range(1, 4)]
    literature = write_literature(tmp_path / "literature", passages)
    pairs = [{"question": "What does this protein move?", "answer": "This protein moves protons across the membrane."}]
    with answer_server(lambda body: Reply(json.dumps({"pairs": pairs}))) as server:
        arguments = [str(literature), f"--output={tmp_path / 'qa'}", "--generator=hand", f"--url={server.url}"]
        job = ["submit", f"--working-dir={repository}", "--", "python", "jobs/generate_qa.py", *arguments]
        done = ray_job(job, cluster.address, cluster.environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    (line,) = (line for line in done.stdout.splitlines() if line.startswith('{"output"'))
    result = json.loads(line)
    assert (result["passages"], result["generated"], result["rows"]) == (3, 3, 3)
    assert (result["records"], result["reasons"]) == (1, {"duplicate": 2})
    assert load_card(tmp_path / "qa")["checksum"] == result["checksum"]
