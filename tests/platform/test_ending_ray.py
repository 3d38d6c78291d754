"""A Ray that is not there is named at once, and nothing outlives a block that may have started processes."""

import signal
import subprocess
import sys
import time

import psutil
import pytest

from protein2text.ending_ray import no_process_left
from protein2text.errors import ConfigError, ServiceError
from protein2text.resources import ReadersOnly, ray_session
from protein2text.termination import EXIT_TERMINATED


def orphan() -> psutil.Process:
    """A process whose parent has ended."""
    told = subprocess.run(["sh", "-c", "sleep 300 >&- 2>&- & echo $!"], capture_output=True, text=True, check=True)
    return psutil.Process(int(told.stdout))


def test_nothing_that_a_block_started_outlives_it() -> None:
    with subprocess.Popen(["sleep", "300"]) as before:
        with no_process_left():
            started = orphan()
            assert started.is_running()
        assert not started.is_running()
        assert before.poll() is None, "what ran before goes on"
        before.kill()


AT_WORK = """
import time
from protein2text.resources import ReadersOnly, ray_session
with ray_session(ReadersOnly()):
    try:
        print("at work", flush=True)
        time.sleep(60)
    finally:
        print("left", flush=True)
"""


def test_a_termination_leaves_block_by_block_and_no_process_behind() -> None:
    with subprocess.Popen([sys.executable, "-c", AT_WORK], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        rays = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=30)[0] == "left\n"
    assert process.returncode == signal.SIGTERM, "as Python ends it, not aborted by Ray"
    assert rays
    assert not any(child.is_running() for child in rays)


WAITING = """
import time, ray
from protein2text.cli import app
from protein2text.resources import ReadersOnly, ray_session
@ray.remote
def work():
    time.sleep(60)
@app.command()
def wait():
    with ray_session(ReadersOnly()):
        print("at work", flush=True)
        ray.get(work.remote())
app(["wait"])
"""


def test_a_termination_while_ray_waits_is_no_interrupt() -> None:
    with subprocess.Popen([sys.executable, "-c", WAITING], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"at work\n"
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == EXIT_TERMINATED
    assert said.endswith(b"protein2text: terminated; give the same command again to finish\n")


@pytest.mark.parametrize("address", ["nonsense", "host:", ":6379", "ray://host", "host:port"])
def test_an_address_that_is_none_is_named(address: str, without_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ConfigError, match=f"RAY_ADDRESS: environment: '{address}' is no address of a Ray cluster"):
        ray_session(ReadersOnly()).__enter__()


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "[::1]:9", "127.0.0.1:99999"])
def test_a_cluster_that_does_not_answer_is_named_at_once(
    address: str, without_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    began = time.monotonic()
    with pytest.raises(ServiceError, match=r"RAY_ADDRESS=.*9: nobody answers there: .*unset RAY_ADDRESS"):
        ray_session(ReadersOnly()).__enter__()
    assert time.monotonic() - began < 10
