"""Bodies on their way into the store: whole, in parts that are bounded, or not at all."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable

import pytest
from flask import Flask

from api.upload_bodies import Staged, take_in
from ingest.config import MIB, Settings
from ingest.environ import load_settings
from ingest.errors import BodyInvalid, BodyTooLarge, StorageUnavailable
from storage.objects.memory import MemoryObjectStore
from storage.objects.store import Content, Part, Upload

APP = Flask("tests")
PART_BYTES = 5 * MIB


class Stream:
    """A body as the server hands it on, which may break off or come late.

    Args:
        broken: what is raised at the end in place of it.
        wait: called before each read.
    """

    def __init__(
        self,
        body: bytes,
        broken: Exception | None = None,
        wait: Callable[[], object] = lambda: None,
    ) -> None:
        self._body = io.BytesIO(body)
        self._broken = broken
        self._wait = wait
        self.largest = 0

    def read(self, size: int) -> bytes:
        self._wait()
        self.largest = max(self.largest, size)
        found = self._body.read(size)
        if not found and self._broken is not None:
            raise self._broken
        return found


def load(**environ: str) -> Settings:
    return load_settings(
        {
            "HEADRACE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
            "HEADRACE_REDIS_URL": "redis://127.0.0.1:1/0",
            "HEADRACE_S3_BUCKET": "media",
            "HEADRACE_PART_BYTES": str(PART_BYTES),
            **environ,
        }
    )


SETTINGS = load()


def take(
    stream: Stream,
    store: MemoryObjectStore,
    *,
    declared: int | None = None,
    most_bytes: int = 100 * MIB,
    settings: Settings = SETTINGS,
    connection: object = None,
    headers: dict[str, str] | None = None,
) -> Staged:
    environ: dict[str, object] = {"wsgi.input": stream, "wsgi.input_terminated": True}
    if connection is not None:
        environ["gunicorn.socket"] = connection
    if declared is not None:
        environ["CONTENT_LENGTH"] = str(declared)
    with APP.test_request_context("/", method="PUT", headers=headers, environ_overrides=environ):
        return take_in(settings, store, "k", most_bytes, lambda: BodyTooLarge("Too long."))


@pytest.mark.parametrize(
    "size_bytes",
    [1, 5, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, 2 * PART_BYTES + 3],
)
@pytest.mark.parametrize("has_length", [True, False])
def test_a_body_is_stored_as_it_is_however_it_is_cut(
    size_bytes: int,
    has_length: bool,  # noqa: FBT001
) -> None:
    body = (b"0123456789abcde" * (size_bytes // 15 + 1))[:size_bytes]
    store = MemoryObjectStore()
    staged = take(Stream(body), store, declared=size_bytes if has_length else None)
    assert staged == Staged(size_bytes, hashlib.sha256(body).hexdigest())
    assert store.read("k") == body
    assert list(store.list_uploads()) == []


@pytest.mark.parametrize("declared", [None, 0])
def test_an_empty_body_is_none(declared: int | None) -> None:
    store = MemoryObjectStore()
    with pytest.raises(BodyInvalid, match="empty"):
        take(Stream(b""), store, declared=declared)
    assert list(store.list_keys("")) == []


@pytest.mark.parametrize("sent_bytes", [0, 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES])
@pytest.mark.parametrize(
    ("broken", "has_length"),
    [
        (None, True),
        (OSError("reset"), True),
        (OSError("reset"), False),
        (ValueError("no chunk"), False),
    ],
)
def test_a_body_that_breaks_off_leaves_nothing(
    sent_bytes: int,
    broken: Exception | None,
    has_length: bool,  # noqa: FBT001
) -> None:
    store = MemoryObjectStore()
    declared = 2 * PART_BYTES + 1 if has_length else None
    with pytest.raises(BodyInvalid, match="broke off"):
        take(Stream(bytes(sent_bytes), broken), store, declared=declared)
    assert list(store.list_keys("")) == []
    assert list(store.list_uploads()) == []


@pytest.mark.parametrize("most_bytes", [1, 1000, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES])
def test_a_body_that_is_too_long_is_so_by_one_byte(most_bytes: int) -> None:
    store = MemoryObjectStore()
    for declared in (None, most_bytes + 1):
        stream = Stream(bytes(most_bytes + 1))
        with pytest.raises(BodyTooLarge):
            take(stream, store, declared=declared, most_bytes=most_bytes)
        # What says so itself is not read.
        assert (stream.largest == 0) is (declared is not None)
    assert list(store.list_keys("")) == []
    assert list(store.list_uploads()) == []
    for declared in (None, most_bytes):
        staged = take(Stream(bytes(most_bytes)), store, declared=declared, most_bytes=most_bytes)
        assert staged.size_bytes == most_bytes


def test_a_part_of_something_is_no_file() -> None:
    with pytest.raises(BodyInvalid, match="Content-Range"):
        take(Stream(b"x"), MemoryObjectStore(), headers={"Content-Range": "bytes 0-0/9"})


class Failing(MemoryObjectStore):
    """Fails at a part."""

    def __init__(self, at_part: int) -> None:
        super().__init__()
        self._at_part = at_part

    def put_part(
        self, upload: Upload, number: int, body: Content, checksum: int | None = None
    ) -> Part:
        if number == self._at_part:
            raise StorageUnavailable("No.")
        return super().put_part(upload, number, body, checksum)


@pytest.mark.parametrize("at_part", [1, 2])
def test_an_upload_that_the_store_fails_at_is_aborted(at_part: int) -> None:
    store = Failing(at_part)
    with pytest.raises(StorageUnavailable):
        take(Stream(bytes(2 * PART_BYTES)), store)
    assert list(store.list_uploads()) == []
    assert list(store.list_keys("")) == []


class Connection:
    """A connection that somebody may hang up on."""

    def __init__(self) -> None:
        self.is_shut = threading.Event()

    def shutdown(self, how: int, /) -> None:
        assert how == 0
        self.is_shut.set()


@pytest.mark.parametrize(
    "environ",
    [
        {"HEADRACE_LOWEST_WINDOW_S": "0.05"},
        {"HEADRACE_TOTAL_TIMEOUT_S": "0.05"},
        {"HEADRACE_TOTAL_TIMEOUT_S": "0.05", "HEADRACE_LOWEST_BPS": "0"},
    ],
)
def test_who_sends_nothing_for_too_long_is_hung_up_on(environ: dict[str, str]) -> None:
    connection, store = Connection(), MemoryObjectStore()
    # As a socket of which nothing is read any more.
    stream = Stream(b"", wait=lambda: connection.is_shut.wait(20))
    with pytest.raises(BodyInvalid, match="too slowly"):
        take(stream, store, declared=5, settings=load(**environ), connection=connection)
    assert connection.is_shut.is_set()


def test_who_sends_something_now_and_then_is_hung_up_on_when_the_time_is_over() -> None:
    connection, store = Connection(), MemoryObjectStore()
    came = iter(range(10**9))

    class Endless(Stream):
        def read(self, size: int) -> bytes:
            next(came)
            return b"" if connection.is_shut.wait(0.001) else b"x"[:size]

    settings = load(HEADRACE_TOTAL_TIMEOUT_S="0.1", HEADRACE_LOWEST_WINDOW_S="0.05")
    with pytest.raises(BodyInvalid, match="too slowly"):
        take(Endless(b""), store, declared=10**6, settings=settings, connection=connection)
    assert next(came) > 1


class Slow(MemoryObjectStore):
    """Takes its time over each part, unless somebody is hung up on meanwhile."""

    def __init__(self, connection: Connection, seconds: float) -> None:
        super().__init__()
        self._connection, self._seconds = connection, seconds

    def put_part(
        self, upload: Upload, number: int, body: Content, checksum: int | None = None
    ) -> Part:
        assert not self._connection.is_shut.wait(self._seconds)
        return super().put_part(upload, number, body, checksum)


def test_nobody_is_hung_up_on_for_a_store_that_is_slow() -> None:
    connection = Connection()
    settings = load(HEADRACE_LOWEST_WINDOW_S="0.2")
    staged = take(
        Stream(bytes(PART_BYTES + 1)),
        Slow(connection, 0.7),
        declared=PART_BYTES + 1,
        settings=settings,
        connection=connection,
    )
    assert staged.size_bytes == PART_BYTES + 1
    assert not connection.is_shut.is_set()


def test_nobody_is_hung_up_on_who_is_done() -> None:
    connection = Connection()
    settings = load(HEADRACE_LOWEST_WINDOW_S="0.02")
    take(Stream(b"x" * 10), MemoryObjectStore(), settings=settings, connection=connection)
    assert not connection.is_shut.wait(0.1)
    assert not any(one.name == "upload-watch" for one in threading.enumerate())


def test_little_is_asked_for_at_first_and_never_very_much() -> None:
    stream = Stream(bytes(3 * PART_BYTES))
    take(stream, MemoryObjectStore())
    assert stream.largest <= 256 * 1024
