"""Notices that a worker has gone deaf: messages wait, slots are free, and none is taken.

A connection that is half open, or a consumer that Celery lost in a reconnect, raises no error
anywhere. First the connection is made anew, which costs nothing that runs; if that does not help,
the process ends and its supervisor starts another. Looks are counted, not seconds: a process that
was stopped for a minute has looked once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from ingest.errors import RedisUnavailable
from ingest.logs import get_logger
from storage.signals import Signals

_EVERY_S = 1.0
# Looks in a row that found messages waiting for nothing.
RECONNECT_AFTER, GIVE_UP_AFTER = 5, 12


class Listener(Protocol):
    """What takes messages."""

    @property
    def taken_count(self) -> int:
        """How many it has taken so far."""

    @property
    def wants_more(self) -> bool:
        """Whether it should take one now."""

    def reconnect(self) -> None:
        """Make another connection."""


class Hearing:
    """Watches one listener.

    Args:
        signals: asked, over connections of its own, whether messages wait.
        queue: the queue it listens to.
        give_up: ends the process.
    """

    def __init__(
        self, signals: Signals, queue: str, listener: Listener, give_up: Callable[[], None]
    ) -> None:
        self._signals = signals
        self._queue = queue
        self._listener = listener
        self._give_up = give_up
        self._taken_count = listener.taken_count
        self._deaf_looks = 0

    def start(self) -> None:
        """Look every second for as long as the process lives."""
        threading.Thread(target=self._run, name="hearing", daemon=True).start()

    def look(self) -> None:
        """Look once."""
        taken_count = self._listener.taken_count
        deaf = (
            taken_count == self._taken_count and self._listener.wants_more and self._has_messages()
        )
        self._taken_count = taken_count
        self._deaf_looks = self._deaf_looks + 1 if deaf else 0
        if self._deaf_looks == RECONNECT_AFTER:
            get_logger(__name__).warning("worker.deaf", remedy="reconnect")
            self._listener.reconnect()
        elif self._deaf_looks == GIVE_UP_AFTER:
            get_logger(__name__).error("worker.deaf", remedy="exit")
            self._give_up()

    def _has_messages(self) -> bool:
        try:
            return self._signals.count_queued(self._queue) > 0
        except RedisUnavailable:
            # There is nothing to hear.
            return False

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(_EVERY_S):
            try:
                self.look()
            except Exception:  # noqa: BLE001 - a look that failed must not be the last one
                get_logger(__name__).exception("hearing.failed")
