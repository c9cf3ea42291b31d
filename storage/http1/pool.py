"""Connections that lie idle until the next request to the same server.

Invariants: one that has ended, or that says what nobody asked, or that lay idle for long (whatever
is between may have forgotten it without a word), is not given out; no more are kept
than was said, for no more servers, and those least lately asked lose theirs; a
pool that nobody has any more leaves none open.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable

from storage.http1.connection import Connection

_LONGEST_IDLE_S = 30.0
_Kept = list[tuple[Connection, float]]


class Pool:
    """Keeps connections. Safe to use from several threads.

    Args:
        size: idle connections kept for each server.
        most_servers: for how many they are kept.
        clock: seconds, never running backwards.
    """

    def __init__(
        self, size: int, most_servers: int = 1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._size = size
        self._most_servers = most_servers
        self._clock = clock
        self._lock = threading.Lock()
        self._closed = False
        self._idle: OrderedDict[Hashable, _Kept] = OrderedDict()
        weakref.finalize(self, _close_idle, self._idle)

    def take(self, server: Hashable) -> Connection | None:
        """Return the connection that served last, if there is one."""
        with self._lock:
            idle = self._idle.setdefault(server, [])
            self._idle.move_to_end(server)
            evicted: _Kept = []
            if len(self._idle) > self._most_servers:
                evicted = _empty(self._idle.popitem(last=False)[1])
        _close_all(evicted)
        while True:
            with self._lock:
                if not idle:
                    return None
                connection, since = idle.pop()
            if self._clock() - since < _LONGEST_IDLE_S and not connection.is_stale:
                return connection
            connection.close()

    def give(self, server: Hashable, connection: Connection) -> None:
        """Keep a connection that is to be used again; close it where there is no place."""
        with self._lock:
            idle = self._idle.get(server)
            if idle is not None and len(idle) < self._size and not self._closed:
                idle.append((connection, self._clock()))
                return
        connection.close()

    def close(self) -> None:
        """Close all that are idle; those that are given back later are closed then."""
        with self._lock:
            self._closed = True
            _close_idle(self._idle)


def _close_idle(idle: OrderedDict[Hashable, _Kept]) -> None:
    for kept in idle.values():
        _close_all(_empty(kept))
    idle.clear()


def _empty(kept: _Kept) -> _Kept:
    # Whoever is taking from it at this moment must find none that is being closed.
    taken = kept[:]
    kept.clear()
    return taken


def _close_all(connections: _Kept) -> None:
    for connection, _ in connections:
        connection.close()
