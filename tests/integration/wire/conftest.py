"""A store that answers as it is told, and a wire to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from botocore.credentials import Credentials
from mypy_boto3_s3 import S3Client

from ingest.config import Settings
from storage.objects.refusals import Verb
from storage.objects.s3_client import Patience, S3Access
from storage.objects.wire import Wire

PATIENCE = Patience(connect_timeout_s=2, read_timeout_s=2, attempts=3)
BODY = bytes(range(256)) * 3000


@dataclass(frozen=True, slots=True)
class Taken:
    """A request as it arrived."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Store:
    """Answers in turn, the last one again and again; None closes without a word.

    Attributes:
        region: where the bucket is said to be, if it is.
    """

    port: int = 0
    region: str | None = None
    answers: Sequence[tuple[int, bytes] | None] = ()
    taken: list[Taken] = field(default_factory=list)

    def answer(self, taken: Taken) -> tuple[int, bytes] | None:
        """Note a request; return what it is answered."""
        self.taken.append(taken)
        return self.answers[min(len(self.taken), len(self.answers)) - 1]


def refuse(status: int, code: str, more: str = "") -> tuple[int, bytes]:
    return status, f"<?xml version='1.0'?><Error><Code>{code}</Code>{more}</Error>".encode()


@pytest.fixture(scope="module")
def served() -> Iterator[Store]:
    """A server that answers as it is told."""
    told = Store()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = told.answer(Taken(self.command, self.path, headers, body))
            if answer is None:
                self.close_connection = True
                return
            status, content = answer
            self.send_response(status)
            self.send_header("ETag", '"etag"')
            if told.region is not None:
                self.send_header("x-amz-bucket-region", told.region)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def do_HEAD(self) -> None:
            self.do_PUT()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        told.port = server.server_port
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield told
        server.shutdown()


@pytest.fixture
def store(served: Store) -> Store:
    """The server, told nothing yet."""
    served.answers, served.taken, served.region = [(200, b"")], [], None
    return served


@pytest.fixture
def pauses() -> list[float]:
    """How long was waited between tries."""
    return []


Build = Callable[..., Wire]


@pytest.fixture(scope="module")
def client(settings: Settings, served: Store) -> S3Client:
    """What knows where the server is."""
    return S3Access(settings, PATIENCE).make_client(f"http://127.0.0.1:{served.port}", 1)


@pytest.fixture
def build(settings: Settings, client: S3Client, pauses: list[float]) -> Iterator[Build]:
    """Builds a wire to the server, with the credentials that are given."""
    built: list[Wire] = []

    def make(credentials: Credentials | None) -> Wire:
        wire = Wire(
            settings.s3_bucket,
            client,
            credentials,
            ca_file=None,
            pool_size=2,
            patience=PATIENCE,
            pause=pauses.append,
        )
        built.append(wire)
        return wire

    yield make
    for wire in built:
        wire.close()


@pytest.fixture
def wire(build: Build) -> Wire:
    return build(Credentials("key-one", "secret"))


def put(wire: Wire, body: bytes | bytearray | memoryview = BODY) -> Mapping[str, str]:
    return wire.put(Verb.STORE_PART, "a/ü +%~.mp4", "partNumber=1", body, {"x-amz-meta-a": "b"})
