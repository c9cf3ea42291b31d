"""The limit on requests, counted in a real Redis."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from api.request_limit import RequestLimit
from ingest.config import Settings
from storage.signals import Signals
from tests.integration.examples import find_spare_redis


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def redis_url(signals: Signals, settings: Settings) -> str:
    """A Redis database that is empty."""
    del signals
    return find_spare_redis(settings)


@pytest.fixture
def deaf_server() -> Iterator[socket.socket]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def test_a_key_may_send_so_many_requests_and_no_more(redis_url: str) -> None:
    limit = RequestLimit(redis_url, "3/hour")
    found = [limit.count("key_a") for _ in range(5)]
    assert all(one is not None for one in found)
    assert [(one.remaining, one.is_over) for one in found if one is not None] == [
        (2, False),
        (1, False),
        (0, False),
        (0, True),
        (0, True),
    ]
    assert {one.limit for one in found if one is not None} == {3}
    assert all(0 < one.reset_s <= 3600 for one in found if one is not None)


def test_keys_are_counted_apart_and_processes_together(redis_url: str) -> None:
    first, second = RequestLimit(redis_url, "2/hour"), RequestLimit(redis_url, "2/hour")
    for limit in (first, second):
        standing = limit.count("key_a")
        assert standing is not None
        assert not standing.is_over
    others = second.count("key_b")
    assert others is not None
    assert others.remaining == 1
    standing = first.count("key_a")
    assert standing is not None
    assert standing.is_over


def test_without_redis_nobody_is_refused_and_it_is_not_asked_for_a_while() -> None:
    clock = Clock()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    limit = RequestLimit(f"redis://127.0.0.1:{port}/0", "1/hour", clock)
    assert [limit.count("key_a") for _ in range(3)] == [None, None, None]


def test_a_redis_that_says_nothing_holds_up_one_request_and_not_the_next(
    deaf_server: socket.socket,
) -> None:
    clock = Clock()
    limit = RequestLimit(f"redis://127.0.0.1:{deaf_server.getsockname()[1]}/0", "1/hour", clock)
    assert limit.count("key_a") is None
    deaf_server.settimeout(0)
    asked = _count_connections(deaf_server)
    assert asked >= 1
    assert limit.count("key_a") is None
    assert _count_connections(deaf_server) == 0
    clock.now += 60
    assert limit.count("key_a") is None
    assert _count_connections(deaf_server) >= 1


def _count_connections(listening: socket.socket) -> int:
    count = 0
    while True:
        try:
            listening.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1
