"""The dispatch window of webhooks: Redis holds a few wake-ups, the outbox waits in the database.

Like :mod:`workers.dispatch`, but fair between receivers: which deliveries are due is
``sending.pick``'s to say. Any number may run; a delivery that is woken twice is claimed once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from ingest.config import Settings
from ingest.delivering import parse_delays, plan_next
from ingest.errors import DatabaseUnavailable, SenderLost
from ingest.logs import get_logger
from storage.records import events, sending
from storage.records.database import Database
from storage.signals import WEBHOOK_QUEUE, Role, Signals

_LOST = SenderLost("The sender fell silent; whether the receiver has it is not known.").as_failure()
# Of one transaction: as many as are deleted in a fraction of a statement's limit.
_FORGOTTEN_AT_ONCE = 1000
# A host that was not asked since it failed; all its deliveries have ended by then.
_TROUBLES_KEPT = timedelta(days=7)


class DeliveryDispatcher:
    """Fills the window, releases what senders lost, and forgets what is old.

    Args:
        wake: sends wake-ups, by delivery ids; it raises what the queue raises, and none counts as
            sent.
        now: the time, aware; events are as old as their rows say.
    """

    def __init__(
        self,
        database: Database,
        signals: Signals,
        settings: Settings,
        wake: Callable[[Sequence[str]], None],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._signals = signals
        self._settings = settings
        self._wake = wake
        self._now = now
        self._delays_s = parse_delays(settings.webhook_delays_s)

    def dispatch(self) -> int:
        """Wake as many deliveries that are due as the window has room for; return how many.

        Raises:
            DatabaseUnavailable, RedisUnavailable: nothing was lost; the next call does it.
        """
        settings = self._settings
        slots = max(self._signals.count_slots(Role.SENDER), settings.webhook_slots)
        window = settings.dispatch_window * slots
        picked = self._pick(window, self._signals.count_queued(WEBHOOK_QUEUE))
        try:
            self._wake(picked)
        except BaseException:
            # If even this fails, they are sent again after `resend_after_s`.
            with suppress(DatabaseUnavailable), self._database.transaction() as connection:
                sending.note_unwoken(connection, picked)
            raise
        return len(picked)

    def sweep(self) -> int:
        """Take deliveries back from senders that fell silent; return how many there were.

        Raises:
            DatabaseUnavailable: nothing was changed; the next call does it.
        """
        with self._database.transaction() as connection:
            released = sending.release_expired(
                connection, lambda tries: plan_next(None, tries, self._delays_s), _LOST
            )
        if released:
            get_logger(__name__).warning("sweep.delivery_lease_expired", deliveries=released)
        return released

    def prune(self) -> int:
        """Forget events that are older than they are kept, with their deliveries.

        Returns:
            How many events there were.

        Raises:
            DatabaseUnavailable: what is left is done by the next call.
        """
        oldest = self._now() - timedelta(days=self._settings.events_keep_days)
        total = 0
        while True:
            with self._database.transaction() as connection:
                count = events.forget_older(connection, oldest, _FORGOTTEN_AT_ONCE)
            total += count
            if count < _FORGOTTEN_AT_ONCE:
                break
        count = _FORGOTTEN_AT_ONCE
        while count == _FORGOTTEN_AT_ONCE:
            with self._database.transaction() as connection:
                count = sending.forget_orphans(connection, _FORGOTTEN_AT_ONCE)
        with self._database.transaction() as connection:
            sending.forget_troubles(connection, _TROUBLES_KEPT)
        if total:
            get_logger(__name__).info("prune.events_forgotten", events=total)
        return total

    def _pick(self, window: int, queued: int) -> Sequence[str]:
        settings = self._settings
        with self._database.transaction() as connection:
            woken = sending.count_woken(connection)
            # What still stands in the queue is late, not lost.
            lost = sending.forget_lost(
                connection, settings.resend_after_s, max(0, min(woken, window) - queued)
            )
            if lost:
                get_logger(__name__).info("dispatch.wake_ups_lost", deliveries=lost)
            room = window - max(queued, woken - lost)
            if room <= 0:
                return []
            return sending.pick(connection, room, settings.webhook_endpoint_limit)
