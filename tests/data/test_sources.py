"""`data.sources`: stores beside the local disk, names, and what a missing library or a missing file says."""

import bz2
import gzip
import hashlib
import io
import logging
import lzma
import os
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest

from protein2text.data.readers.formats import detect, read_entries
from protein2text.data.sources import expand, num_bytes, origin, read_chunks, sha256, short_names
from protein2text.errors import ConfigError, MissingFile, ServiceError

FASTA = b">P1 one\nMKV\n>P2 two\nMKL\n"


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def website(tmp_path: Path) -> Iterator[str]:
    """A web server on this machine, over ``tmp_path``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_missing_source_and_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="no_such_file"):
        expand([str(tmp_path / "no_such_file.tsv")])
    with pytest.raises(ConfigError, match="a folder without files"):
        expand([str(tmp_path)])
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(ConfigError, match="cannot be followed"):
        expand([str(tmp_path / "loop")])


def test_a_pipe_is_refused_unless_it_is_a_file() -> None:
    reader, writer = os.pipe()
    try:
        for source in ("-", f"/dev/fd/{reader}", os.devnull):
            with pytest.raises(ConfigError, match=r"gives its text once.*write the text to a file"):
                expand([source])
    finally:
        os.close(reader)
        os.close(writer)
    with Path(__file__).open() as file:  # what `< FILE` makes of /dev/stdin
        assert expand([f"/dev/fd/{file.fileno()}"]) == [str(Path(__file__).resolve())]


def test_what_a_folder_holds_beside_files_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "2025").mkdir()
    with pytest.raises(ConfigError, match="a folder without files, but with 2025; name one of those"):
        expand([str(tmp_path)])
    (tmp_path / "gone.fasta").symlink_to(tmp_path / "nowhere")
    (tmp_path / "two.fasta").write_bytes(FASTA)
    with caplog.at_level(logging.WARNING, logger="protein2text.data.sources"):
        assert expand([str(tmp_path)]) == [str(tmp_path / "two.fasta")]
    assert "passed over 2 folders or links that lead nowhere: 2025, gone.fasta" in caplog.text
    for card in ("card.json", "split.json"):
        (tmp_path / card).write_text("{}")
        with pytest.raises(ConfigError, match=rf"holds {card}, so this program wrote it.*Name the files"):
            expand([str(tmp_path)])
        (tmp_path / card).unlink()


def test_a_file_on_the_web_is_read_like_a_local_one(website: str, tmp_path: Path) -> None:
    (tmp_path / "two.fasta.gz").write_bytes(gzip.compress(FASTA))
    url = f"{website}/two.fasta.gz"
    assert expand([url]) == [url]
    assert detect(url) == "fasta"
    packed = (tmp_path / "two.fasta.gz").read_bytes()
    assert (num_bytes(url), sha256(url)) == (len(packed), hashlib.sha256(packed).hexdigest())
    assert [entry.raw for entry in read_entries(url, "fasta")] == [">P1 one\nMKV", ">P2 two\nMKL"]
    assert origin(url) == {}
    (tmp_path / "two.fasta.gz.origin.json").write_text('{"release": "2026_01"}')
    assert origin(url) == {"release": "2026_01"}
    with pytest.raises(MissingFile, match=r"none\.fasta"):
        expand([f"{website}/none.fasta"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"licence": ["CC BY 4.0"]}', r"licence: \['CC BY 4\.0'\] is no text"),
        ('{"release": 2026}', "release: 2026 is no text"),
        ("[1]", "origin: is a list, no object"),
        ("{broken", "origin: is no JSON"),
        ("\xff", "origin: is no JSON"),
    ],
)
def test_what_is_no_origin_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.tsv.origin.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=rf"a\.tsv\.origin\.json: {said}"):
        origin(str(tmp_path / "a.tsv"))


def test_a_store_that_does_not_answer_is_named(website: str) -> None:
    for read in (lambda url: list(read_chunks(url)), lambda url: expand([url])):
        with pytest.raises(ServiceError, match=r"127\.0\.0\.1:9/.*Check the address, the network"):
            read("http://127.0.0.1:9/x.fasta")


def test_any_fsspec_store_can_be_read_but_one_that_lives_in_a_process_is_no_source() -> None:
    fsspec.filesystem("memory").pipe("/p2t/two.fasta", FASTA)
    assert b"".join(read_chunks("memory://p2t/two.fasta")) == FASTA
    assert sha256("memory://p2t/two.fasta") == hashlib.sha256(FASTA).hexdigest()
    with pytest.raises(ConfigError, match="no worker sees it"):
        expand(["memory://p2t/two.fasta"])


def test_a_missing_library_names_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ConfigError, match=r"gs:// needs a library.*gcsfs.*pip install -e \.\[cloud\]"):
        expand(["gs://bucket/uniprot_sprot.dat.gz"])


def test_an_unknown_protocol_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="s3://, gs://, https://"):
        expand(["nowhere://bucket/file"])


def test_names_are_as_short_as_they_can_be_and_differ() -> None:
    files = ["/a/x/t.tsv", "/b/x/t.tsv", "s3://c/y/t.tsv", "/d/u.tsv"]
    assert short_names(files) == ["a/x/t.tsv", "b/x/t.tsv", "y/t.tsv", "u.tsv"]
    assert short_names(["/a/t.tsv", "/a/u.tsv"]) == ["t.tsv", "u.tsv"]


def zipped(text: bytes) -> bytes:
    """A zip archive of one file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("proteins.fasta", text)
    return file.getvalue()


def tarred(text: bytes) -> bytes:
    """A tar archive of one file."""
    file, member = io.BytesIO(), tarfile.TarInfo("proteins.fasta")
    member.size = len(text)
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(member, io.BytesIO(text))
    return file.getvalue()


@pytest.mark.parametrize(
    ("pack", "told"),
    [
        (bz2.compress, r"packed with bzip2, and only gzip is unpacked here; unpack it \(`bunzip2 FILE`\)"),
        (lzma.compress, "packed with xz"),
        (lambda text: b"\x28\xb5\x2f\xfd" + text, "packed with zstd"),
        (zipped, r"a zip archive, .*`unzip FILE`"),
        (tarred, r"a tar archive, .*`tar -xf FILE`"),
        (lambda text: gzip.compress(tarred(text)), "a tar archive"),
    ],
    ids=["bz2", "xz", "zstd", "zip", "tar", "tar.gz"],
)
def test_what_is_packed_otherwise_is_named_by_its_bytes(
    tmp_path: Path, pack: Callable[[bytes], bytes], told: str
) -> None:
    path = tmp_path / "proteins.fasta.gz"
    path.write_bytes(pack(FASTA))
    with pytest.raises(ConfigError, match=rf"proteins\.fasta\.gz: source: is {told}"):
        detect(str(path))
