"""Servers that accept and say nothing cost seconds, never a lease."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from ingest.config import Settings
from ingest.errors import DatabaseUnavailable, RedisUnavailable
from storage.records.database import Database
from storage.signals import End, Signals
from tests.support.faults import FaultProxy

PATIENCE_S = 3.0


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A listener whose backlog takes connections that nobody ever answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    "ask",
    [
        lambda signals: signals.check(),
        lambda signals: signals.count_queued("ingest"),
        lambda signals: signals.report_worker("name"),
        lambda signals: signals.announce_end(End("task_a")),
    ],
)
def test_a_redis_that_hangs_is_an_error_within_seconds(
    silent_port: int, ask: Callable[[Signals], object]
) -> None:
    signals = Signals(f"redis://127.0.0.1:{silent_port}/0")
    began = time.monotonic()
    with pytest.raises(RedisUnavailable):
        ask(signals)
    assert time.monotonic() - began < PATIENCE_S
    signals.close()


def test_waiting_for_an_end_on_a_redis_that_hangs_is_an_error_too(silent_port: int) -> None:
    signals = Signals(f"redis://127.0.0.1:{silent_port}/0")
    began = time.monotonic()
    with pytest.raises(RedisUnavailable), signals.listen_for_end("task_a") as wait:
        wait(1.0)
    assert time.monotonic() - began < PATIENCE_S
    signals.close()


def test_a_postgresql_that_hangs_is_noticed_at_the_next_use_of_a_connection(
    settings: Settings,
) -> None:
    port = urlsplit(settings.database_url.get_secret_value()).port
    assert port is not None
    with FaultProxy(port) as proxy:
        url = settings.sqlalchemy_url.replace(f":{port}/", f":{proxy.port}/")
        database = Database(url, pool_size=1, trusted_s=0)
        database.check()
        proxy.freeze()
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            database.check()
        took_s = time.monotonic() - began
        proxy.heal()
        database.check()
        database.close()
    # Two seconds for the ping, two more to connect anew.
    assert took_s < 6
