"""Connections to sources that are kept for the next request: whose, how many, for how long."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import pytest

from ingest.errors import SourceUnavailable
from ingest.urls import parse_source_url
from tests.support.origin import Origin
from workers.egress import Egress, Policy


def _read_all(egress: Egress, url: str) -> None:
    """Fetch and let the connection go back to its pool."""
    answer = egress.get(parse_source_url(url), {})
    buffer = memoryview(bytearray(65536))
    while answer.read_into(buffer):
        pass
    answer.close()


def _count_connections(*origins: Origin) -> list[int]:
    """Return how many connections this process has to each of these."""
    there = [
        one.raddr.port
        for one in psutil.Process().net_connections("tcp")
        if one.status == psutil.CONN_ESTABLISHED and one.raddr
    ]
    return [there.count(one.port) for one in origins]


@pytest.fixture
def three_origins() -> Iterator[list[Origin]]:
    with Origin() as first, Origin() as second, Origin() as third:
        yield [first, second, third]


def test_a_host_that_others_have_pushed_out_keeps_no_connection(
    three_origins: list[Origin],
) -> None:
    allowed = frozenset({f"127.0.0.1:{one.port}" for one in three_origins})
    egress = Egress(Policy(5, 5, allowed), pool_size=2, most_hosts=2)
    for one in three_origins:
        _read_all(egress, one.serve("/idle", b"content"))
    assert _count_connections(*three_origins) == [0, 1, 1]
    egress.close()
    assert _count_connections(*three_origins) == [0, 0, 0]


def test_a_connection_in_use_whose_host_is_pushed_out_serves_to_its_end_and_is_closed(
    three_origins: list[Origin],
) -> None:
    allowed = frozenset({f"127.0.0.1:{one.port}" for one in three_origins})
    egress = Egress(Policy(5, 5, allowed), pool_size=2, most_hosts=1)
    first, *others = three_origins
    answer = egress.get(parse_source_url(first.serve("/used", b"content")), {})
    for one in others:
        _read_all(egress, one.serve("/idle", b"content"))
    assert _count_connections(*three_origins) == [1, 0, 1]
    buffer = memoryview(bytearray(64))
    assert answer.read_into(buffer) == 7
    assert answer.read_into(buffer) == 0
    answer.close()
    del answer
    assert _count_connections(*three_origins) == [0, 0, 1]
    egress.close()


def test_no_more_idle_connections_are_kept_than_a_pool_has(three_origins: list[Origin]) -> None:
    used, *_ = three_origins
    egress = Egress(Policy(5, 5, frozenset({f"127.0.0.1:{used.port}"})), pool_size=2)
    url = parse_source_url(used.serve("/many", b"content"))
    answers = [egress.get(url, {}) for _ in range(5)]
    assert _count_connections(used) == [5]
    for answer in answers:
        buffer = memoryview(bytearray(64))
        while answer.read_into(buffer):
            pass
        answer.close()
    assert _count_connections(used) == [2]
    egress.close()


@contextmanager
def _listen(*answers: bytes | None) -> Iterator[tuple[int, list[int]]]:
    """Serve connections one after the other, each as it is told; yields port and requests.

    An answer is sent to each request of its connection but the last, which is closed instead where
    the answer is None.
    """
    seen: list[int] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        with suppress(OSError):
            connection: socket.socket | None = None
            for number, answer in enumerate(answers):
                connection = connection or listener.accept()[0]
                connection.recv(65536)
                seen.append(number)
                if answer is None:
                    connection.close()
                    connection = None
                else:
                    connection.sendall(answer)
            if connection is not None:
                connection.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], seen
    finally:
        listener.close()
        thread.join(5)


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\ncontent"


def test_a_connection_that_is_closed_as_it_is_used_again_is_replaced() -> None:
    with _listen(ANSWER, None, ANSWER) as (port, seen):
        egress = Egress(Policy(5, 5, frozenset({f"127.0.0.1:{port}"})))
        for _ in range(2):
            _read_all(egress, f"http://127.0.0.1:{port}/")
        egress.close()
    assert seen == [0, 1, 2]


def test_what_was_left_of_another_answer_is_no_answer() -> None:
    with _listen(ANSWER, b"left over\n\n", None, ANSWER) as (port, seen):
        egress = Egress(Policy(5, 5, frozenset({f"127.0.0.1:{port}"})))
        for _ in range(2):
            _read_all(egress, f"http://127.0.0.1:{port}/")
        egress.close()
    assert seen[:2] == [0, 1]


def test_a_server_that_answers_nothing_on_a_new_connection_is_not_asked_again() -> None:
    with _listen(None, ANSWER) as (port, seen):
        egress = Egress(Policy(5, 5, frozenset({f"127.0.0.1:{port}"})))
        with pytest.raises(SourceUnavailable):
            _read_all(egress, f"http://127.0.0.1:{port}/")
        assert seen == [0]
        _read_all(egress, f"http://127.0.0.1:{port}/")
        egress.close()


def test_a_connection_is_free_for_others_once_its_body_was_read(origin: Origin) -> None:
    egress = Egress(Policy(5, 5, frozenset({f"127.0.0.1:{origin.port}"})))
    url = parse_source_url(origin.serve("/free", b"content"))
    first = egress.get(url, {})
    assert first.read_into(memoryview(bytearray(64))) == 7
    before = _count_connections(origin)
    second = egress.get(url, {})
    assert _count_connections(origin) == before
    first.close()
    assert second.read_into(memoryview(bytearray(64))) == 7
    second.close()
    egress.close()
