"""Batches on their way: what ended is added up, what somebody decided is done, the end is told.

Any number may run. Invariant: a round ends, however much there is to do; the next one goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from sqlalchemy import Connection

from ingest.config import Settings
from ingest.errors import FieldInvalid, HeadraceError, RedisUnavailable
from ingest.logs import get_logger
from storage.records import batch_actions, projects, tallies
from storage.records.database import Database
from storage.signals import End, Signals

_NOTES_AT_ONCE = 10_000
_TASKS_AT_ONCE = 500
# Of one round: some seconds.
_MOST_STEPS = 40


class BatchFollower:
    """Goes once round all batches with each call."""

    def __init__(self, database: Database, signals: Signals, settings: Settings) -> None:
        self._database = database
        self._signals = signals
        self._settings = settings
        # How far each cancelled batch was gone through: what is left of one that was gone through
        # to its end is found by beginning again.
        self._reached: dict[str, str] = {}

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
        total, done = 0, set[str]()
        for _ in range(_MOST_STEPS):
            with self._database.transaction() as connection:
                step = batch_actions.work_off(
                    connection, self._reached, done, self._find_fault, _TASKS_AT_ONCE
                )
            if step is None:
                break
            total += step.count
            if step.count:
                self._reached[step.batch_id] = step.after
            else:
                done.add(step.batch_id)
                self._reached.pop(step.batch_id, None)
            self._announce(step.stopped)
        return total

    def _find_fault(
        self, connection: Connection, project_id: str, key: str
    ) -> HeadraceError | None:
        if projects.is_place_of_another(connection, project_id, key):
            return FieldInvalid(f"'{key}' lies in the place of another project.", param="folder")
        if self._settings.is_read_by_connection(key):
            return FieldInvalid(f"'{key}' lies in a place for sources.", param="folder")
        return None

    def _announce(self, task_ids: Sequence[str]) -> None:
        with suppress(RedisUnavailable):
            for task_id in task_ids:
                self._signals.announce_end(End(task_id))
