"""Ends network calls that outstay their time, or that nobody wants any more, from outside.

A socket's own timeout counts from the last byte, so a peer that sends one now and then (in its
headers, in a chunk's extension, in endless ``100 Continue``) holds a thread inside the HTTP library
for ever. Here one thread looks at every call's deadline and shuts the connection of a late one
down, which wakes whoever is blocked on it. A :class:`Cancellation` does the same at once, for
whoever holds it.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol
from weakref import WeakSet

_GLANCE_S = 0.2


class Call:
    """One call: at most one connection at a time, and a deadline while somebody waits on it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._deadline: float | None = None
        self.expired = False
        self.aborted = False

    def allow(self, limit_s: float) -> None:
        """Set the deadline to ``limit_s`` from now."""
        self._deadline = self._clock() + limit_s

    def pause(self) -> None:
        """Set no deadline: nobody waits."""
        self._deadline = None

    def attach(self, connection: socket.socket) -> None:
        """Watch this connection from now on.

        It stays the caller's to close, but only when it is watched no more: after that its number
        may be another's.
        """
        with self._lock:
            self._socket = connection
            if self.expired or self.aborted:
                self._shut()

    def detach(self) -> None:
        """Watch no connection."""
        with self._lock:
            self._socket = None

    def close(self) -> None:
        """Watch nothing any more."""
        self._deadline = None
        self.detach()

    def look(self, now: float) -> None:
        """Shut the connection down if the deadline is past."""
        deadline = self._deadline
        if deadline is None or now <= deadline:
            return
        with self._lock:
            # Whoever got an answer meanwhile may be waiting for the next.
            deadline = self._deadline
            if deadline is None or now <= deadline:
                return
            self.expired = True
            self._shut()

    def abort(self) -> None:
        """Shut the connection down now, and any that comes yet."""
        with self._lock:
            self.aborted = True
            self._shut()

    def _shut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                # TLS's own shutdown takes its state away from whoever reads at this moment.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class Abortable(Protocol):
    """What can be ended from any thread, any number of times."""

    def abort(self) -> None:
        """End it now."""


class Cancellation:
    """Lets any thread end the calls that another one makes, whatever they wait for.

    Used for one purpose and then dropped: calls that begin after :meth:`abort` end at once, too.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # A call that its caller let go is none to be ended.
        self._covered: WeakSet[Abortable] = WeakSet()
        self._aborted = threading.Event()

    @property
    def aborted(self) -> bool:
        """Whether it was used."""
        return self._aborted.is_set()

    def cover(self, one: Abortable) -> None:
        """End this call, or all that another cancellation covers, with the others."""
        with self._lock:
            self._covered.add(one)
            if self.aborted:
                one.abort()

    def abort(self) -> None:
        """End all calls, now and from now on; to be called at any time, any number of times."""
        with self._lock:
            self._aborted.set()
            for one in self._covered:
                one.abort()

    def pause(self, seconds: float) -> None:
        """Wait so long, or until all is ended."""
        self._aborted.wait(seconds)


class Watchdog:
    """Looks after all calls of a process with one thread, started by the first of them.

    Args:
        clock: seconds, never running backwards.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._calls: set[Call] = set()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self) -> Call:
        """Begin to look after a call; :meth:`forget` it in the end."""
        call = Call(self._clock)
        with self._lock:
            self._calls.add(call)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
                self._thread.start()
        return call

    def forget(self, call: Call) -> None:
        """Look after a call no longer."""
        with self._lock:
            self._calls.discard(call)
        call.close()

    def stop(self) -> None:
        """End the thread; calls that are open stay unwatched."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(_GLANCE_S):
            with self._lock:
                calls = list(self._calls)
            now = self._clock()
            for call in calls:
                call.look(now)
