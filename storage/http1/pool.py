"""Connections that lie idle until the next request to the same server.

Invariants: one that has ended, or that says what nobody asked, is not given out; no more are kept
than was said, for no more servers, and those least lately asked lose theirs; a
pool that nobody has any more leaves none open.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Hashable

from storage.http1.connection import Connection


class Pool:
    """Keeps connections. Safe to use from several threads.

    Args:
        size: idle connections kept for each server.
        most_servers: for how many they are kept.
    """

    def __init__(self, size: int, most_servers: int = 1) -> None:
        self._size = size
        self._most_servers = most_servers
        self._lock = threading.Lock()
        self._idle: OrderedDict[Hashable, list[Connection]] = OrderedDict()
        weakref.finalize(self, _close_idle, self._idle)

    def take(self, server: Hashable) -> Connection | None:
        """Return the connection that served last, if there is one."""
        with self._lock:
            idle = self._idle.setdefault(server, [])
            self._idle.move_to_end(server)
            evicted: list[Connection] = []
            if len(self._idle) > self._most_servers:
                evicted = _empty(self._idle.popitem(last=False)[1])
        _close_all(evicted)
        while True:
            with self._lock:
                if not idle:
                    return None
                connection = idle.pop()
            if not connection.is_stale:
                return connection
            connection.close()

    def give(self, server: Hashable, connection: Connection) -> None:
        """Keep a connection that is to be used again; close it where there is no place."""
        with self._lock:
            idle = self._idle.get(server)
            if idle is not None and len(idle) < self._size:
                idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close all that are idle; those that are given back later are closed then."""
        with self._lock:
            _close_idle(self._idle)


def _close_idle(idle: OrderedDict[Hashable, list[Connection]]) -> None:
    for kept in idle.values():
        _close_all(_empty(kept))
    idle.clear()


def _empty(kept: list[Connection]) -> list[Connection]:
    # Whoever is taking from it at this moment must find none that is being closed.
    taken = kept[:]
    kept.clear()
    return taken


def _close_all(connections: list[Connection]) -> None:
    for connection in connections:
        connection.close()
