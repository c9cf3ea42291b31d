"""How long the data plane waits: for a connection, and for a store that takes or answers slowly."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from botocore.credentials import Credentials

from ingest.config import Settings
from ingest.errors import StorageUnavailable
from storage.objects.refusals import Verb
from storage.objects.s3_client import Patience, S3Access
from storage.objects.wire import Wire
from tests.support.origin import Certificates, TlsCase

SHORT_S = 0.3
LONG_S = 30.0
# More than the kernel keeps for a store that does not read.
BODY = bytes(32 * 1024**2)
LENGTH = b"content-length: "
OK = b"HTTP/1.1 200 OK\r\nETag: x\r\nContent-Length: 0\r\n\r\n"

Serve = Callable[[socket.socket, threading.Event], None]


@contextmanager
def _listen(serve: Serve) -> Iterator[int]:
    """Serve one connection until the test ends; yields the port."""
    stop = threading.Event()
    # What is accepted keeps the small buffer.
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    listener.bind(("127.0.0.1", 0))
    listener.listen()

    def run() -> None:
        with suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                serve(connection, stop)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stop.set()
        listener.close()
        thread.join(LONG_S)


@contextmanager
def _connect(
    settings: Settings, port: int, connect_s: float, read_s: float, ca_file: Path | None = None
) -> Iterator[Wire]:
    """Build a wire to a port of this host; with certificates, over TLS."""
    patience = Patience(connect_timeout_s=connect_s, read_timeout_s=read_s, attempts=1)
    scheme = "http" if ca_file is None else "https"
    client = S3Access(settings, patience).make_client(f"{scheme}://127.0.0.1:{port}", 1)
    wire = Wire(
        settings.s3_bucket,
        client,
        Credentials("key", "secret"),
        ca_file=None if ca_file is None else str(ca_file),
        pool_size=1,
        patience=patience,
    )
    try:
        yield wire
    finally:
        wire.close()


def _put(wire: Wire, body: bytes = BODY) -> None:
    wire.put(Verb.STORE_PART, "a", "", body, {})


def _read_request(connection: socket.socket) -> None:
    found = b""
    while b"\r\n\r\n" not in found:
        found += connection.recv(65536)
    head, _, body = found.partition(b"\r\n\r\n")
    left = int(head.lower().partition(LENGTH)[2].partition(b"\r\n")[0]) - len(body)
    while left:
        left -= len(connection.recv(min(left, 1024**2)))


def _speak(scheme: str, serve: Serve, certificates: Certificates) -> tuple[Serve, Path | None]:
    """Return what serves by a scheme, and the certificates to check it by."""
    if scheme == "http":
        return serve, None
    context = certificates.make_context(TlsCase.TRUSTED)

    def secure(connection: socket.socket, stop: threading.Event) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            serve(secured, stop)

    return secure, certificates.ca_file


def _take_slowly(connection: socket.socket, stop: threading.Event) -> None:
    # The second request comes on a connection that is there already.
    for _ in range(2):
        stop.wait(3 * SHORT_S)
        _read_request(connection)
        connection.sendall(OK)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_store_may_take_longer_over_a_slice_than_over_a_connection(
    scheme: str, settings: Settings, certificates: Certificates
) -> None:
    serve, ca_file = _speak(scheme, _take_slowly, certificates)
    with _listen(serve) as port, _connect(settings, port, SHORT_S, LONG_S, ca_file) as wire:
        _put(wire)
        _put(wire)


def _take_steadily(connection: socket.socket, stop: threading.Event) -> None:
    taken = 0
    while taken < len(BODY):
        before = taken
        while taken < min(len(BODY), before + 256 * 1024):
            taken += len(connection.recv(256 * 1024))
        stop.wait(SHORT_S / 30)
    connection.sendall(OK)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_body_may_take_longer_than_the_limit_while_it_is_taken(
    scheme: str, settings: Settings, certificates: Certificates
) -> None:
    serve, ca_file = _speak(scheme, _take_steadily, certificates)
    began = time.monotonic()
    with _listen(serve) as port, _connect(settings, port, LONG_S, 2 * SHORT_S, ca_file) as wire:
        _put(wire)
    assert time.monotonic() - began > 2 * SHORT_S


def _take_nothing(connection: socket.socket, stop: threading.Event) -> None:
    del connection
    stop.wait(LONG_S)


def _say_nothing(connection: socket.socket, stop: threading.Event) -> None:
    _read_request(connection)
    stop.wait(LONG_S)


@pytest.mark.parametrize("serve", [_take_nothing, _say_nothing])
def test_a_store_that_takes_or_says_nothing_is_given_up(serve: Serve, settings: Settings) -> None:
    began = time.monotonic()
    with _listen(serve) as port, _connect(settings, port, LONG_S, SHORT_S) as wire:
        with pytest.raises(StorageUnavailable):
            _put(wire)
        assert time.monotonic() - began < LONG_S


def test_a_store_that_does_not_finish_tls_is_given_up_sooner(
    settings: Settings, certificates: Certificates
) -> None:
    began = time.monotonic()
    ca_file = certificates.ca_file
    with (
        _listen(_take_nothing) as port,
        _connect(settings, port, SHORT_S, LONG_S, ca_file) as wire,
    ):
        with pytest.raises(StorageUnavailable):
            _put(wire)
        assert time.monotonic() - began < LONG_S


def test_a_store_that_does_not_accept_is_given_up_sooner(settings: Settings) -> None:
    began = time.monotonic()
    with ExitStack() as held:
        # A queue of connections that is full answers nobody.
        full = held.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):
            waiting = held.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(full.getsockname())
        wire = held.enter_context(_connect(settings, full.getsockname()[1], SHORT_S, LONG_S))
        with pytest.raises(StorageUnavailable, match="TimeoutError"):
            _put(wire, b"")
        assert time.monotonic() - began < LONG_S
