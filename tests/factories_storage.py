"""Object storage on loopback: a real S3 server, and one that misbehaves."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

KEY_ID = "AKIAEXAMPLEKEYID0001"
SECRET_KEY = "example-secret-that-nobody-may-see"
BUCKET = "lake"


def aws_environment(address: str) -> dict[str, str]:
    """Return the usual AWS environment for a storage on loopback, tried once."""
    return {
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": address,
        "AWS_MAX_ATTEMPTS": "1",
        **_NOTHING_ELSE,
    }


# Whatever this machine has for AWS is not for tests.
_NOTHING_ELSE = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
# Objects a page of a listing, where S3 has 1,000.
PAGE = 100


@dataclass
class Storage:
    """A running S3 server with one bucket, and the environment that names it."""

    address: str
    environ: dict[str, str] = field(init=False)
    client: Any = field(init=False)

    def __post_init__(self) -> None:
        self.environ = aws_environment(self.address)
        session = boto3.session.Session(KEY_ID, SECRET_KEY, region_name="us-east-1")
        self.client = session.client("s3", endpoint_url=self.address)
        self.client.create_bucket(Bucket=BUCKET)

    def put(self, key: str, content: str | bytes) -> str:
        """Put an object; return its URL."""
        body = content if isinstance(content, bytes) else content.encode()
        self.client.put_object(Bucket=BUCKET, Key=key, Body=body)
        return f"s3://{BUCKET}/{key}"

    def remove(self, key: str) -> None:
        """Delete an object."""
        self.client.delete_object(Bucket=BUCKET, Key=key)

    def clear(self) -> None:
        """Delete every object."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        for one in [one for page in pages for one in page.get("Contents", ())]:
            self.remove(one["Key"])


@contextmanager
def storage() -> Iterator[Storage]:
    """Run an S3 server; its environment is this process's meanwhile."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        made = Storage(f"http://{host}:{port}")
        with environment(made.environ, MOTO_S3_DEFAULT_MAX_KEYS=str(PAGE)):
            yield made
        made.client.close()
    finally:
        server.stop()


@contextmanager
def environment(given: Mapping[str, str], **more: str) -> Iterator[None]:
    """Give this process these AWS variables and no others, and some more."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(given, **more)
    try:
        yield
    finally:
        for name in {*os.environ} - {*before}:
            del os.environ[name]
        os.environ.update(before)


@dataclass
class Odd:
    """An answer that no well storage gives; `cut` bytes are all that is sent of it."""

    status: int
    body: bytes
    cut: int | None = None
    headers: dict[str, str] = field(default_factory=dict)


@contextmanager
def odd_storage(*answers: Odd) -> Iterator[tuple[str, list[str]]]:
    """Give one answer after the other, the last again and again.

    Yields the address, and the `Range` of every request, `""` without one.
    """
    waiting = list(answers)
    ranges: list[str] = []

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            ranges.append(self.headers.get("Range") or "")
            answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(answer.body)))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body[: answer.cut])
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", ranges
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def closed_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
