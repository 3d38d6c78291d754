"""A Ray that is not there is named at once, and nothing outlives a block that may have started processes."""

import subprocess
import time

import psutil
import pytest

from protein2text.ending_ray import no_process_left
from protein2text.errors import ConfigError, ServiceError
from protein2text.resources import ReadersOnly, ray_session


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
