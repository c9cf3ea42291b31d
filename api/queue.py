"""The way to the workers: a wake-up where nobody waits before it, else a nudge to the dispatcher.

What is lost here costs a little time and nothing else.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum

from api.nudging import Nudger
from ingest.config import Settings
from ingest.errors import RedisUnavailable
from ingest.logs import get_logger
from storage.signals import INGEST_QUEUE, Signals
from storage.wakes import RUN, wake

# For how long a queue without room is not asked again. Who comes meanwhile is the dispatcher's,
# which is told, and has more than that much work in front of it.
_TAKEN_S = 0.02


class Room(Enum):
    """Whether a wake-up may be sent past the dispatcher."""

    FREE = "free"
    TAKEN = "taken"
    # Redis does not answer, and need not be asked again in this request.
    UNKNOWN = "unknown"


class WakeQueue:
    """Sends wake-ups while the window has room, and nudges otherwise.

    Args:
        signals: counts what waits already.
        clock: seconds, never running backwards.
    """

    def __init__(
        self, settings: Settings, signals: Signals, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._signals = signals
        self._nudger = Nudger(signals.nudge)
        self._taken_until = -math.inf
        # Half of the smallest window there is: the rest is the dispatcher's, who knows the order.
        self._few = settings.dispatch_window * settings.worker_slots / 2

    def look(self) -> Room:
        """Return whether there is room; asked before a transaction, so that none waits for Redis.

        A single file is sent at once that way; with a backlog before it, it has to take its turn
        (:func:`storage.records.wakeups.must_wait`).
        """
        if self._clock() < self._taken_until:
            return Room.TAKEN
        try:
            queued = self._signals.count_queued(INGEST_QUEUE)
        except RedisUnavailable:
            return Room.UNKNOWN
        if queued < self._few:
            return Room.FREE
        self._taken_until = self._clock() + _TAKEN_S
        return Room.TAKEN

    def nudge(self) -> None:
        """Have the dispatcher look for work now; it will in a second if this is lost."""
        self._nudger.nudge()

    def nudge_webhooks(self) -> None:
        """Have the dispatcher look for deliveries now; it will in a second if this is lost."""
        with suppress(RedisUnavailable):
            self._signals.nudge_webhooks()

    def wake(self, task_id: str) -> bool:
        """Send a task's wake-up; return whether it was taken."""
        try:
            wake(self._signals, RUN, [task_id])
        except RedisUnavailable as error:
            get_logger(__name__).warning("nudge.lost", task_id=task_id, reason=error.code)
            return False
        return True

    def close(self) -> None:
        """Send the last nudge."""
        self._nudger.close()
