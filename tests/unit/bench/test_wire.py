"""Requests as source and sink read them."""

from __future__ import annotations

import socket
import threading

import pytest

from bench.wire import Inlet, parse_head, parse_range


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("bytes=0-", (0, 1000)),
        ("bytes=100-199", (100, 200)),
        ("bytes=900-5000", (900, 1000)),
        ("bytes=-10", (990, 1000)),
        ("bytes=-5000", (0, 1000)),
        ("bytes=0-1,5-6", None),
        ("bytes=-", None),
        ("lines=1-2", None),
    ],
)
def test_a_range_is_a_first_byte_and_an_end(
    value: str | None, expected: tuple[int, int] | None
) -> None:
    assert parse_range(value, 1000) == expected


@pytest.mark.parametrize("value", ["bytes=1000-", "bytes=5-4", "bytes=-0"])
def test_a_range_of_nothing_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="no such range"):
        parse_range(value, 1000)


def test_a_head_is_taken_apart() -> None:
    head = parse_head(
        b"PUT /media/a%20b?uploadId=u&partNumber=2&uploads HTTP/1.1\r\n"
        b"Host: here\r\nContent-LENGTH:  12 "
    )

    assert (head.method, head.path) == ("PUT", "/media/a b")
    assert head.query == {"uploadId": "u", "partNumber": "2", "uploads": ""}
    assert head.headers == {"host": "here", "content-length": "12"}
    assert head.body_bytes == 12


def test_what_is_no_request_is_refused() -> None:
    with pytest.raises(ValueError, match="unpack"):
        parse_head(b"hello")


def test_bodies_are_read_or_thrown_away_to_the_byte() -> None:
    ours, theirs = socket.socketpair()
    large = bytes(3_000_000)
    sent = b"A / HTTP/1.1\r\n\r\nkeep" + large + b"B / HTTP/1.1\r\n\r\nab"
    with ours, theirs:
        sending = threading.Thread(target=theirs.sendall, args=(sent,))
        sending.start()
        inlet = Inlet(ours)
        first = inlet.read_head()
        kept = inlet.read_some(4)
        inlet.drain(len(large))
        second = inlet.read_head()
        inlet.drain(2)
        sending.join()
        theirs.close()

        assert first is not None
        assert second is not None
        assert (first.method, kept, second.method) == ("A", b"keep", "B")
        assert inlet.read_head() is None


def test_a_body_that_breaks_off_is_an_error() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        theirs.sendall(b"abc")
        theirs.close()
        with pytest.raises(ConnectionError):
            Inlet(ours).drain(4)
