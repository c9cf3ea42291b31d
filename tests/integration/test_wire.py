"""The data plane against servers that say what they like: tried again, explained, signed anew."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from botocore.credentials import Credentials, RefreshableCredentials
from botocore.exceptions import ClientError, MetadataRetrievalError
from mypy_boto3_s3 import S3Client

from ingest.config import Settings
from ingest.errors import FileExists, HeadraceError, StorageUnavailable, UploadLost
from storage.objects.s3_client import Patience, S3Access
from storage.objects.wire import Wire

PATIENCE = Patience(connect_timeout_s=2, read_timeout_s=2, attempts=3)
BODY = bytes(range(256)) * 3000


@dataclass(frozen=True, slots=True)
class Taken:
    """A request as it arrived."""

    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Store:
    """Answers in turn, the last one again and again; None closes without a word."""

    port: int = 0
    answers: Sequence[tuple[int, bytes] | None] = ()
    taken: list[Taken] = field(default_factory=list)

    def answer(self, taken: Taken) -> tuple[int, bytes] | None:
        """Note a request; return what it is answered."""
        self.taken.append(taken)
        return self.answers[min(len(self.taken), len(self.answers)) - 1]


def refuse(status: int, code: str) -> tuple[int, bytes]:
    return status, f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode()


@pytest.fixture(scope="module")
def served() -> Iterator[Store]:
    """A server that answers as it is told."""
    told = Store()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = told.answer(Taken(self.path, headers, body))
            if answer is None:
                self.close_connection = True
                return
            status, content = answer
            self.send_response(status)
            self.send_header("ETag", '"etag"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

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
    served.answers, served.taken = [(200, b"")], []
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
    return wire.put("store a part", "a/ü +%~.mp4", "partNumber=1", body, {"X-Amz-Meta-A": "b"})


@pytest.mark.parametrize(
    "body", [BODY, bytearray(BODY), memoryview(bytearray(BODY))[7:-9], b"", b"x"], ids=type
)
def test_a_body_arrives_as_it_lies_in_memory(
    body: bytes | bytearray | memoryview, wire: Wire, store: Store, settings: Settings
) -> None:
    assert put(wire, body)["ETag"] == '"etag"'
    (taken,) = store.taken
    assert taken.body == bytes(body)
    assert taken.target == f"/{settings.s3_bucket}/a/%C3%BC%20%2B%25~.mp4?partNumber=1"
    assert taken.headers["x-amz-meta-a"] == "b"
    assert taken.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert "Credential=key-one/" in taken.headers["authorization"]
    assert "x-amz-meta-a" in taken.headers["authorization"]
    assert "transfer-encoding" not in taken.headers


@pytest.mark.parametrize(
    "trouble",
    [
        refuse(503, "SlowDown"),
        refuse(500, "InternalError"),
        refuse(400, "RequestTimeout"),
        refuse(400, "BadDigest"),
        (502, b"<html>a proxy</html>"),
        None,
    ],
    ids=["SlowDown", "InternalError", "RequestTimeout", "BadDigest", "a proxy", "silence"],
)
def test_what_may_pass_is_tried_again_as_often_as_patience_says(
    trouble: tuple[int, bytes] | None, wire: Wire, store: Store, pauses: list[float]
) -> None:
    store.answers = (trouble, trouble, (200, b""))
    put(wire)
    assert [taken.body for taken in store.taken] == [BODY] * 3
    assert len(pauses) == 2
    assert 0 <= pauses[0] <= 1
    assert 0 <= pauses[1] <= 2


@pytest.mark.parametrize(
    "trouble", [refuse(503, "SlowDown"), (502, b""), None], ids=["refused", "proxy", "silence"]
)
def test_what_does_not_pass_is_an_outage(
    trouble: tuple[int, bytes] | None, wire: Wire, store: Store
) -> None:
    store.answers = (trouble,)
    with pytest.raises(StorageUnavailable):
        put(wire)
    assert len(store.taken) == PATIENCE.attempts


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refuse(404, "NoSuchUpload"), UploadLost),
        (refuse(400, "InvalidPart"), UploadLost),
        (refuse(412, "PreconditionFailed"), FileExists),
        (refuse(409, "ConditionalRequestConflict"), FileExists),
        (refuse(404, "NoSuchBucket"), StorageUnavailable),
        (refuse(403, "AccessDenied"), StorageUnavailable),
        ((301, b""), StorageUnavailable),
    ],
    ids=["upload", "part", "taken", "conflict", "bucket", "denied", "moved"],
)
def test_what_a_store_means_by_no_is_not_asked_twice(
    answer: tuple[int, bytes], error: type[HeadraceError], wire: Wire, store: Store
) -> None:
    store.answers = (answer,)
    with pytest.raises(error):
        put(wire)
    assert len(store.taken) == 1


def test_without_credentials_nothing_is_sent(build: Build, store: Store) -> None:
    with pytest.raises(StorageUnavailable):
        put(build(None))
    assert store.taken == []


def test_each_try_is_signed_by_the_credentials_of_its_moment(build: Build, store: Store) -> None:
    credentials = Credentials("key-one", "secret", "token-one")
    wire = build(credentials)

    def refresh(_: float) -> None:
        credentials.access_key, credentials.token = "key-two", "token-two"

    wire._pause = refresh
    store.answers = (refuse(503, "SlowDown"), (200, b""))
    put(wire)
    used = [taken.headers["authorization"].split("Credential=")[1][:7] for taken in store.taken]
    assert used == ["key-one", "key-two"]
    tokens = [taken.headers["x-amz-security-token"] for taken in store.taken]
    assert tokens == ["token-one", "token-two"]


def _make_refreshable(
    refresh: Callable[[], dict[str, str]], number: int = 0
) -> RefreshableCredentials:
    """Return credentials that have ended, so that each look at them asks for others."""
    return RefreshableCredentials.create_from_metadata(
        _make_answer(number, ends_in=timedelta(0)), refresh_using=refresh, method="test"
    )


def _make_answer(number: int, ends_in: timedelta) -> dict[str, str]:
    return {
        "access_key": f"key-{number}",
        "secret_key": f"secret-{number}",
        "token": f"token-{number}",
        "expiry_time": (datetime.now(UTC) + ends_in).isoformat(),
    }


def test_the_parts_of_a_signature_are_of_one_set_of_credentials(build: Build, store: Store) -> None:
    asked: list[int] = []

    def refresh() -> dict[str, str]:
        asked.append(len(asked) + 1)
        # So near their end that each look at them asks again.
        return _make_answer(asked[-1], ends_in=timedelta(seconds=60))

    put(build(_make_refreshable(refresh)))
    (taken,) = store.taken
    (number,) = asked
    assert f"Credential=key-{number}/" in taken.headers["authorization"]
    assert taken.headers["x-amz-security-token"] == f"token-{number}"


@pytest.mark.parametrize(
    "trouble",
    [
        ClientError({"Error": {"Code": "ExpiredToken"}}, "AssumeRoleWithWebIdentity"),
        # A code that would mean something else of an object.
        ClientError({"Error": {"Code": "PreconditionFailed"}}, "AssumeRole"),
        MetadataRetrievalError(error_msg="no answer"),
        OSError("no such file"),
        ValueError("no JSON"),
    ],
    ids=repr,
)
def test_credentials_that_cannot_be_renewed_are_an_outage(
    trouble: Exception, build: Build, store: Store
) -> None:
    asked: list[None] = []

    def refresh() -> dict[str, str]:
        asked.append(None)
        raise trouble

    with pytest.raises(StorageUnavailable, match="credentials"):
        put(build(_make_refreshable(refresh)))
    assert store.taken == []
    assert len(asked) == PATIENCE.attempts


def test_credentials_that_are_renewed_after_all_are_used(build: Build, store: Store) -> None:
    answers = [
        {},
        _make_answer(1, ends_in=timedelta(0)),
        _make_answer(2, ends_in=timedelta(seconds=60)),
    ]
    put(build(_make_refreshable(lambda: answers.pop(0))))
    assert "Credential=key-2/" in store.taken[0].headers["authorization"]
