"""The dispatch window: Redis holds a few wake-ups, the backlog waits in the database.

A wake-up is an id in the ``ingest`` queue. The dispatcher fills the queue up to the window from the
ready tasks, and sends again what nobody has answered for a while. Any number of dispatchers may
run; a task that is woken twice is claimed once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from ingest.config import Settings
from ingest.errors import DatabaseUnavailable
from ingest.logs import get_logger
from storage.records import turns, wakeups
from storage.records.database import Database
from storage.signals import INGEST_QUEUE, Signals

# Which workers live, what has waited long enough, and which wake-ups were lost.
_LOOK_AROUND_EVERY_S = 1.0


class Dispatcher:
    """Fills the window. One thread's own: it remembers how far it looked.

    Args:
        wake: sends wake-ups, by task ids; it raises what the queue raises, and none counts as sent.
        clock: seconds, never running backwards.
    """

    def __init__(
        self,
        database: Database,
        signals: Signals,
        settings: Settings,
        wake: Callable[[Sequence[str]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._signals = signals
        self._settings = settings
        self._wake = wake
        self._clock = clock
        self._looked_until = turns.START
        self._window = 0
        self._measured = self._looked_around = -math.inf

    def dispatch(self, *, nudged: bool = False) -> int:
        """Wake as many ready tasks as the window has room for; return how many.

        Args:
            nudged: somebody asked for it, which is no reason to fill a window that is half full.

        Raises:
            DatabaseUnavailable, RedisUnavailable: nothing was lost; the next call does it.
        """
        # Nudges come with each small file; what changes by itself is looked at once a second.
        now = self._clock()
        if not nudged or now - self._measured >= _LOOK_AROUND_EVERY_S:
            self._window, self._measured = self._measure_window(), now
        around = not nudged or now - self._looked_around >= _LOOK_AROUND_EVERY_S
        window, queued = self._window, self._signals.count_queued(INGEST_QUEUE)
        if queued >= window or (nudged and queued > window / 2):
            return 0
        picked = self._pick(window, queued, around=around)
        if around:
            self._looked_around = now
        try:
            self._wake(picked)
        except BaseException:
            # If even this fails, they are sent again after `resend_after_s`.
            with suppress(DatabaseUnavailable), self._database.transaction() as connection:
                wakeups.note_unwoken(connection, picked)
            raise
        if picked:
            get_logger(__name__).info("dispatch.woke", tasks=len(picked), window=window)
        return len(picked)

    def _measure_window(self) -> int:
        settings = self._settings
        return settings.dispatch_window * max(self._signals.count_slots(), settings.worker_slots)

    def _pick(self, window: int, queued: int, *, around: bool) -> Sequence[str]:
        settings = self._settings
        with self._database.transaction() as connection:
            wakeups.begin(connection)
            if around:
                wakeups.ready_due(connection)
            # What still stands in the queue is late, not lost: more than is missing there is none.
            woken, lost = wakeups.count_woken(connection), 0
            if around:
                lost = wakeups.forget_lost(
                    connection, settings.resend_after_s, max(0, min(woken, window) - queued)
                )
            if lost:
                get_logger(__name__).info("dispatch.wake_ups_lost", tasks=lost)
            # Messages that are about to be sent are woken and not yet queued; stale ones are
            # queued and no longer woken.
            room = window - max(queued, woken - lost)
            if room <= 0:
                return []
            picked, self._looked_until = turns.pick(
                connection, room, settings.host_limit, self._looked_until
            )
        return picked
