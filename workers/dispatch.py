"""The dispatch window: Redis holds a few wake-ups, the backlog waits in the database.

A wake-up is an id in the ``ingest`` queue. The dispatcher fills the queue up to the window from the
pending tasks, oldest first, and sends again what nobody has answered for a while. Any number of
dispatchers may run; a task that is woken twice is claimed once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from ingest.config import Settings
from ingest.errors import DatabaseUnavailable
from ingest.logs import get_logger
from storage.records import wakeups
from storage.records.database import Database
from storage.signals import INGEST_QUEUE, Signals


class Dispatcher:
    """Fills the window.

    Args:
        wake: sends one wake-up, by task id; it raises what the queue raises.
    """

    def __init__(
        self,
        database: Database,
        signals: Signals,
        settings: Settings,
        wake: Callable[[str], None],
    ) -> None:
        self._database = database
        self._signals = signals
        self._settings = settings
        self._wake = wake

    def dispatch(self) -> int:
        """Wake as many pending tasks as the window has room for; return how many.

        Raises:
            DatabaseUnavailable, RedisUnavailable: nothing was lost; the next call does it.
        """
        room = self._settings.dispatch_window - self._signals.count_queued(INGEST_QUEUE)
        if room <= 0:
            return 0
        with self._database.transaction() as connection:
            picked = list(wakeups.pick_wakeable(connection, room, self._settings.resend_after_s))
        sent = 0
        try:
            for task_id in picked:
                self._wake(task_id)
                sent += 1
        finally:
            if sent < len(picked):
                # If even this fails, they are sent again after `resend_after_s`.
                with (
                    suppress(DatabaseUnavailable),
                    self._database.transaction() as connection,
                ):
                    wakeups.note_unwoken(connection, picked[sent:])
        if sent:
            get_logger(__name__).info("dispatch.woke", tasks=sent, room=room)
        return sent
