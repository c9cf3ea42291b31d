"""Two ends of a connection."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from storage.http1.connection import Connection

LIMIT_S = 5.0
Join = Callable[[], tuple[Connection, socket.socket]]


@pytest.fixture
def join() -> Iterator[Join]:
    """Makes connections; returns our end and the server's."""
    made: list[tuple[Connection, socket.socket]] = []

    def make() -> tuple[Connection, socket.socket]:
        ours, theirs = socket.socketpair()
        ours.settimeout(LIMIT_S)
        theirs.settimeout(LIMIT_S)
        made.append((Connection(ours), theirs))
        return made[-1]

    yield make
    for connection, theirs in made:
        connection.close()
        theirs.close()
