"""What ``start`` refuses before it starts anything. That it starts is what the other tests stand on."""

import socket
from pathlib import Path

import pytest

from protein2text.errors import ConfigError, CorruptCheckpoint, MissingFile, ServiceError
from protein2text_serve.run import start


def test_a_taken_port_is_named_with_the_way_out(model_folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=rf"127.0.0.1:{port}.*0 finds a free one"):
            start(str(model_folder), port=port)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_other_machines_are_kept_out_unless_hosts_are_named(model_folder: Path, host: str) -> None:
    with pytest.raises(ConfigError, match="allowed_hosts"):
        start(str(model_folder), host=host, port=0)


def test_a_bound_on_facts_that_nobody_gives_is_refused(model_folder: Path) -> None:
    with pytest.raises(ConfigError, match="context_tokens: bounds the facts of context, which is not given"):
        start(str(model_folder), port=0, context_tokens=100)


def test_a_model_that_is_not_there_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(MissingFile):
        start(str(tmp_path / "nowhere"), port=0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorruptCheckpoint, match="manifest"):
        start(str(tmp_path / "empty"), port=0)
