"""Batches on their way: what ended is added up, what somebody decided is done, the end is told.

Any number may run. Invariant: a round ends, however much there is to do; the next one goes on.
"""

from __future__ import annotations

from contextlib import suppress

from ingest.errors import RedisUnavailable
from ingest.logs import get_logger
from storage.records import batch_actions, tallies
from storage.records.database import Database
from storage.signals import Signals

_NOTES_AT_ONCE = 10_000
_TASKS_AT_ONCE = 500
# Of one round: some seconds.
_MOST_STEPS = 20


class BatchFollower:
    """Goes once round all batches with each call."""

    def __init__(self, database: Database, signals: Signals) -> None:
        self._database = database
        self._signals = signals

    def follow(self) -> int:
        """Add up, say which batches are over, and do what was decided.

        Returns:
            How many tasks were cancelled or retried.

        Raises:
            DatabaseUnavailable: what was not done is done by the next call.
        """
        self._count()
        total = self._work_off()
        if total:
            # What was cancelled is counted, and what was retried is woken.
            self._count()
            with suppress(RedisUnavailable):
                self._signals.nudge()
        return total

    def _count(self) -> None:
        for _ in range(_MOST_STEPS):
            with self._database.transaction() as connection:
                notes = tallies.fold(connection, _NOTES_AT_ONCE)
            if notes < _NOTES_AT_ONCE:
                break
        with self._database.transaction() as connection:
            over = tallies.finish(connection)
        for batch_id in over:
            get_logger(__name__).info("batch.finished", batch_id=batch_id)
        if over:
            with suppress(RedisUnavailable):
                self._signals.nudge_webhooks()

    def _work_off(self) -> int:
        total = 0
        for _ in range(_MOST_STEPS):
            with self._database.transaction() as connection:
                count = batch_actions.work_off(connection, _TASKS_AT_ONCE)
            total += count
            if not count:
                break
        return total
