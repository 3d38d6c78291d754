"""A Ray cluster to submit jobs to, and a run of three steps on the tiny bases, with a corpus of six proteins."""

import json
import os
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
from typing import Any

import httpx
import psutil
import pyarrow as pa
import pytest

from protein2text.data.records import RECORD_SCHEMA, RECORD_VERSION, make_record, write_shard
from protein2text.proteins import Protein
from protein2text.resources import RAY_DATA_ACTORS

START_TIMEOUT_S, JOB_TIMEOUT_S = 120, 400
FEWER_WORKERS = {
    "RAY_prestart_worker_first_driver": "0",  # those started ahead have no job's environment; no job takes them
    "RAY_num_workers_soft_limit": str(4 + RAY_DATA_ACTORS),  # as resources.start_local_ray
}


@dataclass(frozen=True)
class Cluster:
    """A one-node cluster started with ``ray start --head``."""

    environment: dict[str, str]
    address: str
    repository: Path

    def run(self, job: str, *arguments: object) -> dict[str, Any]:
        """Submit a file of jobs/ with its arguments, wait for its end, and return the line of JSON that it printed.

        The command would wait too, and then five seconds for nothing.
        """
        submission = f"{job}-{secrets.token_hex(4)}"
        command = [f"--working-dir={self.repository}", "--", "python", f"jobs/{job}.py", *map(str, arguments)]
        submit = ["submit", "--no-wait", f"--submission-id={submission}", *command]
        submitted = ray_job(submit, self.address, self.environment)
        assert submitted.returncode == 0, submitted.stdout[-3000:] + submitted.stderr[-1000:]
        deadline = time.monotonic() + JOB_TIMEOUT_S
        while (status := self.told_of(submission)["status"]) in ("PENDING", "RUNNING"):
            assert time.monotonic() < deadline, self.told_of(f"{submission}/logs")["logs"]
            time.sleep(0.1)
        logs = self.told_of(f"{submission}/logs")["logs"]
        assert status == "SUCCEEDED", logs[-4000:]
        (line,) = (line for line in logs.splitlines() if line.startswith('{"'))
        result: dict[str, Any] = json.loads(line)
        return result

    def told_of(self, submission: str) -> Any:
        """What the cluster answers about a submitted job."""
        headers = {"Authorization": f"Bearer {self.environment['RAY_AUTH_TOKEN']}"}
        return httpx.get(f"{self.address}/api/jobs/{submission}", headers=headers).raise_for_status().json()


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


@pytest.fixture(scope="session")
def cluster(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Up for the session, on ports and a folder of its own; only its own processes are ended."""
    python = bare_python(tmp_path_factory.mktemp("bare"))
    port, dashboard = free_port(), free_port()
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RAY_ADDRESS")}
    environment |= {"PATH": f"{python.parent}:{os.environ['PATH']}", **token, **FEWER_WORKERS}
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
            yield Cluster(environment, address, repository)
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


def write_corpus(folder: Path, proteins: list[Protein]) -> Path:
    """A finished corpus with a description of each protein."""
    records = [
        make_record(protein.accession, [protein], source="test", text=f"Binds zinc {protein.accession}.")
        for protein in proteins
    ]
    write_shard(pa.Table.from_pylist(records, schema=RECORD_SCHEMA), folder / "records" / "part-00000.parquet")
    card = {
        "version": RECORD_VERSION, "checksum": "0" * 64, "shards": {"records": ["part-00000.parquet"]},
        "licences": {"CC BY 4.0": len(records)},
    }  # fmt: skip
    (folder / "card.json").write_text(json.dumps(card))
    return folder


@pytest.fixture
def small_run(tmp_path: Path) -> dict[str, Any]:
    """The run as YAML holds it, every path absolute."""
    proteins = [Protein(f"P{number}", "ACDEFGHIKL" * (2 + number)) for number in range(6)]
    corpus = write_corpus(tmp_path / "corpus", proteins)
    return {
        "extends": "tiny",
        "name": "submitted",
        "output": str(tmp_path / "runs"),
        "data": {"corpus": [str(corpus)], "split": None},
        "alignment": {"epochs": 2, "global_batch": 4},
    }
