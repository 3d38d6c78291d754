"""What the commands that write data share: one process at a time in a folder, and one line where the disk is full."""

import gzip
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from protein2text.data.ingest import ingest
from protein2text.data.literature.retrieve import literature
from protein2text.data.output_folder import hold
from protein2text.data.published_qa import export_questions
from protein2text.data.qa.generator_config import GeneratorConfig
from protein2text.data.qa.run import make_qa
from protein2text.data.records import read_card
from protein2text.data.split import split
from protein2text.errors import ConfigError, DiskFull
from tests.conftest import no_file_above
from tests.data.conftest import MakeCorpus

Commands = dict[str, Callable[[], object]]
FASTA = ">P1 one\nMKV\n>P2 two\nMKL\n"


@pytest.fixture
def commands(tmp_path: Path, make_corpus: MakeCorpus, described: Callable[..., dict[str, Any]]) -> Commands:
    """Commands that write to ``out``, ready to be given."""
    source, out = tmp_path / "two.fasta", str(tmp_path / "out")
    source.write_text(FASTA)
    corpus = make_corpus([described("P1", "MKV"), described("P2", "MKL")])
    passages = tmp_path / "literature"
    literature([str(source)], passages, articles=[])
    return {
        "ingest": lambda: ingest([str(source)], out, max_residues=100),
        "split": lambda: split([corpus], out, kind="by_cluster"),
        "literature": lambda: literature([str(source)], out, articles=[]),
        "qa": lambda: make_qa(passages, out, GeneratorConfig(model="any", url="http://127.0.0.1:9/v1")),
        "export": lambda: export_questions([corpus], Path(out) / "questions.json"),
    }


@pytest.mark.parametrize("command", ["ingest", "split", "literature", "qa"])
def test_two_at_once_are_refused(tmp_path: Path, commands: Commands, command: str) -> None:
    (tmp_path / "out").mkdir()
    with hold(tmp_path / "out"), pytest.raises(ConfigError, match="another process is writing to it"):
        commands[command]()
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]


@pytest.mark.parametrize("command", ["ingest", "split", "literature", "qa", "export"])
def test_a_full_disk_is_named(tmp_path: Path, commands: Commands, command: str) -> None:
    with (
        no_file_above(1),
        pytest.raises(DiskFull, match=rf"{tmp_path / 'out'}: a file reached .* 1 bytes .*Raise it"),
    ):
        commands[command]()
    assert not list((tmp_path / "out").glob("questions*"))


def test_a_source_that_was_cut_is_named_in_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "whole.fasta").write_text(FASTA)
    (tmp_path / "cut.fasta.gz").write_bytes(gzip.compress(FASTA.encode())[:-9])
    with caplog.at_level(logging.WARNING, logger="protein2text.data.sources"):
        ingest([str(tmp_path / "whole.fasta"), str(tmp_path / "cut.fasta.gz")], str(tmp_path / "out"), max_residues=100)
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("cut.fasta.gz was not read to its end: the gzip file breaks off")


def test_cut_proteins_are_named_before_their_articles_are_searched(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entry = "ID   X_HUMAN\nAC   {};\nDE   RecName: Full=Insulin;\nSQ   SEQUENCE\n     MKV\n//\n"
    (tmp_path / "cut.fasta.gz").write_bytes(gzip.compress(FASTA.encode())[:-9])
    (tmp_path / "cut.dat").write_text(entry.format("P3") + entry.format("P4")[:-15])
    sources = [str(tmp_path / name) for name in ("cut.fasta.gz", "cut.dat")]
    with caplog.at_level(logging.WARNING, logger="protein2text.data.sources"), pytest.raises(ConfigError, match="mail"):
        literature(sources, tmp_path / "out")
    packed, flat = [record.getMessage() for record in caplog.records]
    assert packed.startswith("cut.fasta.gz was not read to its end: the gzip file breaks off")
    assert flat.startswith("cut.dat was not read to its end: the file ends inside this entry")
    summary = literature(sources, tmp_path / "out", articles=[])
    assert summary.proteins == 2
    assert read_card(tmp_path / "out" / "card.json")["reasons"] == {"protein_truncated_gzip": 1, "protein_cut_short": 1}
