"""An S3 service on this machine (moto) behind a proxy that fails as a network does, and checkpoints to send there."""

import http.client
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
import s3fs
import torch
from moto.server import ThreadedMotoServer

from protein2text.train import checkpoints
from protein2text.train.checkpoint_store import CheckpointStore
from protein2text.train.stage_config import CheckpointStoreConfig, StageConfig

BUCKET = "models"
CONFIG = StageConfig(epochs=1, global_batch=1, learning_rate=1, keep_checkpoints=2, keep_best=1)


class Proxy(ThreadingHTTPServer):
    """Passes requests on to moto, unless ``fault`` names one for them: ``503``, ``stall``, or ``flip`` a bit."""

    def __init__(self, service: tuple[str, int]) -> None:
        self.service = service
        self.fault: Callable[[str, str], str | None] = lambda method, path: None
        self.stalled, self.released = threading.Event(), threading.Event()
        self.counts: Counter[str] = Counter()
        super().__init__(("127.0.0.1", 0), Forward)


class Forward(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.counts[f"{self.command} {self.path.rsplit('/', 1)[-1]}"] += 1
        fault = self.server.fault(self.command, self.path)
        if fault == "503":
            self.answer(503, {}, b"<Error><Code>SlowDown</Code><Message>Reduce your request rate</Message></Error>")
            return
        if fault == "stall":
            self.server.stalled.set()
            self.server.released.wait(20)
            self.close_connection = True
            return
        if fault == "flip":
            body = bytes([body[0] ^ 1]) + body[1:]
        connection = http.client.HTTPConnection(*self.server.service)
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        self.answer(answer.status, dict(answer.headers), answer.read())
        connection.close()

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = forward

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        length = headers.get("Content-Length", str(len(body))) if self.command == "HEAD" else str(len(body))
        for name, value in headers.items():
            if name.lower() not in {"content-length", "transfer-encoding", "connection", "date", "server"}:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def s3_behind_proxy() -> Iterator[Proxy]:
    """The service with its bucket, and the environment that leads there."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    proxy = Proxy(moto.get_host_and_port())
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    settings = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.server_address[1]}", "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "1",
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        patch.setattr(s3fs.S3FileSystem, "retries", 1)  # what is tried again here is tried by us
        s3fs.S3FileSystem.clear_instance_cache()
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield proxy
    proxy.shutdown()
    proxy.server_close()
    thread.join()
    moto.stop()
    s3fs.S3FileSystem.clear_instance_cache()


def stored_at(url: str, **settings: Any) -> CheckpointStore:
    return CheckpointStore(CheckpointStoreConfig(url=url, **settings), "run", "alignment", first_wait_s=0.01)


def save(folder: Path, step: int, **trainer: Any) -> Path:
    dice = torch.Generator().manual_seed(step)
    state = {part: {"a": torch.randn(30, 5, generator=dice)} for part in checkpoints.PARTS}
    return checkpoints.save(folder, step, state, {"seed": 0, **trainer})


def upload_under(environment: dict[str, str], store: CheckpointStore, folder: Path) -> None:
    """Upload in a process that was forked before the environment led to the service."""
    os.environ.update(environment)
    store.upload(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def puts(network: Proxy) -> dict[str, int]:
    return {name.removeprefix("PUT "): count for name, count in network.counts.items() if name.startswith("PUT ")}


def stored_object(url: str, step: int, name: str) -> str:
    return f"{url.removeprefix(f's3://{BUCKET}/')}/run/alignment/{checkpoints.name_of(step)}/{name}"


class Told(list[tuple[str, dict[str, Any]]]):
    """Decisions that were told; that a checkpoint lies on disk is none."""

    def __call__(self, message: str = "", **values: Any) -> None:
        if message:
            self.append((message, values))
