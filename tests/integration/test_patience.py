"""Every wait on a source ends, whatever it sends in the meantime."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

import pytest

from ingest.errors import SourceTimeout
from ingest.urls import parse_source_url
from workers.egress import Egress, Policy

READ_TIMEOUT_S = 0.5
LIMIT_S = 10.0
_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@contextmanager
def _serve(pieces: Iterable[bytes]) -> Iterator[int]:
    """Send the pieces, one now and then, to whoever connects; yields the port."""
    stop = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        with suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                for piece in pieces:
                    connection.sendall(piece)
                    if stop.wait(0.02):
                        return

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stop.set()
        listener.close()
        thread.join(LIMIT_S)


def _drip(start: bytes, piece: bytes) -> Iterator[bytes]:
    return itertools.chain([start], itertools.repeat(piece))


@pytest.mark.timeout(LIMIT_S)
@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param(_drip(b"HTTP/1.1 200 OK\r\nX-A: ", b"a"), id="a header without end"),
        pytest.param(_drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), id="100 Continue for ever"),
        pytest.param(_drip(_HEAD, b""), id="no chunk at all"),
        pytest.param(_drip(_HEAD + b"5;", b"x"), id="a chunk extension without end"),
        pytest.param(_drip(_HEAD + b"1\r\na\r\n0\r\n", b"X: y\r\n"), id="trailers without end"),
    ],
)
def test_a_source_that_drips_outside_of_its_body_is_dropped(pieces: Iterator[bytes]) -> None:
    with _serve(pieces) as port:
        policy = Policy(0.5, READ_TIMEOUT_S, frozenset({f"127.0.0.1:{port}"}))
        egress = Egress(policy)
        try:
            with pytest.raises(SourceTimeout):
                _read_whole(egress, port)
        finally:
            egress.close()


def _read_whole(egress: Egress, port: int) -> None:
    answer = egress.get(parse_source_url(f"http://127.0.0.1:{port}/"), {})
    try:
        while answer.read_into(memoryview(bytearray(65536))):
            pass
    finally:
        answer.close()
